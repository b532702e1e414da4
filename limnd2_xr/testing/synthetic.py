"""Synthetic .nd2 files: describe one with a `SyntheticSpec`, get bytes and the truth.

The files are built byte by byte as FORMAT says, independently of this package's reader
and of any writer, and open in the public readers too. `build` makes a file in memory,
`write` streams one of any size to disk.

Examples
--------
>>> spec = SyntheticSpec(loops=(TimeLoop(3), ZLoop(2)), channels=(ChannelSpec("DAPI"),))
>>> file = build(spec)
>>> file.dims, file.array().shape
(('T', 'Z', 'C', 'Y', 'X'), (3, 2, 1, 48, 64))
"""

from __future__ import annotations

import io
import math
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.testing import pixel_pattern
from limnd2_xr.testing.chunk_writer import FRAME_PREFIX, ChunkWriter
from limnd2_xr.testing.loop_specs import (
    CustomLoop,
    Loop,
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    SpectralLoop,
    TimeLoop,
    ZLoop,
)
from limnd2_xr.testing.metadata_trees import (
    attributes_chunk,
    frame_times,
    leading_chunks,
    trailing_chunks,
)
from limnd2_xr.testing.specs import (
    ChannelSpec,
    Column,
    MapStyle,
    SyntheticSpec,
    XmlStyle,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

__all__ = [
    "ChannelSpec",
    "Column",
    "CustomLoop",
    "Loop",
    "MapStyle",
    "NETimeLoop",
    "Period",
    "Point",
    "PositionLoop",
    "SpectralLoop",
    "SyntheticFile",
    "SyntheticSpec",
    "TimeLoop",
    "XmlStyle",
    "ZLoop",
    "build",
    "write",
]

_DIM_ORDER = "UTPZ"


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticFile:
    """A file in memory, with what a reader should find in it.

    Attributes
    ----------
    data
        The bytes of the file.
    spec
        What it was built from.
    frames
        Pixels as stored, shape (frames, height, width, components); zero where a frame
        is missing.
    chunks
        Offset of the header and size of the payload of each listed chunk, by name.
    """

    data: bytes = field(repr=False)
    spec: SyntheticSpec
    frames: NDArray[np.generic] = field(repr=False)
    chunks: dict[str, tuple[int, int]] = field(repr=False)

    @property
    def times_ms(self) -> NDArray[np.float64]:
        """Acquisition times of the frames in file order of their numbers."""
        return frame_times(self.spec)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dims of `array`: a part of U T P Z, then C Y X, S for RGB.

        U stands for custom loops. Several frames without any loop run along T.
        """
        axes = {axis for axis, _ in self._nesting}
        loops = tuple(a for a in _DIM_ORDER if a in axes)
        return (*loops, "C", "Y", "X", *("S" if self._samples == 3 else ""))

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each dim."""
        return dict(zip(self.dims, self.array().shape, strict=True))

    @property
    def _nesting(self) -> list[tuple[str, int]]:
        """Axis and length of each loop; frames without loops run along T."""
        spec = self.spec
        if not spec.loop_shape and spec.n_frames != 1:
            return [("T", spec.n_frames)]
        return [(loop.axis, loop.length) for loop in spec.loops if loop.axis]

    @property
    def _samples(self) -> int:
        """Components of each channel of the array."""
        spec = self.spec
        if spec.metadata == "none":
            # Nothing names the channels: the vendor's rule (FORMAT 14, oddity 19).
            rgb = spec.n_components == 3 and spec.stored_dtype.itemsize == 1
        else:
            rgb = all(c.components == 3 for c in spec.channels)
        return 3 if rgb else 1

    def array(self) -> NDArray[np.generic]:
        """Pixels in the order of `dims`, RGB as R, G, B.

        Loops of one kind are merged, the outer one slowest. Frames that the loops
        promise and the file does not have are zero; frames beyond are left out. Where
        RGB and mono channels are mixed, or no metadata tells channels, each component
        is a channel, in stored order; three 8-bit ones without metadata are RGB.
        """
        spec = self.spec
        samples = self._samples
        frames = self.frames
        axes = [axis for axis, _ in self._nesting]
        lengths = [length for _, length in self._nesting]
        n = math.prod(lengths)
        if len(frames) < n:
            absent = np.zeros((n - len(frames), *frames.shape[1:]), frames.dtype)
            frames = np.concatenate([frames, absent])
        order = [i for a in _DIM_ORDER for i, axis in enumerate(axes) if axis == a]
        k = len(order)
        image = frames[:n].reshape(
            *lengths,
            spec.height,
            spec.width,
            spec.n_components // samples,
            samples,
        )
        image = image.transpose(*order, k + 2, k, k + 1, k + 3)
        merged = [
            math.prod(lengths[i] for i in order if axes[i] == axis)
            for axis in dict.fromkeys(axes[i] for i in order)
        ]
        image = image.reshape(*merged, *image.shape[k:])
        return np.ascontiguousarray(image[..., ::-1] if samples == 3 else image[..., 0])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the bytes to `path` and return it."""
        target = Path(path)
        target.write_bytes(self.data)
        return target


def build(spec: SyntheticSpec) -> SyntheticFile:
    """Build a file in memory.

    Parameters
    ----------
    spec
        Description of the file.

    Raises
    ------
    ValueError
        If the description contradicts itself.

    Examples
    --------
    >>> build(SyntheticSpec(width=8, height=4)).frames.shape
    (1, 4, 8, 1)
    """
    frames = pixel_pattern.frames(spec, np.arange(spec.n_frames))
    file = io.BytesIO()
    chunks = _write(file, spec, frames)
    return SyntheticFile(file.getvalue(), spec, frames, chunks)


def write(target: str | os.PathLike[str] | BinaryIO, spec: SyntheticSpec) -> int:
    """Write a file without holding its pixels in memory; return its size in bytes.

    Parameters
    ----------
    target
        Path, or a binary file at its start.
    spec
        Description of the file.

    Raises
    ------
    ValueError
        If the description contradicts itself.

    Examples
    --------
    >>> write(io.BytesIO(), SyntheticSpec(loops=(TimeLoop(4),))) % 4096
    0
    """
    if isinstance(target, str | os.PathLike):
        path = Path(target)
        with path.open("wb") as file:
            _write(file, spec, None)
        return path.stat().st_size
    _write(target, spec, None)
    return target.tell()


def _write(
    file: BinaryIO, spec: SyntheticSpec, frames: NDArray[np.generic] | None
) -> dict[str, tuple[int, int]]:
    writer = ChunkWriter(file, version=spec.stored_version, alignment=spec.alignment)
    leading = leading_chunks(spec)
    trailing = trailing_chunks(spec)
    trailing.update([attributes_chunk(spec)])
    for name, payload in spec.extra_chunks.items():
        (leading if name in leading else trailing)[name] = payload
    for chunks in (leading, trailing):
        for name in spec.omit_chunks & chunks.keys():
            del chunks[name]
    if spec.stale_chunks:
        # What saving again leaves behind: the attributes of an unfinished file, and
        # older copies that differ (FORMAT 1.6).
        writer.put(*attributes_chunk(spec, sequence_count=0), listed=False)
        for name, payload in leading.items():
            writer.put(name, payload[: len(payload) // 2], listed=False)
    between: Iterator[tuple[str, bytes]] = iter(())
    if spec.interleave_metadata:
        foreign = {
            f"CustomData|Foreign{i}!": bytes([i % 256]) * (37 * i % 5003)
            for i in range(min(spec.n_frames, 40))
        }
        between = iter({**leading, **trailing, **foreign}.items())
    else:
        for name, payload in leading.items():
            writer.put(name, payload)
    _put_frames(writer, spec, frames, between)
    for name, payload in between:
        writer.put(name, payload)
    if not spec.interleave_metadata:
        for name, payload in trailing.items():
            writer.put(name, payload)
    writer.finish(spec.map_style)
    return writer.located()


def _put_frames(
    writer: ChunkWriter,
    spec: SyntheticSpec,
    frames: NDArray[np.generic] | None,
    between: Iterator[tuple[str, bytes]],
) -> None:
    order = np.arange(spec.n_frames)
    if spec.frame_order is not None:
        order = np.asarray(spec.frame_order, np.int64)
    if spec.missing:
        order = order[~np.isin(order, list(spec.missing))]
    times = frame_times(spec)[order]
    frame_nbytes = spec.row_nbytes * spec.height

    def rows(start: int, stop: int) -> NDArray[np.uint8]:
        indices = order[start:stop]
        chosen = (
            pixel_pattern.frames(spec, indices) if frames is None else frames[indices]
        )
        return padded_rows(chosen, spec.row_nbytes)

    names = spec.frame_name_nbytes
    if (
        spec.compression != "zlib"
        and not spec.interleave_metadata
        and not callable(names)
    ):
        writer.put_frames(
            order + spec.first_frame,
            times,
            rows,
            frame_nbytes=frame_nbytes,
            name_nbytes=names,
        )
        return
    for k, i in enumerate(order.tolist()):
        data = rows(k, k + 1).tobytes()
        if spec.compression == "zlib":
            data = zlib.compress(data, spec.compression_level)
        writer.put(
            f"{FRAME_PREFIX}{i + spec.first_frame}!",
            times[k].astype("<f8").tobytes() + data,
            first_nbytes=8,
            name_nbytes=names(i) if callable(names) else names,
        )
        for name, payload in between:
            writer.put(name, payload)
            break


def padded_rows(frames: NDArray[np.generic], row_nbytes: int) -> NDArray[np.uint8]:
    """Bytes of frames with their rows padded by zeros, shape (n, bytes of a frame)."""
    n, height = frames.shape[:2]
    packed = np.ascontiguousarray(frames).view(np.uint8).reshape(n, height, -1)
    if packed.shape[2] == row_nbytes:
        return packed.reshape(n, -1)
    out = np.zeros((n, height, row_nbytes), np.uint8)
    out[:, :, : packed.shape[2]] = packed
    return out.reshape(n, -1)
