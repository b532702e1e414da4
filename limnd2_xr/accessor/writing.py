"""From the arguments of ``write_nd2`` and ``to_nd2`` to the functions that write."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import xarray as xr
    from dask.delayed import Delayed
    from numpy.typing import DTypeLike

    from limnd2_xr.arrays.beside import Columns, Events, Rois
    from limnd2_xr.arrays.label_layers import Labels
    from limnd2_xr.arrays.stored_pixels import Compression, OnLoss

__all__ = ["write"]


def write(
    image: xr.DataArray,
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
    """Write an image; parameters as for `Nd2DataArrayAccessor.write_nd2`."""
    from limnd2_xr.arrays.beside import Beside
    from limnd2_xr.arrays.region import write_region
    from limnd2_xr.arrays.stored_pixels import WriteOptions
    from limnd2_xr.arrays.write import write_nd2

    if region is not None:
        fixed = {
            "compression": compression != "keep",
            "level": level is not None,
            "significant_bits": significant_bits is not None,
            "labels": labels is not None,
            "rois": rois is not None,
            "events": events is not None,
            "columns": columns is not None,
            "pyramid": pyramid,
            "overwrite": overwrite,
        }
        given = [name for name, is_given in fixed.items() if is_given]
        if given:
            raise ValueError(
                f"{', '.join(given)} cannot be chosen for a region: create_nd2 decided"
            )
        return write_region(
            image,
            path,
            region=region,
            dtype=dtype,
            scale=scale,
            compute=compute,
            progress=progress,
        )
    return write_nd2(
        image,
        path,
        options=WriteOptions(
            compression=compression,
            level=level,
            significant_bits=significant_bits,
            pyramid=pyramid,
            on_loss=on_loss,
        ),
        beside=Beside(labels=labels, rois=rois, events=events, columns=columns),
        dtype=dtype,
        scale=scale,
        overwrite=overwrite,
        compute=compute,
        progress=progress,
    )
