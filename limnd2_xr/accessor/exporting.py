"""What ``.nd2`` offers to bring an image into other formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path
    from typing import Literal

    import xarray as xr
    from numpy.typing import DTypeLike
    from ome_types import OME

    from limnd2_xr.export.ome_tiff import OnFrame, Split
    from limnd2_xr.export.progress import Progress
    from limnd2_xr.export.pyramid_levels import Pyramid
    from limnd2_xr.export.tiff_segments import TiffCompression, Tile

__all__ = ["ExportAccessor"]


class ExportAccessor:
    """Exports of a dataset with one image, or of an array."""

    _obj: xr.Dataset | xr.DataArray

    def to_ome(self, *, annotations: bool = True) -> OME:
        """Describe the image as an OME document.

        One OME image for each position. All of it follows the object as it is now: what
        was selected, and coordinates and attributes that were edited. ROIs, recorded
        columns and, as annotations, settings and events come from the file behind it.

        Parameters
        ----------
        annotations
            Add what OME has no elements for as structured annotations: attributes, the
            document, chunks of the file, recorded columns and events, as JSON.

        Returns
        -------
        ome_types.OME
            Valid against the schema 2016-06. Characters that XML cannot hold, such as
            control characters, are U+FFFD.

        Raises
        ------
        ValueError
            If dims, labels, axes or units do not make an image, or the dataset has
            several variables.
        UnsupportedDtype
            If OME has no such pixels.

        Warns
        -----
        Nd2Warning
            If the file behind the object cannot be read, or ROIs are left out.

        Examples
        --------
        >>> import xarray as xr
        >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
        >>> spec = SyntheticSpec(loops=(TimeLoop(count=3),), width=8, height=6)
        >>> ds = xr.open_dataset(build(spec).data, engine="nd2")
        >>> pixels = ds.isel(T=slice(2)).nd2.to_ome().images[0].pixels
        >>> pixels.size_t, pixels.size_x
        (2, 8)
        """
        from limnd2_xr.export.ome_model import to_ome

        return to_ome(self._obj, annotations=annotations)

    def to_ome_xml(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        annotations: bool = True,
        overwrite: bool = False,
    ) -> str:
        """Return the OME document as XML, see `to_ome`; write it to a file if asked to.

        Parameters
        ----------
        path
            Name of a file to write, as UTF-8.
        annotations
            As for `to_ome`.
        overwrite
            Replace an existing file.

        Raises
        ------
        FileExistsError
            If the file exists and `overwrite` is False.

        Examples
        --------
        >>> import numpy as np, xarray as xr
        >>> da = xr.DataArray(np.zeros((6, 8), "f4"), dims=("Y", "X"))
        >>> 'Type="float"' in da.nd2.to_ome_xml()
        True
        """
        from limnd2_xr.export.ome_xml import to_ome_xml

        return to_ome_xml(self._obj, path, annotations=annotations, overwrite=overwrite)

    def to_ome_tiff(
        self,
        dest: str | os.PathLike[str],
        *,
        pyramid: Pyramid = False,
        compression: TiffCompression = None,
        tile: Tile = "auto",
        bigtiff: bool | Literal["auto"] = "auto",
        split: Split = None,
        annotations: bool = True,
        modify_ome: Callable[[OME], None] | None = None,
        on_frame: OnFrame | None = None,
        overwrite: bool = False,
        progress: Progress = False,
    ) -> tuple[Path, ...]:
        """Write the image to an OME-TIFF file, with its metadata.

        In bounded memory, on several cores, each frame read once. The file has its name
        only once it is complete: an exception leaves nothing behind, and an existing
        file as it was. Pixels are stored as they are: nothing is cast or scaled.

        Parameters
        ----------
        dest
            Name of the file, e.g. ``cells.ome.tif``. With `split` its names begin so.
        pyramid
            How many smaller copies, each half as high and wide as the one before (means
            of 2 x 2 pixels), as SubIFDs; ``"auto"`` or True: until neither side is above
            256.
        compression
            ``"zlib"``, ``"lzw"``, ``"zstd"`` or ``"jpeg2000"``, all without loss, or None.
        tile
            Height and width of tiles, None for strips; ``"auto"`` tiles (512 x 512) what
            is compressed, has smaller copies, or is large.
        bigtiff
            Whether offsets have 64 bits; ``"auto"`` where the file may be above 4 GiB.
        split
            ``"position"`` writes a file for each position, each complete in itself: the
            position stands before the suffix of its name, ``cells_A1.ome.tif``.
        annotations
            Add what OME has no elements for, as for `to_ome`.
        modify_ome
            Called with each document before it is written, to change it in place.
        on_frame
            Called after a frame was written, with its number, how many there are, and its
            index along the loops; frames come in whatever order, one at a time.
        overwrite
            Replace existing files.
        progress
            Show a bar, or a function to call with frames done and frames there are.

        Returns
        -------
        tuple of Path
            Files that were written.

        Raises
        ------
        FileExistsError
            If a file exists and `overwrite` is False.
        ValueError
            If the array is no image, or options do not fit it or each other.
        UnsupportedDtype
            If OME has no such pixels.

        Examples
        --------
        >>> import numpy as np, tempfile, tifffile, xarray as xr
        >>> da = xr.DataArray(np.zeros((3, 2, 64, 64), "u2"), dims=("T", "C", "Y", "X"))
        >>> folder = tempfile.TemporaryDirectory()
        >>> (path,) = da.nd2.to_ome_tiff(folder.name + "/a.ome.tif", compression="zlib")
        >>> tifffile.imread(path).shape
        (3, 2, 64, 64)
        >>> folder.cleanup()
        """
        from limnd2_xr.export.ome_tiff import to_ome_tiff

        return to_ome_tiff(
            self._obj,
            dest,
            pyramid=pyramid,
            compression=compression,
            tile=tile,
            bigtiff=bigtiff,
            split=split,
            annotations=annotations,
            modify_ome=modify_ome,
            on_frame=on_frame,
            overwrite=overwrite,
            progress=progress,
        )

    def to_tiff_sequence(
        self,
        folder: str | os.PathLike[str],
        *,
        template: str | None = None,
        scale: float | None = None,
        dtype: DTypeLike | None = None,
        compression: bool = False,
        overwrite: bool = False,
        progress: Progress = False,
    ) -> tuple[Path, ...]:
        """Write a plain TIFF file for each plane.

        Parameters
        ----------
        folder
            Where to; it is made if it does not exist.
        template
            Names of the files, e.g. ``"{name}_t{T:03}_z{Z}_{C}.tif"``: ``{name}`` is the
            name of the image, ``{T}``, ``{Z}`` and ``{U}`` are numbers counted from 0,
            ``{C}`` and ``{P}`` names of channels and, where they have one, of positions,
            ``{c}`` and ``{p}`` their numbers, ``{well}`` the well. Numbers take formats,
            ``{T:03}``. What names of files cannot have becomes ``_``. Dims of length
            above 1 must be in it; without a template they are, numbers with leading
            zeros.
        scale, dtype
            Convert the pixels: multiplied by `scale`, rounded, and refused where they do
            not fit into `dtype`, which is uint16 if there is a scale.
        compression
            Compress with zlib.
        overwrite
            Replace existing files.
        progress
            Show a bar, or a function to call with frames done and frames there are.

        Returns
        -------
        tuple of Path
            Files that were written, frame by frame.

        Raises
        ------
        FileExistsError
            If a file exists and `overwrite` is False; nothing is written then.
        ValueError
            If two files would have the same name, or the template does not fit.

        Examples
        --------
        >>> import numpy as np, tempfile, xarray as xr
        >>> da = xr.DataArray(
        ...     np.zeros((2, 8, 8), "u2"),
        ...     dims=("C", "Y", "X"),
        ...     coords={"C": ["DAPI", "a/b"]},
        ... )
        >>> folder = tempfile.TemporaryDirectory()
        >>> [p.name for p in da.nd2.to_tiff_sequence(folder.name, template="x_{C}.tif")]
        ['x_DAPI.tif', 'x_a_b.tif']
        >>> folder.cleanup()
        """
        from limnd2_xr.export.image_sequence import to_sequence

        return to_sequence(
            self._obj,
            folder,
            kind="tiff",
            template=template,
            scale=scale,
            dtype=dtype,
            compression=compression,
            overwrite=overwrite,
            progress=progress,
        )

    def to_png_sequence(
        self,
        folder: str | os.PathLike[str],
        *,
        template: str | None = None,
        scale: float | None = None,
        dtype: DTypeLike | None = None,
        overwrite: bool = False,
        progress: Progress = False,
    ) -> tuple[Path, ...]:
        """Write a PNG file for each plane: uint8 and uint16, grey or RGB.

        Parameters
        ----------
        folder, template, scale, dtype, overwrite, progress
            As for `to_tiff_sequence`.

        Raises
        ------
        ValueError
            If PNG has no such pixels, such as floats: what to convert them by is said.

        Examples
        --------
        >>> import numpy as np, tempfile, xarray as xr
        >>> da = xr.DataArray(np.ones((2, 8, 8), "f4"), dims=("T", "Y", "X"))
        >>> folder = tempfile.TemporaryDirectory()
        >>> paths = da.nd2.to_png_sequence(folder.name, scale=255, dtype="u1")
        >>> [path.name for path in paths]
        ['image_t0.png', 'image_t1.png']
        >>> folder.cleanup()
        """
        from limnd2_xr.export.image_sequence import to_sequence

        return to_sequence(
            self._obj,
            folder,
            kind="png",
            template=template,
            scale=scale,
            dtype=dtype,
            overwrite=overwrite,
            progress=progress,
        )
