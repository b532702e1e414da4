"""`GrownFile`: a file that exists, and what is added to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.compat.limnd2.chunker import FileChunker
from limnd2_xr.compat.limnd2.file_target import FileTarget, stored_otherwise, times_of
from limnd2_xr.compat.limnd2.image_input import level_of, stored_layout
from limnd2_xr.compat.limnd2.pixels import stored_pixels
from limnd2_xr.compat.limnd2.stores import FileStore
from limnd2_xr.compat.limnd2.written_metadata import WrittenMetadata
from limnd2_xr.container.update import update_chunks
from limnd2_xr.errors import StaleFile, UnsupportedFeature
from limnd2_xr.frames.frame_stream import FrameStream
from limnd2_xr.frames.pyramid import LEVEL_FAMILY, parse_level_name
from limnd2_xr.model import raw as chunks
from limnd2_xr.model.description_text import without_gone_loops

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from limnd2_xr.compat.limnd2.attributes import ImageAttributes
    from limnd2_xr.compat.limnd2.experiment import ExperimentLevel
    from limnd2_xr.compat.limnd2.metadata import PictureMetadata
    from limnd2_xr.frames.layout import PixelLayout

__all__ = ["GrownFile"]

_ASSIGNED = (chunks.ATTRIBUTES[0], chunks.EXPERIMENT[0], chunks.PICTURE[0])
_CACHES = (chunks.FRAME_TIMES, chunks.SECOND_CLOCK, chunks.FRAMES_CACHE)


class GrownFile(FileTarget):
    """A file to which frames and chunks are added when it is completed.

    Until then they are in a file of their own beside it, and nothing in it changes. At
    each moment it is the old or the new one, also if the process is killed.

    Parameters
    ----------
    path
        Of the file.

    Raises
    ------
    UnsupportedFeature
        If its format is another one than 3.0, or its frames are none that are written.
    UnsupportedChunkmapError
        If it is damaged.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._was = _identity(path)
        self._old = FileChunker(FileStore(path))
        self._spool: FrameStream | None = None
        try:
            self._check()
            self.attributes = self._old.imageAttributes
            self.experiment = self._old.experiment
            self.picture = self._old.pictureMetadata
            self._layout = stored_layout(self.attributes)
        except BaseException:
            self._old.finalize()
            raise
        self._level: int | None = None
        self._bits = self.attributes.uiBpcSignificant
        with suppress(ValueError):  # what others stored may be no level
            self._level = level_of(self.attributes)

    def _check(self) -> None:
        if self._old.format_version != (3, 0):
            major, minor = self._old.format_version
            raise UnsupportedFeature(
                f"format {major}.{minor} is not added to: write a new file",
                path=self.name,
            )
        if self._old.state.table.first_number:
            raise UnsupportedFeature(
                "frames that are numbered from 1 on are not added to", path=self.name
            )

    def begin(
        self, layout: PixelLayout, *, significant_bits: int, level: int | None
    ) -> None:
        """Refuse frames that are stored otherwise than those of the file."""
        before, now = (self._layout, self._bits), (layout, significant_bits)
        if now != before:
            raise stored_otherwise(self.name, before, now)
        self._level = level

    @property
    def stream(self) -> FrameStream:
        """File beside the file, which holds what is new."""
        if self._spool is None:
            self._spool = FrameStream.create(self.path, overwrite=True)
            self._unfinished.stream = self._spool
            self._spool.begin(
                self._layout, significant_bits=self._bits, level=self._level
            )
        return self._spool

    @property
    def _new(self) -> list[int]:
        return self._spool.numbers if self._spool is not None else []

    @property
    def _had(self) -> list[int]:
        numbers: list[int] = self._old.state.table.numbers.tolist()
        return numbers

    @property
    def frame_count(self) -> int:
        """One more than the highest number of a frame that is there."""
        return max([*self._had, *self._new], default=-1) + 1

    def put_tile(
        self, number: int, y: int, x: int, samples: NDArray[Any], time_ms: float
    ) -> None:
        """Write a part of a frame: of one in the file, into a copy."""
        if number in self._had and number not in self._new:
            self.stream.put(number, self.frame(number), self._old_times()[number])
        super().put_tile(number, y, x, samples, time_ms)

    def frame(self, number: int) -> NDArray[Any]:
        """Return a frame; KeyError if it is not there."""
        if number in self._new or number not in self._had:
            return self.stream.frame(number)
        return stored_pixels(self._old.frames, number).transpose(2, 0, 1)

    def chunk(self, name: str) -> bytes | None:
        """Return a chunk; None if it is not there."""
        found = self._spool.chunk(name) if self._spool is not None else None
        return found if found is not None else self._old.chunk(name)

    def complete(
        self,
        attributes: ImageAttributes | None,
        experiment: ExperimentLevel | None,
        picture: PictureMetadata | None,
        extra: Mapping[str, bytes],
        *,
        fill_missing: bool,
    ) -> None:
        """Check everything, and change the file at one moment.

        Raises
        ------
        StaleFile
            If somebody else changed it meanwhile: numbers of frames and metadata are
            those of the file that was opened.
        """
        made = self._metadata(attributes, experiment, picture)
        count = made.attributes.uiSequenceCount
        self._check_frames(count, fill_missing=fill_missing)
        made.check()
        put, remove = self._changes(made, extra)
        frames = _Frames(self._spool, self._new)
        if (put or frames) and _identity(self.path) != self._was:
            raise StaleFile(
                "the file changed since it was opened to be added to; nothing was added",
                path=self.name,
            )
        self._old.finalize()
        if put or frames:
            update_chunks(self.path, put, remove, frames)
        self._close()
        self._remove_spool()

    def _metadata(
        self,
        attributes: ImageAttributes | None,
        experiment: ExperimentLevel | None,
        picture: PictureMetadata | None,
    ) -> WrittenMetadata:
        """Return what the file is going to say: what is not assigned stays."""
        if self.attributes is None or self.picture is None:
            raise RuntimeError(f"Missing ImageAttributes: {self.name}")
        if attributes is None:
            attributes = self.attributes
            if self.frame_count > attributes.uiSequenceCount:
                attributes = replace(attributes, uiSequenceCount=self.frame_count)
        times = np.full(max(attributes.uiSequenceCount, self.frame_count), np.nan)
        old = self._old_times()
        times[: len(old)] = old[: len(times)]
        if self._spool is not None:
            times = times_of(self._spool, times)
        made = WrittenMetadata(
            attributes=attributes,
            experiment=experiment if experiment is not None else self.experiment,
            picture=picture if picture is not None else self.picture,
            times_ms=times[: attributes.uiSequenceCount],
        )
        text = self._old.imageTextInfo
        if text is not None and experiment is not None:
            told = without_gone_loops(text.sDescription, made.document)
            text = replace(text, TextInfoItem_5=told)
        return replace(made, text=text)

    def _old_times(self) -> NDArray[np.float64]:
        known = self._old.frames.records.times_ms
        times = np.full(self._old.state.table.n_frames, np.nan)
        if known is not None:
            times[: len(known)] = known[: len(times)]
        return np.where(times == -1.0, np.nan, times)

    def _check_frames(self, count: int, *, fill_missing: bool) -> None:
        have = {*self._had, *self._new}
        if self._had and max(self._had) >= count:
            raise ValueError(
                f"{self.name}: there are {max(self._had) + 1} frames, more than {count}"
            )
        missing = sorted(set(range(count)) - have)
        if missing and not fill_missing:
            some = ", ".join(map(str, missing[:10]))
            raise ValueError(
                f"{self.name}: {len(missing)} of {count} frames were not written: {some}"
            )
        for number in missing:
            zeros = np.zeros(self._layout.frame_shape, self._layout.dtype)
            self.stream.put(number, zeros)
        grown = count > self._old.state.table.n_frames
        if grown and self._old.frames.document.recorded_columns:
            raise ValueError(
                f"{self.name}: something was recorded for each of its "
                f"{self._old.state.table.n_frames} frames, which new frames would lack: "
                "write a new file"
            )

    def _changes(
        self, made: WrittenMetadata, extra: Mapping[str, bytes]
    ) -> tuple[dict[str, bytes], list[str]]:
        """Return the chunks that differ from those of the file, and those to remove."""
        put = dict(extra)
        if self._spool is not None:
            for name in self._spool.chunk_names:
                put[name] = self._spool.chunk(name) or b""
        same = (
            made.attributes == self.attributes,
            made.experiment is self.experiment,
            made.picture is self.picture,
        )
        payloads = made.payloads()
        changed = [name for name, kept in zip(_ASSIGNED, same, strict=True) if not kept]
        if not all(same):
            changed += [chunks.CALIBRATION[0], chunks.TEXT_INFO[0]]
        if self._new:
            changed += _CACHES
        for name in changed:
            if name in payloads and self._old.chunk(name) != payloads[name]:
                put.setdefault(name, payloads[name])
        new = set(self._new)
        remove = [
            name
            for name, _ in self._old.state.chunks.items()
            if name.startswith(LEVEL_FAMILY)
            and name not in put
            and (place := parse_level_name(name)) is not None
            and place[1] in new
        ]
        return put, remove

    def _forget(self) -> None:
        self._old.finalize()
        self._remove_spool()

    def _remove_spool(self) -> None:
        if self._spool is not None:
            self._spool.rollback()


def _identity(path: Path) -> tuple[int, ...]:
    """Return what tells a file from the one it was before."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class _Frames(Mapping[int, bytes]):
    """Payloads of new frames, read when they are asked for."""

    def __init__(self, spool: FrameStream | None, numbers: list[int]) -> None:
        self._spool = spool
        self._numbers = numbers

    def __getitem__(self, number: int) -> bytes:
        if self._spool is None:
            raise KeyError(number)
        return self._spool.frame_payload(number)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
