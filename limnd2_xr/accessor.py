"""``.nd2`` on datasets and arrays: what is known about the file behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    from limnd2_xr.arrays.frame_metadata import FrameMetadata
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
    """``ds.nd2``: the file behind a dataset."""


@xr.register_dataarray_accessor("nd2")
class Nd2DataArrayAccessor(_Nd2Accessor):
    """``da.nd2``: the file behind an array."""
