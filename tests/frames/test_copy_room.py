"""Smaller copies in files that are being written: always those of the frames."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from limnd2_xr.container.scan import scan_chunks
from limnd2_xr.container.sink import PartialFile
from limnd2_xr.container.source import FileSource
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames import frame_target
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.packing import row_nbytes
from limnd2_xr.frames.partial_frames import COPIES_FOLLOW
from limnd2_xr.frames.pyramid import decode_level, halve, level_chunk_name, level_layout
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.frames.writer import FrameTarget, FrameWriter
from limnd2_xr.model.raw import ATTRIBUTES
from limnd2_xr.options import set_threads
from limnd2_xr.testing.metadata_trees import attributes_chunk, leading_chunks
from limnd2_xr.testing.synthetic import ChannelSpec, SyntheticSpec, TimeLoop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

N_FRAMES = 12
SPEC = SyntheticSpec(
    loops=(TimeLoop(N_FRAMES),),
    channels=(ChannelSpec("A"), ChannelSpec("B")),
    width=5,
    height=2052,
)
"""Levels 1 and 2 are 1026 x 2 and 513 x 1 pixels."""
ZLIB = replace(SPEC, compression="zlib", compression_level=1)
BOTH = pytest.mark.parametrize("spec", [SPEC, ZLIB], ids=["plain", "zlib"])


def settings(spec: SyntheticSpec) -> dict[str, Any]:
    samples = 3 if spec.channels[0].components == 3 else 1
    channels = len(spec.channels)
    layout = PixelLayout(
        height=spec.height,
        width=spec.width,
        channels=channels,
        samples=samples,
        dtype=spec.stored_dtype,
        row_nbytes=row_nbytes(spec.width, channels * samples, spec.stored_dtype),
        compression=spec.compression or "none",  # type: ignore[arg-type]
    )
    return {
        "layout": layout,
        "n_frames": spec.n_frames,
        "chunks": dict([attributes_chunk(spec)]) | leading_chunks(spec),
        "significant_bits": spec.n_significant_bits,
        "pyramid": True,
    }


def frames_of(spec: SyntheticSpec, seed: int = 0) -> NDArray[Any]:
    layout = settings(spec)["layout"]
    shape = (spec.n_frames, *layout.frame_shape)
    rng = np.random.default_rng(seed)
    return rng.integers(0, 250, shape).astype(layout.dtype)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "a.nd2"
    yield path
    assert {p.name for p in tmp_path.iterdir()} <= {"a.nd2"}


def check(path: Path) -> NDArray[Any]:
    """Compare all copies in a file with its frames; return these."""
    with FrameStore.open(path) as store:
        pixels = store.read((slice(None),) * len(store.dims))
        layout = store.table.layout
        frames = pixels.reshape(-1, *layout.frame_shape)
        expected = frames
        for level, size in ((1, 2048), (2, 1024)):
            expected = halve(expected, rgb=layout.samples > 1)
            small = level_layout(layout, level)
            names = [level_chunk_name(size, n) for n in range(len(frames))]
            stored = store.read_chunks(names)
            for name, copy in zip(names, expected, strict=True):
                np.testing.assert_array_equal(decode_level(stored[name], small), copy)
            # Rows are padded with zeros.
            assert len(stored[names[0]]) == small.frame_nbytes
    with FileSource(path) as source:
        found = scan_chunks(source)  # as readers see the file that know no map
        for size in (2048, 1024):
            for number in range(len(frames)):
                name = level_chunk_name(size, number)
                assert found.find(name) == store.state.chunks.find(name)
    return frames


@BOTH
@pytest.mark.parametrize("small", [0, 10**6])
def test_copies_are_written_with_their_frames(
    spec: SyntheticSpec, small: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_target, "_SMALL_NBYTES", small)
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put([3, 0, 11], frames[[3, 0, 11]])
        out.put(
            [n for n in range(N_FRAMES) if n not in {3, 0, 11}],
            frames[[1, 2, *range(4, 11)]],
        )
        assert not len(out.finalize())
    np.testing.assert_array_equal(check(path), frames)


@pytest.mark.parametrize("dtype", ["u1", ">u2", "f4"])
@pytest.mark.parametrize("components", [1, 3])
def test_copies_of_any_pixels(dtype: str, components: int, path: Path) -> None:
    spec = replace(
        SPEC,
        dtype=np.dtype(dtype).name,
        loops=(TimeLoop(2),),
        channels=(ChannelSpec("A", components=components),),
    )
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec)) as out:
        # Any byte order, and any order in memory.
        out.put([0, 1], np.asfortranarray(frames.astype(dtype)))
        out.finalize()
    np.testing.assert_array_equal(check(path), frames)


@BOTH
def test_frames_never_written_have_copies_of_zeros(
    spec: SyntheticSpec, path: Path
) -> None:
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put([1, 10], frames[[1, 10]])
        assert out.finalize().tolist() == [0, 2, 3, 4, 5, 6, 7, 8, 9, 11]
    found = check(path)
    np.testing.assert_array_equal(found[[1, 10]], frames[[1, 10]])
    assert not found[[0, 2, 11]].any()


@BOTH
def test_a_frame_written_again_has_copies_of_the_new_one(
    spec: SyntheticSpec, path: Path
) -> None:
    first, second = frames_of(spec), frames_of(spec, seed=1)
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put(np.arange(N_FRAMES), first)
        out.put([5, 2], second[[5, 2]])
        out.finalize()
    first[[5, 2]] = second[[5, 2]]
    np.testing.assert_array_equal(check(path), first)


@BOTH
def test_other_writers_find_where_copies_go(spec: SyntheticSpec, path: Path) -> None:
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec), shared=True) as out:
        target = FrameTarget.find(path)
        assert target.copies == out.frames.copies is not None
        assert target.frames_offset == out.frames.frames_offset
        small = pickle.dumps(target.without_times())
        assert len(small) < 4000
        with ThreadPoolExecutor(4) as pool:
            pieces = np.array_split(np.random.default_rng(0).permutation(N_FRAMES), 5)
            again = pickle.loads(small)
            list(pool.map(lambda some: again.put(some, frames[some]), pieces))
        assert FrameTarget.find(path).copies == target.copies
        with FrameWriter.open(path) as other:
            other.finalize()
        out.close()
    np.testing.assert_array_equal(check(path), frames)


def test_bytes_do_not_depend_on_who_writes_when(path: Path) -> None:
    frames, files = frames_of(SPEC), []
    for order in (np.arange(N_FRAMES), np.arange(N_FRAMES)[::-1]):
        with FrameWriter.create(
            path, **settings(SPEC), shared=True, overwrite=True
        ) as out:
            for some in np.array_split(order, 3):
                FrameTarget.find(path).put(some, frames[some])
            out.finalize()
        files.append(path.read_bytes())
    assert files[0] == files[1]


class _Killed(Exception):
    pass


class _Dying:
    """Writes so many times, then half of a write, then nothing any more."""

    def __init__(self, writes: int) -> None:
        self.writes = writes

    @property
    def write_at(self) -> Any:
        whole = PartialFile.write_at

        def write(partial: PartialFile, at: int, *buffers: Any) -> None:
            self.writes -= 1
            if self.writes >= 0:
                whole(partial, at, *buffers)
                return
            data = b"".join(bytes(memoryview(b).cast("B")) for b in buffers)
            if len(data) > 4096:  # less is within a page: all there or nothing
                whole(partial, at, data[: len(data) // 2])
            raise _Killed

        return write


@BOTH
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_copies_are_of_the_frame_whenever_a_writer_ends(
    spec: SyntheticSpec, again: bool, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(spec, loops=(TimeLoop(2),))
    first, second = frames_of(spec), frames_of(spec, seed=1)
    states, moment = set(), 0
    monkeypatch.setattr(frame_target, "_SMALL_NBYTES", 0)
    while True:
        with FrameWriter.create(path, **settings(spec), overwrite=True) as out:
            if again:
                out.put([0, 1], first)
            left = _Dying(moment)
            with monkeypatch.context() as patch, suppress(_Killed):
                patch.setattr(PartialFile, "write_at", left.write_at)
                out.put([0, 1], second)
            out.finalize()
        found = check(path)
        for n in range(2):
            known = {"second": second[n], "first": first[n], "zero": 0 * first[n]}
            (what,) = (
                key for key, value in known.items() if np.array_equal(found[n], value)
            )
            states.add(what)
            assert again or what != "first"
        if left.writes >= 0:
            break
        moment += 1
    assert moment > 10
    # A compressed frame stays until the new one is whole; others are lost.
    old = {"first"} if again and spec.compression else {"zero"}
    assert states == {"second"} | old | ({"first"} if again else set())


@pytest.fixture
def one_thread() -> Iterator[None]:
    set_threads(1)
    yield
    set_threads(None)


@BOTH
@pytest.mark.usefixtures("one_thread")
def test_completing_goes_on_after_a_killed_process(
    spec: SyntheticSpec, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of frame 0 the copies are lacking, frame 1 is there, frame 2 nobody wrote."""
    spec = replace(spec, loops=(TimeLoop(3),))
    frames = frames_of(spec)
    moment = 0
    while True:
        FrameWriter.create(path, **settings(spec), shared=True, overwrite=True).close()
        with FrameWriter.open(path, overwrite=True) as out:
            out.put([0, 1], frames[:2])
            assert out.frames.copies is not None
            with out.frames.open() as partial:
                out.frames.copies.withdraw(partial, 0)
        left = _Dying(moment)
        with (
            monkeypatch.context() as patch,
            suppress(_Killed),
            FrameWriter.open(path, overwrite=True) as out,
        ):
            patch.setattr(PartialFile, "write_at", left.write_at)
            out.finalize()
        if left.writes >= 0:
            break
        with FrameWriter.open(path, overwrite=True) as out:
            out.finalize()
        found = check(path)
        np.testing.assert_array_equal(found[:2], frames[:2])
        assert not found[2].any()
        moment += 1
    check(path)
    assert moment >= 8


@BOTH
@pytest.mark.usefixtures("one_thread")
def test_copies_are_made_one_by_one(spec: SyntheticSpec, path: Path) -> None:
    spec = replace(spec, width=300, loops=(TimeLoop(8),))
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put([0], frames[:1])
        tracemalloc.start()
        out.put(np.arange(8), frames)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        out.finalize()
    assert peak < frames.nbytes * 0.6


@BOTH
def test_images_too_small_for_copies_get_none(spec: SyntheticSpec, path: Path) -> None:
    spec = replace(spec, height=1024, loops=(TimeLoop(2),))
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec), shared=True) as out:
        assert FrameTarget.find(path).copies is out.frames.copies is None
        out.put([0, 1], frames)
        out.finalize()
    with FrameStore.open(path) as store:
        assert not [name for name in store.state.chunks.families() if "Down" in name]


def test_copies_are_not_both_given_and_made(path: Path) -> None:
    options = settings(SPEC)
    options["chunks"] |= {level_chunk_name(2048, 0): b"1"}
    with pytest.raises(ValueError, match="smaller copies are given"):
        FrameWriter.create(path, **options)


@BOTH
def test_a_file_without_all_its_room_was_not_created(
    spec: SyntheticSpec, path: Path
) -> None:
    with FrameWriter.create(path, **settings(spec), shared=True) as out:
        with out.frames.open() as partial, partial._using() as fd:
            os.ftruncate(fd, out.frames.frames_offset - 4096)
        with pytest.raises(CorruptChunk, match="did not get to the end"):
            FrameTarget.find(path)


def test_what_says_that_there_are_copies_comes_before_the_attributes(
    path: Path,
) -> None:
    """Who is killed while he creates a file leaves none that seems to have no copies."""
    with FrameWriter.create(path, **settings(SPEC), shared=True) as out:
        data = out._partial.read_at(0, out.frames.frames_offset)
    attributes = min(
        data.find(name.encode()) for name in ATTRIBUTES if name.encode() in data
    )
    assert 0 < data.find(COPIES_FOLLOW.encode()) < attributes
