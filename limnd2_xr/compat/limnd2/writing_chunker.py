"""`WritingChunker`: frames and chunks on their way into a file, as limnd2 names them."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.compat.limnd2.assigned_metadata import AssignedMetadata
from limnd2_xr.compat.limnd2.attributes import ImageAttributes
from limnd2_xr.compat.limnd2.base import UnexpectedCallError
from limnd2_xr.compat.limnd2.experiment import ExperimentLevel
from limnd2_xr.compat.limnd2.image_input import stored_image, stored_layout, unmasked
from limnd2_xr.compat.limnd2.metadata import PictureMetadata
from limnd2_xr.compat.limnd2.pixels import clipped
from limnd2_xr.compat.limnd2.textinfo import ImageTextInfo
from limnd2_xr.compat.limnd2.written_masks import WrittenMasks
from limnd2_xr.container.chunk_writer import check_ordinary
from limnd2_xr.frames.pyramid import (
    LEVEL_FAMILY,
    encode_level,
    halve,
    level_chunk_name,
    level_layout,
    level_sizes,
    smaller_copies,
)
from limnd2_xr.model import raw as chunks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from limnd2_xr.compat.limnd2.file_target import FileTarget
    from limnd2_xr.compat.limnd2.stores import FileStore
    from limnd2_xr.frames.layout import PixelLayout

__all__ = ["WritingChunker"]

_NO_TIME: Final = -1.0
_NOT_HERE: Final = {
    "ImageDataSeq|": "setImage",
    LEVEL_FAMILY: "setDownsampledImage",
    "CustomDataSeq|TiledRasterBinaryData": "setBinaryRasterData",
    "CustomDataSeq|DownsampledTiledRasterBinaryData": "setDownsampledBinaryRasterData",
}
"""Methods that write what such names begin with."""


class WritingChunker(AssignedMetadata):
    """Takes frames, chunks and metadata in any order, until the file is finalized.

    Parameters
    ----------
    store
        The file to be.
    target
        Where they go.
    fill_missing
        Whether zeros are stored for frames that were not written.
    given
        See `BaseChunker`: attributes to write frames with before they are assigned,
        metadata that are stored if none are assigned, binary layers.
    """

    def __init__(
        self,
        store: FileStore,
        target: FileTarget,
        *,
        fill_missing: bool = False,
        **given: Any,
    ) -> None:
        super().__init__(store, target, **given)
        self._fill_missing = fill_missing
        self._copies: dict[int, set[str]] = {}
        self._chunks: dict[str, bytes] = {}
        text = self._given("with_image_text_info", ImageTextInfo)
        if text is not None:
            self._chunks[chunks.TEXT_INFO[0]] = text.to_lv()
        self.masks = WrittenMasks(self.given.get("with_binary_raster_metadata") or ())

    def setImage(
        self, seqindex: int, image: ArrayLike, *, acqtime: float | None = _NO_TIME
    ) -> None:
        """Write a frame; one that is there is replaced.

        Parameters
        ----------
        seqindex
            Number of the frame, from 0 on.
        image
            Of shape (rows, columns, components); without the last if there is one. RGB
            as blue, green, red.
        acqtime
            ms since the start of the acquisition; -1 or None if it is not known.

        Raises
        ------
        RuntimeError
            If there are no attributes yet.
        IndexError
            If the file shall have no such frame.
        ValueError
            If the image has another shape, or a value cannot be stored as it is.
        """
        number = self._number(seqindex)
        samples = stored_image(image, self.imageAttributes, number=number)
        self._drop_copies(number)
        self._target.put(number, samples, _time(acqtime))

    def setImageTile(
        self,
        seqindex: int,
        x: int,
        y: int,
        tile: ArrayLike,
        *,
        acqtime: float | None = None,
    ) -> None:
        """Write a part of a frame, of which the rest is 0 until it is written.

        The frame is one that was written from its first part on: parts that never come
        stay 0, and nobody is told.

        Parameters
        ----------
        seqindex
            Number of the frame, from 0 on.
        x, y
            Column and row of the part's first pixel.
        tile
            As for `setImage`.
        acqtime
            Time of the frame; None leaves it as it is.

        Raises
        ------
        ValueError
            As for `setImage`; if frames are compressed, or the part is not within one.
        """
        number = self._number(seqindex)
        left, top = operator.index(x), operator.index(y)
        samples = unmasked(tile)
        if samples.ndim not in {2, 3}:
            raise ValueError(
                f"a tile of shape {samples.shape} instead of rows, columns, components"
            )
        shape = samples.shape[:2]
        given = stored_image(samples, self.imageAttributes, shape, number=number)
        self._drop_copies(number)
        self._target.put_tile(number, top, left, given, _time(acqtime))

    def setDownsampledImage(
        self, seqindex: int, image: ArrayLike, *, downsample_level: int
    ) -> None:
        """Write a smaller copy of a frame.

        Parameters
        ----------
        seqindex
            Number of the frame.
        image
            As for `setImage`, of half the size or less.
        downsample_level
            How often width and height are halved.

        Raises
        ------
        ValueError
            If the copy does not fit the level.
        """
        number = self._number(seqindex)
        layout = level_layout(self._layout(), operator.index(downsample_level))
        shape = layout.height, layout.width
        samples = stored_image(image, self.imageAttributes, shape, number=number)
        self._put_copy(number, operator.index(downsample_level), samples)

    def generateAndSetDownsampledImages(
        self, seqindex: int, image: ArrayLike | None = None
    ) -> None:
        """Write the smaller copies of a frame that the vendor's software has.

        Parameters
        ----------
        seqindex
            Number of the frame.
        image
            The frame; the one that was written if it is not given.
        """
        number = self._number(seqindex)
        if image is None:
            samples = self._target.frame(number)
        else:
            samples = stored_image(image, self.imageAttributes, number=number)
        for level, copy in smaller_copies(samples, self._layout()):
            self._put_copy(number, level.level, copy)

    def _put_copy(self, number: int, level: int, samples: NDArray[Any]) -> None:
        small = level_layout(self._layout(), level)
        name = level_chunk_name(level_sizes(self._layout(), level)[0], number)
        self._copies.setdefault(number, set()).add(name)
        self._target.put_chunk(name, encode_level(samples, small))

    def _drop_copies(self, number: int) -> None:
        """Forget smaller copies of what a frame was before."""
        for name in self._copies.pop(number, ()):
            self._target.stream.drop_chunk(name)

    def setBinaryRasterData(self, binid: int, seqindex: int, labels: ArrayLike) -> None:
        """Write the mask of a frame, of a layer in ``with_binary_raster_metadata``.

        Parameters
        ----------
        binid
            Number of the layer.
        seqindex
            Number of the frame.
        labels
            Of shape (rows, columns): number of the object of each pixel, 0 for none.

        Raises
        ------
        BinaryIdNotFountError
            If there is no such layer.
        ValueError
            If the labels do not fit it.
        """
        self._put_all(self.masks.tiles(binid, self._number(seqindex), labels))

    def setDownsampledBinaryRasterData(
        self, binid: int, seqindex: int, labels: ArrayLike, *, downsample_level: int
    ) -> None:
        """Write a smaller copy of a mask.

        Parameters
        ----------
        binid, seqindex, labels
            As for `setBinaryRasterData`.
        downsample_level
            How often width and height are halved.
        """
        number, level = self._number(seqindex), operator.index(downsample_level)
        self._put_all(self.masks.tiles(binid, number, labels, level))

    def _put_all(self, payloads: Iterable[tuple[str, bytes]]) -> None:
        for name, payload in payloads:
            self._target.put_chunk(name, payload)

    def setChunk(self, name: bytes | str, data: bytes | memoryview) -> None:
        """Store a chunk under its name.

        Attributes, loops and picture metadata are assigned that way, too.

        Parameters
        ----------
        name
            With its closing ``!``.
        data
            Payload.

        Raises
        ------
        UnexpectedCallError
            If it is one of an image or a mask.
        ValueError
            If it is no name of a chunk: without ``!`` at the end limnd2 writes a file
            whose map cannot be read.
        """
        self._check_open()
        text = name.decode("latin-1") if isinstance(name, bytes) else name
        for prefix, method in _NOT_HERE.items():
            if text.startswith(prefix):
                raise UnexpectedCallError(f"setChunk, but for {method}", text)
        check_ordinary(text)
        payload = bytes(data)
        if text == chunks.ATTRIBUTES[0]:
            self.imageAttributes = ImageAttributes.from_lv(payload)
        elif text == chunks.EXPERIMENT[0]:
            self.experiment = ExperimentLevel.from_lv(payload)
        elif text == chunks.PICTURE[0]:
            self.pictureMetadata = PictureMetadata.from_lv(payload)
        else:
            self._chunks[text] = payload
            self._target.note_change()

    def chunk(self, name: bytes | str) -> bytes | None:
        """Return the payload of a chunk that was stored; None if there is none.

        Parameters
        ----------
        name
            With or without its closing ``!``.
        """
        text = name.decode("latin-1") if isinstance(name, bytes) else name
        text = text if text.endswith("!") else f"{text}!"
        assigned = {
            chunks.ATTRIBUTES[0]: self._attributes,
            chunks.EXPERIMENT[0]: self._experiment,
            chunks.PICTURE[0]: self._picture,
        }.get(text)
        if assigned is not None:
            return assigned.to_lv()
        return self._chunks.get(text) or self._target.chunk(text)

    def image(
        self,
        seqindex: int,
        *,
        rect: tuple[int, int, int, int] | None = None,
        downsample_level: int = 0,
    ) -> NDArray[Any]:
        """Return a frame that was written.

        Parameters
        ----------
        seqindex
            Number of the frame.
        rect
            Left, top, width and height of a part.
        downsample_level
            How often width and height are halved.

        Raises
        ------
        IndexError
            If it was not written.
        """
        number = self._number(seqindex)
        try:
            samples = self._target.frame(number)
        except KeyError:
            raise IndexError(f"frame {number} was not written") from None
        for _ in range(operator.index(downsample_level)):
            samples = halve(samples)
        stored = samples.transpose(1, 2, 0)
        part = clipped(rect, *stored.shape[:2])
        return np.ascontiguousarray(stored[part])

    def finalize(self) -> None:
        """Complete the file, which gets its name now; nothing the second time.

        Raises
        ------
        RuntimeError
            If there are no attributes.
        ValueError
            If frames are missing, or metadata contradict each other.
        """
        if self._target.closed:
            if self._target.is_rolled_back:
                raise ValueError(f"{self._target.name}: the file was rolled back")
            return
        attributes = self._attributes
        if attributes is not None and not attributes.uiSequenceCount:
            attributes = replace(attributes, uiSequenceCount=self._target.frame_count)
        extra = dict(self._chunks)
        extra.update(self.masks.descriptions())
        self._target.complete(
            attributes,
            self._experiment,
            self._picture,
            extra,
            fill_missing=self._fill_missing,
        )

    def rollback(self) -> None:
        """Forget all that was written: there is no new file, an old one is as it was."""
        self._target.rollback()

    @property
    def is_rolled_back(self) -> bool:
        """Whether `rollback` was called."""
        return self._target.is_rolled_back

    def _layout(self) -> PixelLayout:
        return stored_layout(self.imageAttributes)

    def _number(self, seqindex: int) -> int:
        """Return the number of a frame that the file may have."""
        self._check_open()
        number = operator.index(seqindex)
        count = self.imageAttributes.uiSequenceCount
        if number < 0 or (count and number >= count):
            have = f"the file has {count} frames" if count else "frames count from 0"
            raise IndexError(f"there is no frame {number}: {have}")
        return number


def _time(acqtime: float | None) -> float:
    """Return a time, NaN where it is not known."""
    return float(acqtime) if acqtime is not None and acqtime >= 0 else np.nan
