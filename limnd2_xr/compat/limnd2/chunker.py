"""`FileChunker`: chunks, images and masks of an open file, as limnd2 names them."""

from __future__ import annotations

import operator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, TypeVar

import numpy as np

from limnd2_xr.arrays.labels import layers_of
from limnd2_xr.compat.limnd2.attributes import ImageAttributes
from limnd2_xr.compat.limnd2.base import (
    BaseChunker,
    BinaryIdNotFountError,
    NotNd2Format,
    UnexpectedCallError,
    UnsupportedChunkmapError,
)
from limnd2_xr.compat.limnd2.binary import BinaryRasterMetadata, BinaryRleMetadata
from limnd2_xr.compat.limnd2.experiment import ExperimentLevel
from limnd2_xr.compat.limnd2.mask_objects import objects_of
from limnd2_xr.compat.limnd2.metadata import PictureMetadata
from limnd2_xr.compat.limnd2.pixels import clipped, smaller_pixels, stored_pixels
from limnd2_xr.compat.limnd2.stored_trees import stored_tree
from limnd2_xr.compat.limnd2.textinfo import ImageTextInfo
from limnd2_xr.errors import CorruptChunk, NotAnNd2File
from limnd2_xr.frames.mask_reading import read_mask
from limnd2_xr.frames.pyramid import LEVEL_FAMILY
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.model import raw as chunks
from limnd2_xr.model.flat_trees import attributes_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from limnd2_xr.compat.limnd2.pixels import Rect
    from limnd2_xr.compat.limnd2.stores import Store
    from limnd2_xr.model.binary_layer import BinaryLayer

__all__ = ["FileChunker", "clipped"]

_T = TypeVar("_T")

_IMAGES: Final = ("ImageDataSeq|", LEVEL_FAMILY)
_MASKS: Final = (
    "CustomDataSeq|RleZipBinarySequence",
    "CustomDataSeq|TiledRasterBinaryData",
    "CustomDataSeq|DownsampledTiledRasterBinaryData",
)


class FileChunker(BaseChunker):
    """Reads chunks of a file, which is opened at once.

    Parameters
    ----------
    store
        Where the bytes are.
    given
        See `BaseChunker`.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    NotNd2Format
        If it is something else.
    UnsupportedChunkmapError
        If it is damaged beyond what can be mended.
    """

    def __init__(self, store: Store, **given: Any) -> None:
        super().__init__(**given)
        self._where = store
        spec = store.spec
        try:
            self._frames: FrameStore | None = FrameStore.open(spec)
        except NotAnNd2File as error:
            raise NotNd2Format(f"Not a valid ND2 file format: {error}") from error
        except CorruptChunk as error:
            raise UnsupportedChunkmapError("unknown", str(error)) from error
        self.state = self._frames.state

    @property
    def store(self) -> Store:
        """Where the bytes are."""
        return self._where

    @property
    def frames(self) -> FrameStore:
        """The open file.

        Raises
        ------
        ValueError
            If it has been closed.
        """
        if self._frames is None:
            raise ValueError(f"{self.state.spec.name}: the file has been finalized")
        return self._frames

    @property
    def closed(self) -> bool:
        """Whether `finalize` was called."""
        return self._frames is None

    def finalize(self) -> None:
        """Close the file; arrays and metadata that were read stay."""
        frames, self._frames = self._frames, None
        if frames is not None:
            frames.close()

    @cached_property
    def format_version(self) -> tuple[int, int]:
        """Version of the format."""
        major, minor = map(int, self.state.document.format_version.split("."))
        return major, minor

    @cached_property
    def frame_count(self) -> int:
        """How many frames there are."""
        return self.state.table.n_frames

    @property
    def chunk_names(self) -> list[bytes]:
        """Names of all chunks that are no frames."""
        return sorted(name.encode() for name, _ in self.state.chunks.items())

    @cached_property
    def imageAttributes(self) -> ImageAttributes:
        """Size, type and number of the frames."""
        found = self._given("with_image_attributes", ImageAttributes)
        if found is not None:
            return found
        try:
            tree = stored_tree(self.frames, chunks.ATTRIBUTES)
        except CorruptChunk:  # which opening told
            tree = None
        if tree is None:  # found out from the frames
            tree = attributes_tree(self.state.document.attributes)
        return ImageAttributes.from_var(tree)

    @cached_property
    def experiment(self) -> ExperimentLevel | None:
        """The outermost loop; None without one."""
        found = self._given("with_experiment", ExperimentLevel)
        tree = stored_tree(self.frames, chunks.EXPERIMENT) if found is None else None
        if tree is not None and len(tree):
            found = ExperimentLevel.from_var(tree)
        return found if found is not None and found.eType else None

    @cached_property
    def pictureMetadata(self) -> PictureMetadata:
        """Channels, calibration and settings; made up of nothing if there are none."""
        found = self._given("with_picture_metadata", PictureMetadata)
        if found is None:
            tree = stored_tree(self.frames, chunks.PICTURE)
            found = (
                PictureMetadata() if tree is None else PictureMetadata.from_var(tree)
            )
        is_rgb = self.state.table.layout.samples > 1
        return found.makeValid(self.imageAttributes.componentCount, is_rgb=is_rgb)

    @cached_property
    def imageTextInfo(self) -> ImageTextInfo | None:
        """Texts; None if the file has none."""
        found = self._given("with_image_text_info", ImageTextInfo)
        tree = stored_tree(self.frames, chunks.TEXT_INFO) if found is None else None
        return found if tree is None else ImageTextInfo.from_var(tree)

    @cached_property
    def layers(self) -> dict[int, BinaryLayer]:
        """Binary layers by their ids."""
        return {layer.id: layer for layer in layers_of(self.frames)}

    @cached_property
    def binaryRleMetadata(self) -> BinaryRleMetadata:
        """Layers that are stored as runs of pixels."""
        found = self._given("with_binary_rle_metadata", BinaryRleMetadata)
        return BinaryRleMetadata.of(self.layers.values()) if found is None else found

    @cached_property
    def binaryRasterMetadata(self) -> BinaryRasterMetadata:
        """Layers that are stored as tiles, and the others as if they were."""
        found = self._given("with_binary_raster_metadata", BinaryRasterMetadata)
        if found is not None:
            return found
        layout = self.state.table.layout
        return BinaryRasterMetadata.of(
            self.layers.values(), layout.width, layout.height
        )

    def _given(self, name: str, kind: type[_T]) -> _T | None:
        found = self.given.get(name)
        if found is not None and not isinstance(found, kind):
            raise TypeError(f"{name} is a {kind.__name__}, not {type(found).__name__}")
        return found

    def chunk(self, name: bytes | str) -> bytes | None:
        """Return the payload of a chunk.

        Parameters
        ----------
        name
            With or without its closing ``!``.

        Returns
        -------
        bytes or None
            None if the file has no such chunk.

        Raises
        ------
        UnexpectedCallError
            If it is one of an image or a mask: `image` and `binaryRasterData` give those.
        """
        text = name.decode() if isinstance(name, bytes) else name
        if text.startswith((*_IMAGES, *_MASKS)):
            raise UnexpectedCallError("chunk", text)
        full = text if text.endswith("!") else f"{text}!"
        if full not in self.state.chunks:
            return None
        return self.frames.read_chunk(full)

    def decoded(self, name: str, decode: Callable[[bytes], _T]) -> _T | None:
        """Return what a chunk holds; None if the file has no such chunk.

        Parameters
        ----------
        name
            With its closing ``!``.
        decode
            From its payload.

        Raises
        ------
        CorruptChunk
            If it does not decode, naming file and chunk.
        """
        payload = self.chunk(name)
        if payload is None:
            return None
        try:
            return decode(payload)
        except CorruptChunk as error:
            raise error.located(path=self.state.spec.name, chunk=name) from error

    def image(
        self,
        seqindex: SupportsIndex,
        *,
        rect: Rect | None = None,
        downsample_level: int = 0,
    ) -> NDArray[Any]:
        """Return a frame as it is stored, RGB as blue, green, red.

        Parameters
        ----------
        seqindex
            Number of the frame.
        rect
            Left, top, width and height of a part, in pixels of what is returned; cut at
            the border of the image. Nothing but its rows is read.
        downsample_level
            How often width and height are halved: from the copies in the file, else
            each pixel is the mean of 2 x 2.

        Returns
        -------
        ndarray
            Of shape (rows, columns, components); an array of its own, which outlives the
            file. Zeros if the file lacks the frame.

        Raises
        ------
        IndexError
            If there is no such frame.
        ValueError
            If nothing is left of the image, or nothing of it is in the rectangle.
        """
        number = self.frame_number(seqindex)
        level = operator.index(downsample_level)
        layout = self.state.table.layout
        if level < 0 or not (layout.height >> level and layout.width >> level):
            raise ValueError(
                f"nothing is left of {layout.height} x {layout.width} pixels at level "
                f"{downsample_level}"
            )
        part = clipped(rect, layout.height >> level, layout.width >> level)
        if level:
            return np.ascontiguousarray(
                smaller_pixels(self.frames, number, level)[part]
            )
        return stored_pixels(self.frames, number, *part)

    def binaryRasterData(
        self,
        binid: SupportsIndex,
        seqindex: SupportsIndex,
        *,
        rect: Rect | None = None,
        downsample_level: int = 0,
    ) -> NDArray[np.uint32]:
        """Return the mask of a frame.

        Parameters
        ----------
        binid
            Number of the layer.
        seqindex
            Number of the frame.
        rect
            As for `image`.
        downsample_level
            How often width and height are halved; each pixel is the upper left one of
            2 x 2, so that no ids are made up.

        Returns
        -------
        ndarray of uint32
            Of shape (rows, columns): ids of objects, zeros if the frame has no mask.

        Raises
        ------
        BinaryIdNotFountError
            If there is no such layer.
        IndexError
            If there is no such frame.
        """
        labels = self._labels(binid, self.frame_number(seqindex))
        level = operator.index(downsample_level)
        if level < 0 or not all(side >> level for side in labels.shape):
            raise ValueError(f"nothing is left of the mask at level {level}")
        step = 1 << level
        height, width = (side >> level for side in labels.shape)
        smaller = labels[: height * step : step, : width * step : step]
        return np.ascontiguousarray(smaller[clipped(rect, height, width)])

    def binaryRleData(
        self, binid: SupportsIndex, seqindex: SupportsIndex
    ) -> tuple[NDArray[np.uint32], dict[int, dict[str, Any]]]:
        """Return the mask of a frame, and its objects.

        Parameters
        ----------
        binid
            Number of the layer.
        seqindex
            Number of the frame.

        Returns
        -------
        labels : ndarray of uint32
            Of shape (rows, columns).
        objects : dict
            By id: ``bb``, the box (left, top, right, bottom) with both ends in it;
            ``pixels``, how many they are; ``seed``, the first of them (x, y); and
            ``center`` (x, y).
        """
        labels = self._labels(binid, self.frame_number(seqindex))
        return labels, objects_of(labels)

    def _labels(self, binid: SupportsIndex, number: int) -> NDArray[np.uint32]:
        layer = self.layers.get(operator.index(binid))
        if layer is None:
            raise BinaryIdNotFountError(operator.index(binid))
        mask = read_mask(self.frames, layer, number)
        if mask is not None:
            return mask
        layout = self.state.table.layout
        return np.zeros((layout.height, layout.width), np.uint32)

    def frame_number(self, seqindex: SupportsIndex) -> int:
        """Return the number of a frame that exists.

        Raises
        ------
        IndexError
            If there is no such frame.
        TypeError
            If it is no whole number.
        """
        number = operator.index(seqindex)
        if not 0 <= number < self.frame_count:
            raise IndexError(
                f"{self.state.spec.name}: there is no frame {number}, the file has "
                f"{self.frame_count}"
            )
        return number
