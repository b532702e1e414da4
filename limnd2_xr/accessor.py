"""``.nd2`` on datasets and arrays: what is known about the file behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import pandas as pd
    from dask.delayed import Delayed
    from numpy.typing import DTypeLike

    from limnd2_xr.arrays.chunk_access import ChunkInfo
    from limnd2_xr.arrays.frame_metadata import FrameMetadata
    from limnd2_xr.arrays.label_writing import Labels
    from limnd2_xr.arrays.regions_of_interest import ImageRoi
    from limnd2_xr.arrays.write_plan import Compression, OnLoss
    from limnd2_xr.model.document import Nd2Document

__all__ = ["Nd2DataArrayAccessor", "Nd2DatasetAccessor"]


class _Nd2Accessor:
    """What both accessors offer. Holds nothing but the object it was asked on."""

    def __init__(self, obj: xr.Dataset | xr.DataArray) -> None:
        self._obj = obj

    @property
    def metadata(self) -> Nd2Document:
        """Everything that the file says about itself, as one tree of dataclasses.

        It tells of the file as it was opened: selecting from the object does not change
        it. What varies along a dimension and should follow selections is a coordinate.

        Raises
        ------
        Nd2Error
            If the object does not come from an .nd2 file, or lost its attributes.

        Examples
        --------
        >>> import xarray as xr
        >>> from limnd2_xr.testing.synthetic import SyntheticSpec, build
        >>> ds = xr.open_dataset(
        ...     build(SyntheticSpec(width=8, height=6)).data, engine="nd2"
        ... )
        >>> ds.nd2.metadata.attributes.width, ds.nd2.metadata.format_version
        (8, '3.0')
        """
        from limnd2_xr.arrays.attrs import METADATA_ATTR, document_of

        document = document_of(self._obj.attrs)
        if document is None:
            raise Nd2Error(
                f"there is no attribute {METADATA_ATTR}: the object was not opened from an "
                ".nd2 file, or its attributes were dropped"
            )
        return document

    @property
    def source(self) -> str | None:
        """Path or URL of the file; None if that is not known (arithmetic forgets it)."""
        found = self._obj.encoding.get("source")
        if found is None and isinstance(self._obj, xr.Dataset):
            found = next(
                (
                    v.encoding["source"]
                    for v in self._obj.values()
                    if "source" in v.encoding
                ),
                None,
            )
        return None if found is None else str(found)

    @property
    def missing_frames(self) -> list[dict[str, Any]]:
        """Labels of the frames that the file lacks, so that ``ds.sel(**labels)`` finds them.

        Returns
        -------
        list of dict
            One a frame, from dimension to label; empty for a sound file.
        """
        from limnd2_xr.arrays.frame_metadata import missing_frames

        return missing_frames(self._obj)

    @property
    def labels(self) -> xr.Dataset:
        """Binary layers of the file behind the object, as lazy label images.

        Returns
        -------
        xarray.Dataset
            One uint32 variable a layer over the loop dims, Y and X: those frames, rows and
            columns that the object has. Empty if the file has no layers.

        Raises
        ------
        Nd2Error
            If the object does not remember its file.
        """
        from limnd2_xr.arrays.chunk_access import source_of
        from limnd2_xr.arrays.labels import labels_like

        return labels_like(self._obj, source_of(self._obj))

    @property
    def rois(self) -> tuple[ImageRoi, ...]:
        """ROIs of the file behind the object, each with outlines and masks in pixels.

        Raises
        ------
        Nd2Error
            If the object does not remember its file.
        """
        from limnd2_xr.arrays.chunk_access import source_of
        from limnd2_xr.arrays.regions_of_interest import rois_of
        from limnd2_xr.frames.store import FrameStore

        with FrameStore.open(source_of(self._obj)) as store:
            return rois_of(store)

    def events(self) -> pd.DataFrame:
        """Table of frames and events, as NIS-Elements shows it under Recorded Data.

        Returns
        -------
        pandas.DataFrame
            One row a frame and one an event, by time: time, indices, the recorded
            columns under their titles with units, and what happened.

        Raises
        ------
        Nd2Error
            If the object does not remember its file.
        ModuleNotFoundError
            If pandas is not installed.
        """
        import pandas as pd

        from limnd2_xr.arrays.chunk_access import source_of
        from limnd2_xr.arrays.tables import table_of
        from limnd2_xr.frames.store import FrameStore

        with FrameStore.open(source_of(self._obj)) as store:
            return pd.DataFrame(table_of(store))

    def chunks(self) -> list[ChunkInfo]:
        """Every chunk of the file behind the object: name, offset, size, encoding.

        Raises
        ------
        Nd2Error
            If the object does not remember its file.

        Examples
        --------
        >>> import xarray as xr
        >>> from limnd2_xr.testing.synthetic import SyntheticSpec, build
        >>> ds = xr.open_dataset(
        ...     build(SyntheticSpec(width=8, height=6)).data, engine="nd2"
        ... )
        >>> ds.nd2.chunks()[0].name, ds.nd2.chunks()[0].encoding
        ('ImageCalibrationLV|0!', 'lite')
        """
        from limnd2_xr.arrays.chunk_access import list_chunks, source_of

        return list_chunks(source_of(self._obj))

    def chunk(self, name: str, *, raw: bool = False) -> Any:
        """Return what one chunk of the file holds, decoded as far as its bytes tell.

        Parameters
        ----------
        name
            As `chunks` lists it; the closing ``!`` may be left out.
        raw
            Return the payload as bytes.

        Returns
        -------
        dict, list, str, number or bytes

        Raises
        ------
        KeyError
            If the file has no such chunk.
        Nd2Error
            If the object does not remember its file, or the chunk is damaged.

        Examples
        --------
        >>> import xarray as xr
        >>> from limnd2_xr.testing.synthetic import SyntheticSpec, build
        >>> ds = xr.open_dataset(
        ...     build(SyntheticSpec(width=8, height=6)).data, engine="nd2"
        ... )
        >>> ds.nd2.chunk("ImageAttributesLV")["SLxImageAttributes"]["uiWidth"]
        8
        """
        from limnd2_xr.arrays.chunk_access import read_chunk, source_of

        return read_chunk(source_of(self._obj), name, raw=raw)

    def frame_metadata(self, **indices: int) -> FrameMetadata:
        """Return what is known about one frame: time, stage position, channels.

        Parameters
        ----------
        **indices
            Number of the frame along each of T, P, Z that the object has, e.g.
            ``T=3, P=0``; as for ``isel``. One of length 1 may be left out.

        Raises
        ------
        ValueError
            If a dimension is unknown, or left out although it has several frames.
        IndexError
            If an index is out of bounds.

        Examples
        --------
        >>> import xarray as xr
        >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
        >>> spec = SyntheticSpec(loops=(TimeLoop(count=3),), width=8, height=6)
        >>> ds = xr.open_dataset(build(spec).data, engine="nd2")
        >>> ds.nd2.frame_metadata(T=2).missing
        False
        """
        from limnd2_xr.arrays.frame_metadata import frame_metadata

        return frame_metadata(self._obj, indices)


@xr.register_dataset_accessor("nd2")
class Nd2DatasetAccessor(_Nd2Accessor):
    """``ds.nd2``: the file behind a dataset, and writing it."""

    def to_nd2(
        self,
        path: str | os.PathLike[str],
        *,
        encoding: Mapping[str, Mapping[str, Any]] | None = None,
        labels: Labels | None = None,
        region: Mapping[str, slice | int] | None = None,
        overwrite: bool = False,
        compute: bool = True,
        progress: bool = False,
        on_loss: OnLoss = "warn",
    ) -> Delayed | None:
        """Write the image of the dataset to a .nd2 file, with its metadata.

        As `Dataset.to_netcdf` does, but an existing file is refused without
        `overwrite`, and the file has its name only once it is complete.

        Parameters
        ----------
        path
            Name of the file.
        encoding
            For the image variable, e.g. ``{"image": {"compression": "zlib"}}``: any of
            `compression`, `level`, `significant_bits`, `dtype` and `scale` of
            `Nd2DataArrayAccessor.write_nd2`.
        labels, region, overwrite, compute, progress, on_loss
            As for `Nd2DataArrayAccessor.write_nd2`.

        Raises
        ------
        ValueError
            If the dataset has several variables: a file holds one image.

        Examples
        --------
        >>> import numpy as np, tempfile
        >>> ds = xr.Dataset({"image": (("T", "Y", "X"), np.zeros((2, 8, 8), "u2"))})
        >>> folder = tempfile.TemporaryDirectory()
        >>> ds.nd2.to_nd2(folder.name + "/out.nd2")
        >>> with xr.open_dataset(folder.name + "/out.nd2") as again:
        ...     print(dict(again.sizes))
        {'T': 2, 'C': 1, 'Y': 8, 'X': 8}
        >>> folder.cleanup()
        """
        from limnd2_xr.arrays.dataset import image_of

        dataset = self._obj
        assert isinstance(dataset, xr.Dataset)  # noqa: S101 - registered for datasets
        image = image_of(dataset)
        given = {str(name): dict(value) for name, value in (encoding or {}).items()}
        options = given.pop(str(image.name), {})
        if given:
            raise ValueError(
                f"encoding names {', '.join(given)}, but the image is {image.name!r}"
            )
        allowed = {"compression", "level", "significant_bits", "dtype", "scale"}
        unknown = sorted(options.keys() - allowed)
        if unknown:
            raise ValueError(
                f"encoding has {', '.join(unknown)}; possible are "
                f"{', '.join(sorted(allowed))}"
            )
        return _write(
            image,
            path,
            labels=labels,
            region=region,
            overwrite=overwrite,
            compute=compute,
            progress=progress,
            on_loss=on_loss,
            **options,
        )


@xr.register_dataarray_accessor("nd2")
class Nd2DataArrayAccessor(_Nd2Accessor):
    """``da.nd2``: the file behind an array, and writing it."""

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
            loop dims; one array, a dataset, or a mapping from the layers' names.
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
        return _write(
            image,
            path,
            compression=compression,
            level=level,
            significant_bits=significant_bits,
            dtype=dtype,
            scale=scale,
            labels=labels,
            region=region,
            overwrite=overwrite,
            compute=compute,
            progress=progress,
            on_loss=on_loss,
        )


def _write(
    image: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    compression: Compression = "keep",
    level: int | None = None,
    significant_bits: int | None = None,
    dtype: DTypeLike | None = None,
    scale: float | None = None,
    labels: Labels | None = None,
    region: Mapping[str, slice | int] | None = None,
    overwrite: bool = False,
    compute: bool = True,
    progress: bool = False,
    on_loss: OnLoss = "warn",
) -> Delayed | None:
    from limnd2_xr.arrays.beside import Beside
    from limnd2_xr.arrays.region import write_region
    from limnd2_xr.arrays.write import write_nd2
    from limnd2_xr.arrays.write_plan import WriteOptions

    if region is not None:
        fixed = {
            "compression": compression != "keep",
            "level": level is not None,
            "significant_bits": significant_bits is not None,
            "labels": labels is not None,
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
            on_loss=on_loss,
        ),
        beside=Beside(labels=labels),
        dtype=dtype,
        scale=scale,
        overwrite=overwrite,
        compute=compute,
        progress=progress,
    )
