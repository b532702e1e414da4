"""Masks: label images stored as runs of pixels or as tiles (FORMAT 10.2, 10.3).

A mask is one frame of a binary layer: an image of whole numbers, each the id of the
object that a pixel belongs to, 0 for none. `limnd2_xr.model.layers` says which layers
there are and in which chunks their masks are.
"""

from __future__ import annotations

import math
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError

from limnd2_xr.errors import CorruptChunk, UnsupportedFeature
from limnd2_xr.frames.runs import PICTURE_HEAD as _HEAD
from limnd2_xr.frames.runs import find_runs, paint_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "assemble",
    "cut_tiles",
    "decode_rle",
    "decode_tile",
    "encode_rle",
    "encode_tile",
    "halve_labels",
]

Bytes: TypeAlias = "bytes | bytearray | memoryview"
Labels: TypeAlias = "NDArray[np.uint32]"

_OBJECT_WORDS: Final = {2: 11, 3: 9}
"""Numbers before the rows of an object, by version of the picture."""
_WRITTEN: Final = 3
_LARGEST: Final = 2**32 - 1
_MOST_PIXELS: Final = 2**30
"""Of a picture that is not compared with the size of the image."""
_PIXEL_NBYTES: Final = 4 * (11 + 2 + 2)
"""Of an object of one pixel: objects side by side cannot take more."""
_ALWAYS_ALLOWED: Final = 2**20
"""Bytes that objects over each other may take in any image."""
_MOST_INFLATED: Final = 1032
"""Bytes that one byte of a zlib stream can stand for."""
_FAST: Final = 3
"""ISA-L's level for pictures: 2 % larger than zlib's 6, in a twelfth of the time."""
_LEVEL: Final = 6
"""Zlib's level for tiles, which is the vendor's."""


def decode_rle(payload: Bytes, shape: tuple[int, int] | None = None) -> Labels:
    """Return the label image that a run-length picture paints (FORMAT 10.2).

    Versions 2 and 3. Where objects overlap, the later one is seen, as in other readers.

    Parameters
    ----------
    payload
        Of a chunk ``CustomDataSeq|<FileTag>|N!`` or ``CustomData|RoiRleGlobal_v1!``.
        Less than four bytes are a picture without objects.
    shape
        Rows and columns of the image, which the picture must be of.

    Returns
    -------
    ndarray of uint32
        Of shape (Y, X): ids of objects, which need not be consecutive.

    Raises
    ------
    CorruptChunk
        The picture is damaged, or of another shape; `offset` counts from the beginning
        of the inflated picture.
    UnsupportedFeature
        The picture is of a version whose layout is not known.
    ValueError
        The payload is empty and no shape is given.

    Examples
    --------
    >>> decode_rle(encode_rle(np.array([[0, 7, 7], [2, 0, 7]])))
    array([[0, 7, 7],
           [2, 0, 7]], dtype=uint32)
    >>> decode_rle(b"", shape=(1, 2))
    array([[0, 0]], dtype=uint32)
    """
    if len(payload) < 4:
        if shape is None:
            raise ValueError("an empty picture has no shape of its own: give one")
        return np.zeros(shape, np.uint32)
    (declared,) = struct.unpack_from("<I", payload)
    if shape is not None and declared > _ALWAYS_ALLOWED + _PIXEL_NBYTES * math.prod(
        shape
    ):
        raise CorruptChunk(
            f"a run-length picture of {declared} bytes, for {shape[0]} x {shape[1]} pixels",
            offset=0,
        )
    data = _inflate(memoryview(payload)[4:], declared)
    if len(data) < _HEAD.size:
        raise CorruptChunk(f"a run-length picture of only {len(data)} bytes", offset=0)
    version, width, height, objects, nbytes, _, _ = _HEAD.unpack_from(data)
    if version not in _OBJECT_WORDS:
        raise UnsupportedFeature(
            f"a run-length picture of version {version}; 2 and 3 are known"
        )
    if shape is None and width * height > _MOST_PIXELS:
        raise CorruptChunk(
            f"a run-length picture of {height} x {width} pixels", offset=4
        )
    if shape is not None and (height, width) != tuple(shape):
        raise CorruptChunk(
            f"a picture of {height} x {width} pixels, where the image has "
            f"{shape[0]} x {shape[1]}",
            offset=4,
        )
    if nbytes > len(data) - _HEAD.size:
        raise CorruptChunk(
            f"{nbytes} bytes of objects are promised and {len(data) - _HEAD.size} there",
            offset=16,
        )
    if nbytes % 4:
        raise CorruptChunk(f"{nbytes} bytes are no whole numbers of 4", offset=16)
    words = np.frombuffer(data, "<u4", nbytes // 4, _HEAD.size).astype(
        "=u4", copy=False
    )
    runs = find_runs(words, objects, _OBJECT_WORDS[version], height)
    if int(runs.y.max(initial=-1)) >= height or (
        int((runs.x + runs.lengths).max(initial=0)) > width
    ):
        raise CorruptChunk(
            f"a run lies outside of {height} x {width} pixels", offset=28
        )
    starts = runs.y * width + runs.x
    return paint_runs(starts, runs.lengths, runs.ids, height * width).reshape(
        height, width
    )


def _inflate(stream: memoryview, nbytes: int) -> bytes:
    """Inflate exactly so many bytes; what cannot be true is refused before."""
    if nbytes > _MOST_INFLATED * len(stream):
        raise CorruptChunk(
            f"{len(stream)} bytes of zlib cannot hold {nbytes}", offset=0
        )
    inflater = isal_zlib.decompressobj()
    try:
        data = inflater.decompress(stream, nbytes + 1)
    except IsalError as error:  # type: ignore[misc]  # isal types it as an instance
        raise CorruptChunk(f"not a sound zlib stream: {error}") from error
    if len(data) != nbytes or not inflater.eof:
        raise CorruptChunk(
            f"the zlib stream does not hold the {nbytes} bytes that are promised"
        )
    return bytes(data)


def encode_rle(labels: NDArray[Any]) -> bytes:
    """Return a label image as run-length picture of version 3 (FORMAT 10.2).

    Objects are in the order of their ids; their bounding boxes include both ends, their
    status is 0. What the offset of the last object counts from is not known for sure;
    written is the one from the beginning of the picture.

    Parameters
    ----------
    labels
        Of shape (Y, X): 0 to 4294967295 in any integer type, or truth values.

    Raises
    ------
    TypeError
        The values are no whole numbers.
    ValueError
        The shape is none of an image, a value is out of range, or the picture would be
        larger than 4 GiB.

    Examples
    --------
    >>> picture = zlib.decompress(encode_rle(np.array([[0, 5, 5], [0, 0, 5]]))[4:])
    >>> np.frombuffer(picture, "<u4").tolist()[7:16]
    [5, 1, 0, 2, 1, 68, 2, 52, 0]
    """
    image = _as_labels(labels)
    height, width = image.shape
    ids, starts, lengths = _runs_by_object(image)
    y, x = np.divmod(starts, max(width, 1))
    new_object = np.empty(len(ids), bool)
    new_object[:1] = True
    np.not_equal(ids[1:], ids[:-1], out=new_object[1:])
    new_row = new_object.copy()
    new_row[1:] |= y[1:] != y[:-1]
    object_at = np.flatnonzero(new_object)  # by number of the first run
    row_at = np.flatnonzero(new_row)
    object_row = np.searchsorted(row_at, object_at)  # by number of the first row
    rows = np.diff(object_row, append=len(row_at))

    size = _OBJECT_WORDS[_WRITTEN]
    object_word = size * np.arange(len(object_at)) + 2 * (object_row + object_at)
    row_word = size * np.cumsum(new_object)[row_at] + 2 * np.arange(len(row_at))
    row_word += 2 * row_at
    run_word = size * np.cumsum(new_object) + 2 * np.cumsum(new_row)
    run_word += 2 * np.arange(len(ids))
    n_words = size * len(object_at) + 2 * (len(row_at) + len(ids))
    if 4 * n_words + _HEAD.size > _LARGEST:
        raise ValueError(
            f"{len(ids)} runs of pixels make a picture of more than 4 GiB, which the "
            "format cannot hold"
        )
    words = np.zeros(n_words, "<u4")
    words[run_word] = x
    words[run_word + 1] = lengths
    words[row_word] = y[row_at]
    words[row_word + 1] = np.diff(row_at, append=len(ids))
    if len(object_at):
        last_row = object_row + rows - 1
        heads = (
            ids[object_at],
            np.minimum.reduceat(x, object_at),
            y[object_at],
            np.maximum.reduceat(x + lengths, object_at) - 1,
            y[row_at[last_row]],
            4 * np.diff(object_word, append=n_words),
            rows,
            4 * (row_word[last_row] - object_word),
        )
        for i, values in enumerate(heads):
            words[object_word + i] = values
    last = _HEAD.size + 4 * int(object_word[-1]) if len(object_at) else 0
    picture = _HEAD.pack(_WRITTEN, width, height, len(object_at), 4 * n_words, last, 0)
    picture += words.tobytes()
    return struct.pack("<I", len(picture)) + bytes(isal_zlib.compress(picture, _FAST))


def _runs_by_object(
    image: Labels,
) -> tuple[Labels, NDArray[np.intp], NDArray[np.intp]]:
    """Return id, flat place and length of runs within rows, in the order of ids."""
    changes = np.ones(image.shape, bool)
    np.not_equal(image[:, 1:], image[:, :-1], out=changes[:, 1:])
    starts = np.flatnonzero(changes)
    lengths = np.diff(starts, append=image.size)
    ids = image.reshape(-1)[starts]
    kept = np.flatnonzero(ids)
    order = kept[np.argsort(ids[kept], kind="stable")]
    return ids[order], starts[order], lengths[order]


def _as_labels(labels: NDArray[Any]) -> Labels:
    given = np.asarray(labels)
    if given.dtype.kind not in "bui":
        raise TypeError(
            f"labels are whole numbers, not {given.dtype}: convert them with "
            '.astype("uint32")'
        )
    if given.ndim != 2:
        raise ValueError(f"a mask is of shape (Y, X), not {given.shape}")
    if given.size and given.dtype.kind != "b" and given.dtype != np.uint32:
        low, high = int(given.min()), int(given.max())
        if low < 0 or high > _LARGEST:
            raise ValueError(
                f"labels are 0 to {_LARGEST}, not {low if low < 0 else high}"
            )
    return np.ascontiguousarray(given, np.uint32)


def decode_tile(payload: Bytes, tile_shape: tuple[int, int]) -> Labels:
    """Return the labels of one tile of a raster layer (FORMAT 10.3 [1S, vendor]).

    Parameters
    ----------
    payload
        Of a chunk ``CustomDataSeq|TiledRasterBinaryData_...|N!`` or its downsampled form.
    tile_shape
        Rows and columns of every tile of the layer, those at the edges included.

    Raises
    ------
    CorruptChunk
        The stream is damaged, or does not hold just such a tile.

    Examples
    --------
    >>> decode_tile(encode_tile(np.array([[1, 2]]), (2, 3)), (2, 3))
    array([[1, 2, 0],
           [0, 0, 0]], dtype=uint32)
    """
    data = _inflate(memoryview(payload), 4 * math.prod(tile_shape))
    return np.frombuffer(data, "<u4").reshape(tile_shape).astype(np.uint32, copy=False)


def encode_tile(
    labels: NDArray[Any], tile_shape: tuple[int, int], level: int = _LEVEL
) -> bytes:
    """Return one tile as stored: padded with zeros to the full size, and compressed.

    Parameters
    ----------
    labels
        Of shape (Y, X), not larger than a tile; as `encode_rle` takes them.
    tile_shape
        Rows and columns of every tile of the layer.
    level
        Of zlib, 1 (fast) to 9 (small); the vendor's is 6.

    Raises
    ------
    TypeError, ValueError
        As `encode_rle`; or the labels are more than a tile.
    """
    given = _as_labels(labels)
    height, width = given.shape
    if height > tile_shape[0] or width > tile_shape[1]:
        raise ValueError(f"labels of shape {given.shape} in a tile of {tile_shape}")
    tile = np.zeros(tile_shape, "<u4")
    tile[:height, :width] = given
    return zlib.compress(tile.data, level)


def assemble(
    tiles: Mapping[tuple[int, int], NDArray[Any]],
    shape: tuple[int, int],
    tile_shape: tuple[int, int],
) -> Labels:
    """Return the label image that tiles make up; zero where one is absent.

    Parameters
    ----------
    tiles
        By row and column in the grid of tiles.
    shape
        Rows and columns of the image.
    tile_shape
        Rows and columns of a tile; what lies beyond the image is cut off.

    Examples
    --------
    >>> assemble({(0, 1): np.full((2, 2), 9)}, (2, 3), (2, 2))
    array([[0, 0, 9],
           [0, 0, 9]], dtype=uint32)
    """
    image = np.zeros(shape, np.uint32)
    for (row, column), tile in tiles.items():
        y, x = row * tile_shape[0], column * tile_shape[1]
        part = image[y : y + tile_shape[0], x : x + tile_shape[1]]
        part[...] = tile[: part.shape[0], : part.shape[1]]
    return image


def cut_tiles(
    labels: NDArray[Any], tile_shape: tuple[int, int]
) -> dict[tuple[int, int], NDArray[Any]]:
    """Return views of the tiles of an image by row and column; smaller at the edges.

    Examples
    --------
    >>> {k: v.shape for k, v in cut_tiles(np.zeros((2, 3)), (2, 2)).items()}
    {(0, 0): (2, 2), (0, 1): (2, 1)}
    """
    rows, columns = tile_shape
    return {
        (y // rows, x // columns): labels[y : y + rows, x : x + columns]
        for y in range(0, labels.shape[0], rows)
        for x in range(0, labels.shape[1], columns)
    }


def halve_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Return a view of every second pixel of every second row: the next level.

    The first of each 2 x 2 pixels counts, and a last odd row or column goes, as the
    vendor does (FORMAT 10.3 [1S]).

    Examples
    --------
    >>> halve_labels(np.arange(15).reshape(3, 5))
    array([[0, 2]])
    """
    height, width = labels.shape
    return labels[: height // 2 * 2 : 2, : width // 2 * 2 : 2]
