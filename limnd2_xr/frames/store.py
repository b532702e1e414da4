"""`FrameStore`: an open .nd2 file as metadata, loops and lazily read frames.

What opening finds out is kept in a `StoreState`, which can be pickled; the store itself
adds the handle. With a state the file is opened again, after a check that it is still the
same, and nothing is parsed. Where a state would be too large to travel, the file is opened
as before and has to turn out the same (`FrameStore.open_as_before`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.container.legacy_index import read_boxes
from limnd2_xr.container.prefetch import RegionCache
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.damage import DamageReport, check_on_damage
from limnd2_xr.errors import Nd2Error
from limnd2_xr.frames.display import read_ranges
from limnd2_xr.frames.frame_pixels import FramePixels
from limnd2_xr.frames.legacy_reader import CodestreamTable
from limnd2_xr.frames.reader import FrameReader
from limnd2_xr.frames.store_state import (
    MissingFrames,
    StoreState,
    find_state,
    open_unchanged,
    report_missing,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from limnd2_xr.container.source import ByteSource, FileStamp
    from limnd2_xr.damage import OnDamage
    from limnd2_xr.model.document import Nd2Document

__all__ = ["FrameStore", "MissingFrames", "StoreState"]


class FrameStore(FramePixels):
    """An open .nd2 file: its metadata, and its frames as arrays.

    Made by `open` or, from what an earlier store found out, by `reopen`. Reading is safe
    from several threads at once.

    Examples
    --------
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> data = build(SyntheticSpec(loops=(TimeLoop(count=3),), width=8, height=6)).data
    >>> with FrameStore.open(data) as store:
    ...     print(store.dims, store.shape, store.read((0, 0, slice(2), -1)).shape)
    ('T', 'C', 'Y', 'X') (3, 1, 6, 8) (2,)
    """

    @classmethod
    def open(
        cls,
        file: Any,
        *,
        storage_options: dict[str, Any] | None = None,
        missing: MissingFrames = "fill",
        on_damage: OnDamage = "warn",
    ) -> FrameStore:
        """Open a file and read its metadata, but no pixels.

        Parameters
        ----------
        file
            Path, URL, bytes, binary file object or `SourceSpec`.
        storage_options
            For a URL: arguments of the fsspec filesystem.
        missing
            Read frames that the file lacks as zeros, which counts as damage, or raise.
        on_damage
            Warn once of everything that is damaged, make that an error, or say nothing.

        Raises
        ------
        NotAnNd2File
            If it is something else.
        Nd2Error
            If it is damaged beyond what can be mended, if it is damaged and
            `on_damage` is ``"raise"``, or if it lacks frames and `missing` is
            ``"raise"``.

        Warns
        -----
        Nd2Warning
            Once, if the chunk map had to be rebuilt, metadata are damaged or frames
            missing.
        """
        if missing not in {"fill", "raise"}:
            raise ValueError(f'missing must be "fill" or "raise", not {missing!r}')
        check_on_damage(on_damage)
        spec = (
            file
            if isinstance(file, SourceSpec)
            else SourceSpec.of(file, storage_options)
        )
        return cls._find_out(spec, spec.open(), missing, on_damage)

    @classmethod
    def open_as_before(
        cls, spec: SourceSpec, stamp: FileStamp, *, on_damage: OnDamage
    ) -> FrameStore:
        """Open and parse a file that another process opened before; nothing is reported.

        Parameters
        ----------
        spec
            The file.
        stamp
            What it was like.
        on_damage
            What to do about damage that reading finds.

        Raises
        ------
        StaleFile
            If the file is no longer what it was.
        """
        store = cls._find_out(spec, open_unchanged(spec, stamp), "fill", "ignore")
        store.state = replace(store.state, on_damage=on_damage)
        return store

    @classmethod
    def _find_out(
        cls,
        spec: SourceSpec,
        source: ByteSource,
        missing: MissingFrames,
        on_damage: OnDamage,
    ) -> FrameStore:
        try:
            with DamageReport(spec.name, on_damage) as report:
                state = find_state(spec, source)
                report_missing(state, missing)
            if (report.texts, on_damage) != (state.damage, state.on_damage):
                state = replace(state, damage=report.texts, on_damage=on_damage)
        except Nd2Error as error:
            source.close()
            if error.path is None:
                raise error.located(path=spec.name) from error
            raise
        except BaseException:
            source.close()
            raise
        return cls(state, source)

    @classmethod
    def reopen(cls, state: StoreState) -> FrameStore:
        """Open a file that was opened before, without parsing it again.

        Raises
        ------
        StaleFile
            If the file is no longer what it was.
        """
        may_grow = state.is_unfinished
        return cls(state, open_unchanged(state.spec, state.stamp, may_grow=may_grow))

    def close(self) -> None:
        """Close the file; reading ends, metadata stay."""
        self._source.close()
        if isinstance(self._reader, FrameReader):
            self._reader.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getstate__(self) -> StoreState:
        return self.state

    def __setstate__(self, state: StoreState) -> None:
        again = FrameStore.reopen(state)
        self.__init__(again.state, again._source)  # type: ignore[misc]

    @property
    def document(self) -> Nd2Document:
        """All metadata of the file."""
        return self.state.document

    @property
    def requests(self) -> int:
        """Reads at the same time that make sense: 1 for disks, several for servers."""
        return self._source.requests

    @property
    def file_nbytes(self) -> int:
        """Size of the file in bytes."""
        return self._source.size

    def read_chunk(self, name: str) -> bytes:
        """Payload of one chunk that is no frame, as stored.

        Parameters
        ----------
        name
            With its closing ``!``.

        Raises
        ------
        KeyError
            If the file has no such chunk.
        CorruptChunk
            If it is not where the chunk map says.
        """
        return self.read_chunks([name])[name]

    def read_chunks(self, names: Iterable[str]) -> dict[str, bytes]:
        """Payloads of several chunks that are no frames, by name, in few reads.

        Parameters
        ----------
        names
            With their closing ``!``.

        Raises
        ------
        KeyError
            If the file lacks one of them.
        CorruptChunk
            If one is not where the chunk map says.
        """
        entries = {}
        for name in names:
            entry = self.state.chunks.find(name)
            if entry is None:
                raise KeyError(name)
            entries[name] = entry
        if isinstance(self.table, CodestreamTable):
            return read_boxes(self._source, entries)
        return RegionCache(self._source).chunks(entries)

    def read_chunk_part(self, name: str, start: int, nbytes: int) -> bytes:
        """Part of the payload of one chunk that is no frame; nothing else is read.

        Parameters
        ----------
        name
            With its closing ``!``.
        start, nbytes
            Which bytes.

        Raises
        ------
        KeyError
            If the file has no such chunk.
        CorruptChunk
            If it is not where the chunk map says, or shorter.
        """
        entry = self.state.chunks.find(name)
        if entry is None:
            raise KeyError(name)
        return RegionCache(self._source).part(name, entry, start, nbytes)

    def read_times(self) -> NDArray[np.float64]:
        """Milliseconds since the start as stored with each frame (FORMAT 1.4).

        Returns
        -------
        ndarray of float64
            One a frame, by sequence number; NaN for missing frames. Read once.
        """
        return self._stored_times

    def read_ranges(self) -> NDArray[np.float64]:
        """Display range of each channel: minimum, maximum and gamma.

        Returns
        -------
        ndarray of float64, shape (3, channels)
            NaN where the file has none. Read once.
        """
        return self._display_ranges

    @cached_property
    def _display_ranges(self) -> NDArray[np.float64]:
        attributes, layout = self.document.attributes, self.table.layout
        with DamageReport(self.source_name, self.state.on_damage):
            return read_ranges(self._source, self.state.chunks, attributes, layout)

    @cached_property
    def _stored_times(self) -> NDArray[np.float64]:
        return self._reader.read_times(np.arange(self.table.n_frames, dtype=np.int64))
