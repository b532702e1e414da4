"""`ND2File`: the class of nd2 0.12, on this package's reader."""

from __future__ import annotations

from copy import deepcopy
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from limnd2_xr.compat.nd2 import exports
from limnd2_xr.compat.nd2.axis import VERSION
from limnd2_xr.compat.nd2.binary import binary_layers
from limnd2_xr.compat.nd2.chunks import (
    custom_data_of,
    jobs_of,
    unstructured_metadata_of,
    unstructured_names,
)
from limnd2_xr.compat.nd2.events import Recorded, events_table
from limnd2_xr.compat.nd2.file_pixels import FilePixels
from limnd2_xr.compat.nd2.frames import FrameTable
from limnd2_xr.compat.nd2.labelled import coords_of, xarray_array
from limnd2_xr.compat.nd2.metadata import geometry_of, metadata_of, text_info_of
from limnd2_xr.compat.nd2.reader import ChunkLookup
from limnd2_xr.compat.nd2.rois import rois_of
from limnd2_xr.compat.nd2.zarr_attributes import add_attribute
from limnd2_xr.errors import Nd2Error, warn_user

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

    import xarray as xr
    from ome_types import OME

    from limnd2_xr.compat.nd2 import structures
    from limnd2_xr.compat.nd2.binary import BinaryLayers

__all__ = ["ND2File"]


class ND2File(FilePixels):
    """An nd2 file as `nd2.ND2File` shows it.

    Parameters
    ----------
    path
        Path, URL, or open binary file.
    validate_frames, search_window
        Accepted and without effect: frames are looked for where the chunk map is wrong,
        in any case.
    storage_options
        For URLs: arguments of the fsspec filesystem.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        As the system raises them.
    OSError
        If it is no nd2 file.
    Nd2Error
        If it is damaged beyond what can be mended.

    Examples
    --------
    >>> import io
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> data = build(SyntheticSpec(loops=(TimeLoop(3),), width=8, height=6)).data
    >>> with ND2File(io.BytesIO(data)) as file:
    ...     print(dict(file.sizes), file.asarray().shape)
    {'T': 3, 'Y': 6, 'X': 8} (3, 6, 8)
    """

    def __init__(
        self,
        path: Any,
        *,
        validate_frames: bool = False,
        search_window: int = 100,
        storage_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            path,
            validate_frames=validate_frames,
            search_window=search_window,
            storage_options=storage_options,
        )

    def to_xarray(
        self,
        delayed: bool = True,
        squeeze: bool = True,
        position: int | str | None = None,
        copy: bool = True,
    ) -> xr.DataArray:
        """Return a labelled array.

        Parameters
        ----------
        delayed
            Make it of a dask array rather than read pixels now.
        squeeze
            Leave out axes of length 1. Otherwise those that `sizes` lacks come first, in
            the order P, T, Z, C, Y, X.
        position
            Number or name of one stage position; negative numbers count from the end.
        copy
            Without effect.
        """
        del copy
        return xarray_array(self, delayed=delayed, squeeze=squeeze, position=position)

    @cached_property
    def _rdr(self) -> ChunkLookup:
        return ChunkLookup(self._session)

    def _expand_coords(self, squeeze: bool = True) -> dict[str, Any]:
        return coords_of(self, squeeze=squeeze)

    @cached_property
    def text_info(self) -> structures.TextInfo:
        """Texts of the file; those that are empty are left out."""
        return text_info_of(self._document)

    @cached_property
    def metadata(self) -> structures.Metadata:
        """Metadata that all frames have in common."""
        with self._lent() as store:
            geometry = geometry_of(store)
        return metadata_of(self._session.state, self.experiment, geometry)

    def frame_metadata(
        self, seq_index: int | tuple[int, ...]
    ) -> structures.FrameMetadata:
        """Return the metadata of one frame.

        Parameters
        ----------
        seq_index
            Its number, negative ones count from the end; or its index along each axis of
            `sizes` along which frames are counted.
        """
        if isinstance(seq_index, tuple):
            seq_index = int(self._layout.frame_number(seq_index))
        return self._frame_table.metadata(seq_index, self.metadata)

    @cached_property
    def _frame_table(self) -> FrameTable:
        with self._lent() as store:
            return FrameTable.of(store)

    @cached_property
    def custom_data(self) -> dict[str, Any]:
        """Trees that programs left in the file, by name."""
        with self._lent() as store:
            return custom_data_of(store)

    def unstructured_metadata(
        self,
        *,
        strip_prefix: bool = True,
        include: set[str] | None = None,
        exclude: set[str] | None = None,
    ) -> dict[str, Any]:
        """Return every chunk of metadata as nested dicts.

        Parameters
        ----------
        strip_prefix
            Cut the type off the names of fields: ``uiWidth`` becomes ``Width``.
        include, exclude
            Names of chunks.
        """
        names = unstructured_names(self._session.state, include, exclude)
        payloads = self._unstructured_payloads
        if lacking := [name for name in names if name not in payloads]:
            with self._lent() as store:
                payloads |= store.read_chunks(lacking)
        return unstructured_metadata_of(
            {name: payloads[name] for name in names},
            strip_prefix=strip_prefix,
            is_legacy=self.is_legacy,
        )

    @cached_property
    def _unstructured_payloads(self) -> dict[str, bytes]:
        return {}

    def events(
        self,
        *,
        orient: Literal["records", "list", "dict"] = "records",
        null_value: Any = float("nan"),
    ) -> Any:
        """Return the table of what was recorded: a row a frame and a row an event.

        Parameters
        ----------
        orient
            ``"records"`` for a list of dicts, ``"list"`` for a dict of columns,
            ``"dict"`` for a dict of dicts by number of the row.
        null_value
            What fills empty cells of the latter two.

        Raises
        ------
        ValueError
            If `orient` is something else.
        """
        if orient not in ("records", "dict", "list"):
            raise ValueError("orient must be one of 'records', 'dict', or 'list'")
        return events_table(self._recorded, orient, null_value)

    @cached_property
    def _recorded(self) -> Recorded:
        with self._lent() as store:
            return Recorded.of(store)

    @cached_property
    def rois(self) -> dict[int, structures.ROI]:
        """Regions of interest by id."""
        with self._lent() as store:
            return rois_of(store)

    @cached_property
    def binary_data(self) -> BinaryLayers | None:
        """Binary layers, None if there are none."""
        with self._lent() as store:
            return binary_layers(store)

    def jobs(self) -> dict[str, Any] | None:
        """Return the job that ran the acquisition, None without one."""
        return deepcopy(self._jobs)

    @cached_property
    def _jobs(self) -> dict[str, Any] | None:
        with self._lent() as store:
            return jobs_of(store)

    def ome_metadata(
        self, *, include_unstructured: bool = True, tiff_file_name: str | None = None
    ) -> OME:
        """Describe the file as an OME document.

        Parameters
        ----------
        include_unstructured
            Add what OME has no elements for as structured annotations.
        tiff_file_name
            Refer to the pages of a TIFF file of this name, one a plane.
        """
        return exports.ome_metadata(
            self._session,
            include_unstructured=include_unstructured,
            tiff_file_name=tiff_file_name,
        )

    def write_tiff(
        self,
        dest: str | os.PathLike[str],
        *,
        include_unstructured_metadata: bool = True,
        progress: bool = False,
        on_frame: Callable[[int, int, dict[str, int]], None] | None = None,
        modify_ome: Callable[[OME], None] | None = None,
    ) -> None:
        """Write the file as OME-TIFF; an existing file is replaced.

        Parameters
        ----------
        dest
            Name of the file.
        include_unstructured_metadata
            Add what OME has no elements for, if ``.ome.`` is part of the name.
        progress
            Show a bar.
        on_frame
            Called after each frame with its number, how many there are, and its index
            along each axis.
        modify_ome
            Called with the OME document, to change it in place, if ``.ome.`` is part of
            the name.
        """
        exports.write_tiff(
            self._session,
            dest,
            include_unstructured_metadata=include_unstructured_metadata,
            progress=progress,
            on_frame=on_frame,
            modify_ome=modify_ome,
        )

    def write_ome_zarr(
        self,
        dest: str | os.PathLike[str],
        *,
        chunk_shape: tuple[int, ...] | Literal["auto"] | None = "auto",
        shard_shape: tuple[int, ...] | None = None,
        backend: Literal["zarr", "tensorstore", "auto"] = "auto",
        progress: bool = False,
        position: int | None = None,
        force_series: bool = False,
        include_all_metadata: bool = True,
        include_labels: bool = True,
        version: Literal["0.5"] = "0.5",
        overwrite: bool = False,
    ) -> Path:
        """Write the file as OME-Zarr 0.5, of one resolution.

        Parameters
        ----------
        dest
            Folder to write.
        chunk_shape, shard_shape
            Sizes along the last axes of t, c, z, y, x; ``"auto"`` for planes or parts of
            them, None for one chunk.
        backend
            Accepted and without effect: zarr-python writes.
        progress
            Show a bar.
        position
            Number of the one stage position to write, negative ones count from the end;
            None for all: as a plate if all have names of the form ``A1``.
        force_series
            Accepted and without effect.
        include_all_metadata
            Add `unstructured_metadata` and `custom_data` to the attribute ``nd2`` of the
            root; else it is the version only.
        include_labels
            Write binary layers as labels.
        version
            ``"0.5"``.
        overwrite
            Replace what is there.

        Returns
        -------
        pathlib.Path
            What was written.

        Raises
        ------
        FileExistsError
            If something is there, and not `overwrite`.
        IndexError
            If there is no such position.
        ValueError
            If there is no such backend or version, or a shape has too many axes.
        """
        del force_series
        told = self._told(full=include_all_metadata)
        made = exports.write_ome_zarr(
            self._session,
            dest,
            chunk_shape=chunk_shape,
            shard_shape=shard_shape,
            backend=backend,
            position=position,
            include_labels=include_labels,
            version=version,
            overwrite=overwrite,
            progress=progress,
        )
        add_attribute(made, "nd2", told)
        return made

    def _told(self, *, full: bool) -> dict[str, Any]:
        """Return what the root of an OME-Zarr tells of the file."""
        found: dict[str, Any] = {"version": VERSION}
        if full:
            found["unstructured_metadata"] = self.unstructured_metadata()
            try:
                found["custom_data"] = self.custom_data
            except Nd2Error as error:
                warn_user(f"custom_data are left out of the export: {error}")
        return found
