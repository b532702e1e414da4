"""`Nd2Reader`: an open file as limnd2 shows it."""

from __future__ import annotations

from functools import cached_property
from operator import index
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, overload

from limnd2_xr.compat.limnd2.base import NameNotInChunkmapError
from limnd2_xr.compat.limnd2.chunker import FileChunker
from limnd2_xr.compat.limnd2.loop_indexes import dimension_sizes, loop_indexes
from limnd2_xr.compat.limnd2.reader_summary import ReaderSummary
from limnd2_xr.compat.limnd2.results import (
    create_table_data_from_h5,
    read_results_from_h5,
)
from limnd2_xr.compat.limnd2.stores import store_of
from limnd2_xr.frames.deepsim import (
    DEEPSIM_FAMILY,
    decode_deepsim,
    deepsim_chunk_name,
    parse_deepsim_name,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Self

    import dask.array as da
    import numpy as np
    from numpy.typing import NDArray

    from limnd2_xr.compat.limnd2.binary import BinaryRasterMetadata, BinaryRleMetadata
    from limnd2_xr.compat.limnd2.pixels import Rect
    from limnd2_xr.compat.limnd2.results import ResultItem, TableData

    DeepSim = tuple[
        NDArray[np.uint16],
        str,
        str,
        tuple[float, float],
        tuple[int, int],
        tuple[int, int],
    ]

__all__ = ["Nd2Reader"]


class Nd2Reader(ReaderSummary):
    """An open nd2 file.

    Parameters
    ----------
    file
        Path, URL, bytes, memoryview, open binary file, or a store of
        `limnd2_xr.compat.limnd2.base`.
    chunker_kwargs
        Metadata to use instead of those of the file: ``with_image_attributes``,
        ``with_experiment``, ``with_picture_metadata``, ``with_image_text_info``,
        ``with_binary_rle_metadata``, ``with_binary_raster_metadata``.
    storage_options
        For a URL: arguments of its filesystem.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    NotNd2Format
        If it is something else.
    UnsupportedChunkmapError
        If it is damaged beyond what can be mended.

    Warns
    -----
    Nd2Warning
        Once, if the file is damaged or lacks frames.

    Examples
    --------
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> data = build(SyntheticSpec(loops=(TimeLoop(3),), width=8, height=6)).data
    >>> with Nd2Reader(data) as reader:
    ...     print(reader.dimensionSizes(), reader.image(2).shape)
    {'t': 3} (6, 8, 1)
    """

    def __init__(
        self,
        file: Any,
        *,
        chunker_kwargs: Mapping[str, Any] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        store = store_of(file, storage_options)
        super().__init__(FileChunker(store, **(chunker_kwargs or {})))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finalize()

    def finalize(self) -> None:
        """Close the file; arrays that were read stay, and so do metadata."""
        self._chunker.finalize()

    def image(
        self,
        seq_index: SupportsIndex,
        *,
        rect: Rect | None = None,
        downsample_level: int = 0,
    ) -> NDArray[Any]:
        """Return a frame, of shape (rows, columns, components).

        See `limnd2_xr.compat.limnd2.chunker.FileChunker.image`.
        """
        return self._chunker.image(
            seq_index, rect=rect, downsample_level=downsample_level
        )

    @property
    def binaryRleMetadata(self) -> BinaryRleMetadata:
        """Binary layers that are stored as runs of pixels."""
        return self._chunker.binaryRleMetadata

    @property
    def binaryRasterMetadata(self) -> BinaryRasterMetadata:
        """All binary layers: those of tiles, and the others as if they were."""
        return self._chunker.binaryRasterMetadata

    def binaryRasterData(
        self,
        bin_id: SupportsIndex,
        seq_index: SupportsIndex,
        *,
        rect: Rect | None = None,
        downsample_level: int = 0,
    ) -> NDArray[np.uint32]:
        """Return the mask of a frame, of shape (rows, columns).

        See `limnd2_xr.compat.limnd2.chunker.FileChunker.binaryRasterData`.
        """
        return self._chunker.binaryRasterData(
            bin_id, seq_index, rect=rect, downsample_level=downsample_level
        )

    def chunk(self, name: bytes | str) -> bytes | None:
        """Return the payload of a chunk; None if the file has none of that name.

        See `limnd2_xr.compat.limnd2.chunker.FileChunker.chunk`.
        """
        return self._chunker.chunk(name)

    @property
    def chunkSize(self) -> None:
        """None, as in limnd2."""
        return

    def dimensionSizes(self, skipSpectralLoop: bool = True) -> dict[str, int]:
        """Return the steps of each loop by its letter; the outermost comes first.

        Parameters
        ----------
        skipSpectralLoop
            Leave the loop over channels out.

        Returns
        -------
        dict of str to int
            Empty if the file has no loops. A run that was stopped is as long as it was.
        """
        if self.experiment is None:
            return {}
        sizes = dimension_sizes(self._chunker.state.axes)
        if not skipSpectralLoop:
            spectral = [level for level in self.experiment if level.isLambda]
            sizes |= {level.typeName: level.count for level in spectral}
        return sizes

    @overload
    def generateLoopIndexes(
        self, *, named: Literal[False] = False, dimnames: list[str] | None = None
    ) -> list[tuple[int, ...]]: ...
    @overload
    def generateLoopIndexes(
        self, *, named: Literal[True], dimnames: list[str] | None = None
    ) -> list[dict[str, int]]: ...
    def generateLoopIndexes(
        self, *, named: bool = False, dimnames: list[str] | None = None
    ) -> list[tuple[int, ...]] | list[dict[str, int]]:
        """Return the step of each loop for each frame, in the order of the frames.

        Parameters
        ----------
        named
            Give dicts by the letter of the loop.
        dimnames
            List that the letters are put into.

        Returns
        -------
        list of tuple or dict
            Empty if the file has no loops. Of a file with wells ``w`` comes first, and
            ``m`` counts positions within the well.
        """
        if self.experiment is None:
            return []
        names, indexes = loop_indexes(self._chunker.state.axes, self.wellplateFrameInfo)
        if dimnames is not None:
            dimnames[:] = names
        if named:
            return [dict(zip(names, index, strict=True)) for index in indexes]
        return indexes

    def delayedImageData(self, *, tiling: tuple[int, int] | None = None) -> da.Array:
        """Return all frames as a dask array.

        Parameters
        ----------
        tiling
            Width and height of a block; a frame if it is not given.

        Returns
        -------
        dask.array.Array
            Of shape `imageDataShape`. It can be computed after `finalize`.

        Raises
        ------
        ImportError
            If dask is not installed.
        """
        from limnd2_xr.compat.limnd2.delayed import delayed_image

        return delayed_image(self._chunker.state, tiling)

    def crestDeepSimRawDataIndices(self) -> list[tuple[int, int]]:
        """Return frame and component of all raw images of a DeepSIM."""
        names = (name for name, _ in self._chunker.state.chunks.items())
        found = [
            parse_deepsim_name(name)
            for name in names
            if name.startswith(DEEPSIM_FAMILY)
        ]
        return sorted((pair[1], pair[0]) for pair in found if pair is not None)

    def crestDeepSimRawData(
        self, seqindex: SupportsIndex, component_index: SupportsIndex
    ) -> DeepSim:
        """Return the raw images that a component of a frame was computed from.

        Parameters
        ----------
        seqindex, component_index
            One of `crestDeepSimRawDataIndices`.

        Returns
        -------
        tuple
            Images, uint16 of shape (number, rows, columns); key and XML of the
            calibration; correction of the point spread function and iterations, each
            with its default; and x and y of the region of the camera.

        Raises
        ------
        NameNotInChunkmapError
            If there are none.
        """
        name = deepsim_chunk_name(index(component_index), index(seqindex))
        raw = self._chunker.decoded(name, decode_deepsim)
        if raw is None:
            raise NameNotInChunkmapError(name)
        return (
            raw.images,
            raw.calibration_key.rstrip("\0"),
            raw.calibration_xml,
            (raw.psf, raw.psf_default),
            (raw.iterations, raw.iterations_default),
            (raw.roi_x, raw.roi_y),
        )

    @cached_property
    def results(self) -> dict[str, ResultItem]:
        """Results of analyses by name, from the ``.h5`` beside the file."""
        path = self.store.filename
        return {} if path is None else read_results_from_h5(path)

    def resultPrivateTable(
        self, result_name: str, pane: str, table_name: str
    ) -> TableData:
        """Return a table of a pane of a result.

        Parameters
        ----------
        result_name
            One of `results`.
        pane
            ``"main-left"``, ``"main-right"`` or ``"side"``.
        table_name
            One of its ``private_table_locations``.

        Raises
        ------
        KeyError
            If there is no such table.
        """
        found = self.results[result_name].result_panes[pane]
        location = found.private_table_locations[table_name]
        return create_table_data_from_h5(found.path, location)

    def to_ome_zarr(
        self,
        path: str | os.PathLike[str],
        *,
        include_binaries: bool = True,
        use_dask: bool = True,
        overwrite: bool = False,
    ) -> Path:
        """Write the file as OME-Zarr.

        Parameters
        ----------
        path
            Of the new folder, or a URL.
        include_binaries
            Write binary layers as labels.
        use_dask
            Without effect: blocks are written side by side, and memory is bounded,
            either way.
        overwrite
            Replace what is there.

        Returns
        -------
        Path
            As it was given.

        Raises
        ------
        FileExistsError
            If something is there and `overwrite` is False.
        """
        from limnd2_xr.compat.limnd2.reader_exports import to_ome_zarr

        del use_dask
        return to_ome_zarr(
            self, path, include_binaries=include_binaries, overwrite=overwrite
        )
