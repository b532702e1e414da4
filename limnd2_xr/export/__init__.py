"""From opened files to other formats: OME-Zarr, OME-TIFF, OME-XML, image sequences."""
