"""What ``.nd2`` offers to bring an image into other formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    import xarray as xr
    from ome_types import OME

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
