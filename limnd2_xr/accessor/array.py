"""``da.nd2``: the file behind an array, and writing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from limnd2_xr.accessor.exporting import ExportAccessor
from limnd2_xr.accessor.reading import Nd2FileAccessor
from limnd2_xr.accessor.writing import write

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from dask.delayed import Delayed
    from numpy.typing import DTypeLike

    from limnd2_xr.arrays.beside import Columns, Events, Rois
    from limnd2_xr.arrays.label_layers import Labels
    from limnd2_xr.arrays.stored_pixels import Compression, OnLoss

__all__ = ["Nd2DataArrayAccessor"]


@xr.register_dataarray_accessor("nd2")
class Nd2DataArrayAccessor(ExportAccessor, Nd2FileAccessor):
    """``da.nd2``: the file behind an array, and writing it."""

    def sel_well(
        self, name: str | Iterable[str], field: int | None = None
    ) -> xr.DataArray:
        """Select the positions of a well, or of several.

        Parameters
        ----------
        name
            Of the well, e.g. ``"B03"`` or ``"b3"``; of several names the positions come
            in their order.
        field
            Only this position of each well, counted from 0; of a single well without P.

        Raises
        ------
        KeyError
            If there is no such well or field.
        Nd2Error
            If the object tells of no wells.
        """
        from limnd2_xr.arrays.plate import sel_well

        obj = self._obj
        assert isinstance(obj, xr.DataArray)  # noqa: S101 - registered for these
        return sel_well(obj, name, field)

    def write_nd2(
        self,
        path: str | os.PathLike[str],
        *,
        compression: Compression = "keep",
        level: int | None = None,
        significant_bits: int | None = None,
        dtype: DTypeLike | None = None,
        scale: float | None = None,
        labels: Labels | None = None,
        rois: Rois | None = None,
        events: Events | None = None,
        columns: Columns | None = None,
        pyramid: bool = False,
        region: Mapping[str, slice | int] | None = None,
        overwrite: bool = False,
        compute: bool = True,
        progress: bool = False,
        on_loss: OnLoss = "warn",
    ) -> Delayed | None:
        """Write the array to a .nd2 file, with the metadata its coordinates tell.

        Pixels must be uint8, uint16 or float32; nothing is cast, clipped or scaled
        unless asked for. The file has its name only once it is complete: an exception
        leaves nothing behind, and an existing file as it was.

        Parameters
        ----------
        path
            Name of the file.
        compression
            ``"zlib"``, None, or ``"keep"``: as the file that the array was opened from,
            none for others.
        level
            Of zlib, 1 (fast) to 9 (small).
        significant_bits
            Bits of a pixel that carry data, e.g. 12; pixels that need more are refused.
            Without it what the array's attributes say, else all.
        dtype, scale
            Convert the pixels: multiplied by `scale`, rounded, checked for range.
        labels
            Label images to store as binary layers: whole numbers over Y, X and any of the
            loop dims; one array, a dataset, or a mapping from the layers' names. Added to
            those of the file behind the array, or in the place of those of the same name.
        rois
            All ROIs that the file shall have: objects, or a table such as the group
            ``rois`` of a tree; ``[]`` for none.
        events
            All events that the file shall have: objects, or a table such as the group
            ``events``.
        columns
            Recorded columns by their ID, as for `limnd2_xr.update_nd2`.
        pyramid
            Store smaller copies of the frames, as the vendor's software does: each half
            as wide and high as the one before, down to 512 pixels.
        region
            Write into a file begun by `limnd2_xr.create_nd2`: a slice or an index for
            each loop dimension, e.g. ``{"T": slice(0, 10)}``; other dims are whole.
        overwrite
            Replace an existing file.
        compute
            Write now; False returns a `dask.delayed.Delayed` that does.
        progress
            Show a bar.
        on_loss
            ``"warn"``, ``"raise"`` or ``"ignore"`` coordinates and attributes that a
            file cannot hold.

        Returns
        -------
        None or dask.delayed.Delayed

        Raises
        ------
        FileExistsError
            If the file exists and `overwrite` is False.
        UnsupportedDtype
            If the pixels are of a type that no file holds.
        ValueError
            If dims, labels, axes, units or values do not fit a file.

        Examples
        --------
        >>> import numpy as np, tempfile
        >>> da = xr.DataArray(np.zeros((3, 8, 8), "u2"), dims=("T", "Y", "X"))
        >>> folder = tempfile.TemporaryDirectory()
        >>> da.nd2.write_nd2(folder.name + "/out.nd2", compression="zlib")
        >>> with xr.open_dataset(folder.name + "/out.nd2") as again:
        ...     print(again.image.dims, again.image.dtype)
        ('T', 'C', 'Y', 'X') uint16
        >>> folder.cleanup()
        """
        image = self._obj
        assert isinstance(image, xr.DataArray)  # noqa: S101 - registered for arrays
        return write(
            image,
            path,
            compression=compression,
            level=level,
            significant_bits=significant_bits,
            dtype=dtype,
            scale=scale,
            labels=labels,
            rois=rois,
            events=events,
            columns=columns,
            pyramid=pyramid,
            region=region,
            overwrite=overwrite,
            compute=compute,
            progress=progress,
            on_loss=on_loss,
        )
