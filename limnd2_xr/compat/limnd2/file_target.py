"""Where a writer puts what it is given: `NewFile`, and what all targets have in common."""

from __future__ import annotations

import errno
import os
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.compat.limnd2.experiment_factory import ExperimentFactory
from limnd2_xr.compat.limnd2.image_input import described
from limnd2_xr.compat.limnd2.metadata_factory import MetadataFactory
from limnd2_xr.compat.limnd2.unfinished import Unfinished
from limnd2_xr.compat.limnd2.written_metadata import WrittenMetadata
from limnd2_xr.frames.frame_stream import FrameStream

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from limnd2_xr.compat.limnd2.attributes import ImageAttributes
    from limnd2_xr.compat.limnd2.experiment import ExperimentLevel
    from limnd2_xr.compat.limnd2.metadata import PictureMetadata
    from limnd2_xr.frames.layout import PixelLayout

__all__ = ["FileTarget", "NewFile", "stored_otherwise", "times_of", "written_picture"]


class FileTarget(ABC):
    """A file that is being written.

    Parameters
    ----------
    path
        Name of the file to be.
    """

    attributes: ImageAttributes | None = None
    """What the file has already."""
    experiment: ExperimentLevel | None = None
    """What the file has already."""
    picture: PictureMetadata | None = None
    """What the file has already."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.closed = False
        """Whether it was completed, or rolled back."""
        self.is_rolled_back = False
        # Whoever forgets to finalize leaves nothing behind, and hears of it.
        self._unfinished = Unfinished(path)
        self._end = weakref.finalize(self, self._unfinished.discard)

    def note_change(self) -> None:
        """Remember that something was given, which is lost without `complete`."""
        self._unfinished.is_changed = True

    @property
    def name(self) -> str:
        """Name of the file, for messages."""
        return os.fspath(self.path)

    @abstractmethod
    def begin(
        self, layout: PixelLayout, *, significant_bits: int, level: int | None
    ) -> None:
        """Say how frames are stored."""

    @property
    @abstractmethod
    def stream(self) -> FrameStream:
        """What new frames and chunks are written to."""

    @property
    @abstractmethod
    def frame_count(self) -> int:
        """One more than the highest number of a frame that is there."""

    def put(self, number: int, samples: NDArray[Any], time_ms: float) -> None:
        """Write a frame."""
        self.stream.put(number, samples, time_ms)
        self.note_change()

    def put_tile(
        self, number: int, y: int, x: int, samples: NDArray[Any], time_ms: float
    ) -> None:
        """Write a part of a frame."""
        self.stream.put_tile(number, y, x, samples, time_ms)
        self.note_change()

    def put_chunk(self, name: str, payload: bytes) -> None:
        """Write a chunk that is too large to keep."""
        self.stream.put_chunk(name, payload)
        self.note_change()

    def frame(self, number: int) -> NDArray[Any]:
        """Return a frame; KeyError if it is not there."""
        return self.stream.frame(number)

    def chunk(self, name: str) -> bytes | None:
        """Return a chunk; None if it is not there."""
        return self.stream.chunk(name)

    @abstractmethod
    def complete(
        self,
        attributes: ImageAttributes | None,
        experiment: ExperimentLevel | None,
        picture: PictureMetadata | None,
        extra: Mapping[str, bytes],
        *,
        fill_missing: bool,
    ) -> None:
        """Check everything, and complete the file."""

    def rollback(self) -> None:
        """Forget what was written."""
        if not self.closed:
            self._close()
            self.is_rolled_back = True
            self._forget()

    def _close(self) -> None:
        self.closed = True
        self._end.detach()

    @abstractmethod
    def _forget(self) -> None:
        """Remove what is on the disk of it."""


class NewFile(FileTarget):
    """A file that gets its name once it is complete.

    Parameters
    ----------
    path
        Name of the file to be.
    overwrite
        Whether a file of that name may be replaced then; an empty one always may.

    Raises
    ------
    FileExistsError, OSError
        As `FrameStream.create`.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        super().__init__(path)
        self._overwrite = overwrite
        self._was_empty = not overwrite and _is_empty(path)
        overwrite = overwrite or self._was_empty
        self._stream = FrameStream.create(path, overwrite=overwrite)
        self._unfinished.stream = self._stream
        self._begun: tuple[PixelLayout, int] | None = None

    @property
    def stream(self) -> FrameStream:
        """What frames and chunks are written to."""
        return self._stream

    def begin(
        self, layout: PixelLayout, *, significant_bits: int, level: int | None
    ) -> None:
        """Say how frames are stored; see `FrameStream.begin`."""
        before = self._begun
        if self._stream.numbers and before not in {None, (layout, significant_bits)}:
            raise stored_otherwise(self.name, before, (layout, significant_bits))
        self._stream.begin(layout, significant_bits=significant_bits, level=level)
        self._begun = layout, significant_bits

    @property
    def frame_count(self) -> int:
        """One more than the highest number of a frame that is there."""
        return max(self._stream.numbers, default=-1) + 1

    def complete(
        self,
        attributes: ImageAttributes | None,
        experiment: ExperimentLevel | None,
        picture: PictureMetadata | None,
        extra: Mapping[str, bytes],
        *,
        fill_missing: bool,
    ) -> None:
        """Check everything, write it, and give the file its name.

        Raises
        ------
        FileExistsError
            If another file has the name meanwhile, and shall not be replaced.
        """
        if attributes is None:
            raise RuntimeError(f"Missing ImageAttributes: {self.name} is not written")
        count = attributes.uiSequenceCount
        if not count:
            raise ValueError(f"{self.name}: no frame was written")
        self._stream.check_frames(count, fill_missing=fill_missing)
        metadata = WrittenMetadata(
            attributes=attributes,
            experiment=written_experiment(experiment, count),
            picture=written_picture(picture, attributes),
            times_ms=times_of(self._stream, np.full(count, np.nan)),
        )
        metadata.check()
        payloads = {**metadata.payloads(), **extra}
        self._check_free()
        try:
            self._stream.finalize(payloads, count, fill_missing=fill_missing)
        except FileExistsError as error:
            raise self._taken() from error
        self._close()

    def _check_free(self) -> None:
        """Refuse a file that appeared, while it still can be moved away."""
        if self._overwrite or (self._was_empty and _is_empty(self.path)):
            return
        if self.path.exists():
            raise self._taken()

    def _taken(self) -> FileExistsError:
        return FileExistsError(
            errno.EEXIST,
            "the file appeared while this one was being written; append=False replaces it",
            self.name,
        )

    def _forget(self) -> None:
        self._stream.rollback()


def stored_otherwise(
    name: str, before: tuple[PixelLayout, int], now: tuple[PixelLayout, int]
) -> ValueError:
    """Return an error of frames that are stored otherwise than those before.

    Parameters
    ----------
    name
        Of the file.
    before, now
        Layout of the frames, and their significant bits.
    """
    return ValueError(
        f"{name}: frames are stored as {described(*before)}; there cannot be others of "
        f"{described(*now)}"
    )


def _is_empty(path: Path) -> bool:
    return path.is_file() and not path.stat().st_size


def written_experiment(
    experiment: ExperimentLevel | None, count: int
) -> ExperimentLevel | None:
    """Return the loops; a time loop where there are none for several frames.

    The vendor's library reads no more than one frame without a loop. The loop has no
    interval: no times are made up.
    """
    if experiment is not None or count == 1:
        return experiment
    return ExperimentFactory(t=count).createExperiment()


def written_picture(
    picture: PictureMetadata | None, attributes: ImageAttributes
) -> PictureMetadata:
    """Return picture metadata with planes: new ones where there are none."""
    if picture is not None and picture.channels:
        return picture
    if picture is not None:
        return picture.makeValid(attributes.uiComp)
    factory = MetadataFactory()
    return factory.createMetadata(number_of_channels_fallback=attributes.uiComp)


def times_of(stream: FrameStream, known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the times of frames, those that were put among them."""
    for number, time in stream.times_ms.items():
        known[number] = time
    return known
