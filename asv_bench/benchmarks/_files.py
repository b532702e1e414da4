"""The files that the benchmarks read: written on demand, the same every time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.container.source import observe_reads
from limnd2_xr.frames.masks import encode_rle
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.model.layers import RLE_LAYERS, new_rle_layer, rle_layers_tree
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    write,
)
from limnd2_xr.variants import xml

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES = Path(
    os.environ.get(
        "LIMND2_XR_DATA", Path(__file__).resolve().parents[3] / "shared" / "samples"
    )
)
WINDOW = (slice(1000, 1064), slice(500, 564))
"""Rows and columns of the small window read of each large frame."""


def make(kind: str, folder: Path, *, quick: bool) -> Path:
    """Write a file if it is not there yet; return its path.

    Parameters
    ----------
    kind
        ``stack``, ``two_channels``, ``zlib``, ``tiny``, ``many``, ``z_stacks``,
        ``long_stack``, ``long_map``, ``recorded`` or ``masks``; or ``many_files``, a folder.
    folder
        Where to write it.
    quick
        Write a smaller one.
    """
    if kind == "many_files":
        return many_files(folder, 50 if quick else 1000)
    spec = _SPECS[kind](quick=quick)
    path = folder / f"{kind}_{spec.n_frames}.nd2"
    if not path.exists():
        partial = path.with_suffix(".partial")
        write(partial, spec)
        with partial.open("rb") as file:  # so that no write-back disturbs the timing
            os.fsync(file.fileno())
        partial.replace(path)
    return path


def many_files(folder: Path, count: int) -> Path:
    """Write a folder of small files, each of another place and moment."""
    made = folder / f"many_files_{count}"
    made.mkdir(exist_ok=True)
    for i in range(count):
        path = made / f"{i:04}.nd2"
        if not path.exists():
            place = (100.0 * (i % 32), 100.0 * (i // 32), 300.0)
            spec = SyntheticSpec(
                loops=(TimeLoop(count=3),), width=64, height=64, position_um=place
            )
            write(path, spec)
    return made


def stack(*, quick: bool) -> SyntheticSpec:
    """Large frames, one channel."""
    return _large(16 if quick else 128)


def two_channels(*, quick: bool) -> SyntheticSpec:
    """Large frames, two channels interleaved."""
    return _large(8 if quick else 64, ("DAPI", "GFP"))


def zlib(*, quick: bool) -> SyntheticSpec:
    """Large compressed frames."""
    return _large(4 if quick else 32, compression="zlib", compression_level=1)


def tiny(*, quick: bool) -> SyntheticSpec:
    """Very many very small frames."""
    return SyntheticSpec(
        loops=(TimeLoop(2_000 if quick else 20_000),), width=16, height=16
    )


def many(*, quick: bool) -> SyntheticSpec:
    """A hundred thousand frames."""
    return SyntheticSpec(
        loops=(TimeLoop(10_000 if quick else 100_000),), width=16, height=16
    )


def z_stacks(*, quick: bool) -> SyntheticSpec:
    """Two gigabytes of large compressed frames, a stack at each time."""
    loops = (TimeLoop(1 if quick else 8), ZLoop(50))
    return _large(loops, compression="zlib", compression_level=1)


def long_stack(*, quick: bool) -> SyntheticSpec:
    """Four gigabytes of large frames."""
    return _large(64 if quick else 512)


def long_map(*, quick: bool) -> SyntheticSpec:
    """A million chunks with next to nothing in them."""
    return SyntheticSpec(
        loops=(TimeLoop(50_000 if quick else 1_000_000),),
        width=2,
        height=2,
        dtype="uint8",
        columns={},
        alignment=1,
        frame_name_nbytes=32,
    )


def recorded(*, quick: bool) -> SyntheticSpec:
    """Frames of which much was recorded."""
    n = 600 if quick else 2400
    frames = np.arange(n)
    return SyntheticSpec(
        loops=(TimeLoop(n // 4), ZLoop(4)),
        channels=(ChannelSpec("DAPI"), ChannelSpec("GFP")),
        width=32,
        height=32,
        times_ms=10.0 * frames,
        columns={"X": 0.5 * frames, "Y": -0.5 * frames, "PFS_STATUS": frames % 3},
    )


def masks(*, quick: bool) -> SyntheticSpec:
    """One frame with a mask of many objects."""
    from benchmarks.masks import SIZE, cells

    layer = new_rle_layer("cells")
    mask = cells(500 if quick else 5000, radius=40.0 if quick else 14.0)
    chunks = {
        RLE_LAYERS: xml.encode(rle_layers_tree([layer])),
        layer.chunk_name(0): encode_rle(mask),
    }
    return SyntheticSpec(width=SIZE, height=SIZE, extra_chunks=chunks)


def frame_spans(path: Path, rows: slice | None = None) -> list[tuple[int, int]]:
    """File offset and size of the pixels of each frame, or of some rows of each."""
    with FrameStore.open(path) as store:
        table = store.table
        offsets = (table.chunk_offsets + table.header_nbytes).tolist()
        sizes = table.nbytes.tolist()
        row_nbytes = table.layout.row_nbytes
    if rows is None:
        return list(zip(offsets, sizes, strict=True))
    nbytes = (rows.stop - rows.start) * row_nbytes
    return [(offset + rows.start * row_nbytes, nbytes) for offset in offsets]


def fingerprint(result: Any) -> list[int] | int:
    """Return a few numbers by which results of different libraries can be compared."""
    if isinstance(result, np.ndarray):
        sample = result[..., ::97, ::89] if result.ndim > 1 else result[::9973]
        return [result.size, int(sample.sum(dtype=np.int64))]
    return int(result)


def lazy_noise(count: int) -> Any:
    """Return photon noise as a dask array (T, C, Y, X) whose frames are made one by one."""
    import dask.array

    noise = PhotonNoise(1)

    def make(block_id: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.uint16]]:
        return noise(block_id[0]).transpose(2, 0, 1)[np.newaxis]

    return dask.array.map_blocks(
        make,
        chunks=((1,) * count, (1,), (2048,), (2048,)),
        dtype=np.uint16,
        meta=np.empty((0,) * 4, np.uint16),
    )


def reads_of(work: Callable[[], object]) -> int:
    """Count the reads that a piece of work does."""
    seen: list[int] = []
    stop = observe_reads(lambda _offset, nbytes: seen.append(nbytes))
    try:
        work()
    finally:
        stop()
    return len(seen)


def _large(
    loops: int | tuple[TimeLoop | ZLoop, ...],
    names: tuple[str, ...] = ("GFP",),
    **more: Any,
) -> SyntheticSpec:
    """Return a file of large frames: so many times, or of these loops."""
    noise = PhotonNoise(len(names))
    return SyntheticSpec(
        loops=(TimeLoop(loops),) if isinstance(loops, int) else loops,
        width=2048,
        height=2048,
        channels=tuple(map(ChannelSpec, names)),
        pixels=noise,
        **more,
    )


class PhotonNoise:
    """Cells on a dark ground as a camera sees them; the same frame, shifted for each.

    Called with the number of a frame it returns (Y, X, component).
    """

    def __init__(self, components: int) -> None:
        self.components = components
        rng = np.random.default_rng(20)
        y, x = np.mgrid[:2048, :2048]
        light = np.full((2048, 2048), 110.0)
        for centre_y, centre_x, size in rng.uniform(
            (0, 0, 20), (2048, 2048, 90), (40, 3)
        ):
            distance = (y - centre_y) ** 2 + (x - centre_x) ** 2
            light += 1500 * np.exp(-distance / (2 * size**2))
        planes = [rng.poisson(light / (1 + c)) for c in range(components)]
        self._frame = np.stack(planes, axis=-1).astype(np.uint16)

    def __call__(self, index: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
        return np.roll(self._frame, 13 * index, axis=0)


_SPECS: dict[str, Callable[..., SyntheticSpec]] = {
    "stack": stack,
    "two_channels": two_channels,
    "zlib": zlib,
    "tiny": tiny,
    "many": many,
    "z_stacks": z_stacks,
    "long_stack": long_stack,
    "long_map": long_map,
    "recorded": recorded,
    "masks": masks,
}
