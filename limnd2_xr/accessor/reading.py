"""What ``.nd2`` tells of the file behind a dataset or an array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from limnd2_xr.arrays.chunk_access import ChunkInfo
    from limnd2_xr.arrays.custom_content import JobRun
    from limnd2_xr.arrays.frame_metadata import FrameMetadata
    from limnd2_xr.arrays.plate import PlateWells
    from limnd2_xr.arrays.regions_of_interest import ImageRoi
    from limnd2_xr.model.custom_description import CustomDescription
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.guids import Guids

__all__ = ["Nd2FileAccessor"]


def remembered(obj: xr.Dataset | xr.DataArray, key: str) -> Any:
    """Return what the encoding of an object or of one of its variables has, or None."""
    parts = obj.values() if isinstance(obj, xr.Dataset) else ()
    encodings = (obj.encoding, *(part.encoding for part in parts))
    return next((found[key] for found in encodings if key in found), None)


class Nd2FileAccessor:
    """What datasets and arrays offer; holds nothing but the object it was asked on."""

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
    def damage(self) -> tuple[str, ...]:
        """What of the file was found damaged when it was opened, whatever was said then.

        Returns
        -------
        tuple of str
            Empty for a sound file, and for an object that does not remember its file.

        Examples
        --------
        >>> import xarray as xr
        >>> from limnd2_xr.testing.synthetic import SyntheticSpec, build
        >>> data = build(SyntheticSpec(width=8, height=6, map_style="garbage")).data
        >>> ds = xr.open_dataset(data, engine="nd2", on_damage="ignore")
        >>> len(ds.nd2.damage)
        1
        """
        from limnd2_xr.arrays.dataset import DAMAGE_KEY

        found: tuple[str, ...] = remembered(self._obj, DAMAGE_KEY) or ()
        return found

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

    def level(self, n: int) -> xr.DataArray:
        """Return the image with width and height halved `n` times, lazily.

        From the smaller copies in the file if it has them for what the object holds,
        else computed: each pixel the mean of 2 x 2 of the level before.

        Parameters
        ----------
        n
            How often; 0 is the image itself.

        Returns
        -------
        xarray.DataArray
            With dims, coordinates and attributes of the image; Y and X tell the centres
            of the larger pixels.

        Raises
        ------
        ValueError
            If nothing is left of the image, or it has no Y or X.

        Examples
        --------
        >>> import xarray as xr
        >>> from limnd2_xr.testing.synthetic import SyntheticSpec, build
        >>> ds = xr.open_dataset(
        ...     build(SyntheticSpec(width=80, height=60)).data, engine="nd2"
        ... )
        >>> dict(ds.nd2.level(2).sizes)
        {'C': 1, 'Y': 15, 'X': 20}
        """
        from limnd2_xr.arrays.image_levels import level_of

        return level_of(self._obj, n)

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

        with FrameStore.open(source_of(self._obj), on_damage="ignore") as store:
            return rois_of(store)

    @property
    def wells(self) -> PlateWells:
        """Wells that the object has positions in, and the plate where the file tells it.

        Raises
        ------
        Nd2Error
            If the object tells of no wells.
        """
        from limnd2_xr.arrays.plate import wells_of

        return wells_of(self._obj)

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

        with FrameStore.open(source_of(self._obj), on_damage="ignore") as store:
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

    @property
    def custom_description(self) -> CustomDescription | None:
        """Form that the user filled in, with its items; None if the file has none.

        Raises
        ------
        Nd2Error
            If the object does not remember its file, or the chunk is damaged.
        """
        from limnd2_xr.arrays.chunk_access import source_of
        from limnd2_xr.arrays.custom_content import custom_description_of

        return custom_description_of(source_of(self._obj))

    @property
    def guids(self) -> Guids | None:
        """Identifiers of the file and of those it was made from; None without them.

        Raises
        ------
        Nd2Error
            If the object does not remember its file, or the chunk is damaged.
        """
        from limnd2_xr.arrays.chunk_access import source_of
        from limnd2_xr.arrays.custom_content import guids_of

        return guids_of(source_of(self._obj))

    @property
    def job(self) -> JobRun | None:
        """The JOBS program that acquired the file and its run; None without one.

        Raises
        ------
        Nd2Error
            If the object does not remember its file, or a chunk is damaged.
        """
        from limnd2_xr.arrays.chunk_access import source_of
        from limnd2_xr.arrays.custom_content import job_of

        return job_of(source_of(self._obj))

    @property
    def custom_data(self) -> Mapping[str, Any]:
        """Settings that NIS-Elements and its modules keep in the file, by name.

        Returns
        -------
        Mapping
            From names like ``AppInfo_V1_0`` to what the chunks hold, each decoded when it
            is asked for; whatever does not decode as bytes.

        Raises
        ------
        Nd2Error
            If the object does not remember its file.
        """
        from limnd2_xr.arrays.chunk_access import source_of
        from limnd2_xr.arrays.custom_content import CustomData

        return CustomData.of(source_of(self._obj))
