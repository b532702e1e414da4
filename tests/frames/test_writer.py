"""Files of frames: complete, in any order, by any number of writers; or none at all."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container.chunk_format import FILE_MAGIC
from limnd2_xr.container.chunk_writer import encode_map
from limnd2_xr.container.scan import scan_chunks, walk_chunks
from limnd2_xr.container.sink import PartialFile
from limnd2_xr.container.source import FileSource, MemorySource
from limnd2_xr.errors import CorruptChunk, NotAnNd2File, StaleFile
from limnd2_xr.frames import frame_target, writer
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.packing import row_nbytes
from limnd2_xr.frames.partial_frames import frame_head, frame_stride
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.frames.writer import FrameTarget, FrameWriter
from limnd2_xr.testing.metadata_trees import (
    attributes_chunk,
    leading_chunks,
    trailing_chunks,
)
from limnd2_xr.testing.synthetic import ChannelSpec, SyntheticSpec, TimeLoop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

SPEC = SyntheticSpec(
    loops=(TimeLoop(6),),
    channels=(ChannelSpec("A"), ChannelSpec("B")),
    width=33,
    height=21,
)
ZLIB = replace(SPEC, compression="zlib", compression_level=3)
BOTH = pytest.mark.parametrize("spec", [SPEC, ZLIB], ids=["plain", "zlib"])


def settings(spec: SyntheticSpec) -> dict[str, Any]:
    """What `FrameWriter.create` needs for a file like `spec`."""
    samples = 3 if spec.channels[0].components == 3 else 1
    channels = len(spec.channels)
    dtype = spec.stored_dtype
    layout = PixelLayout(
        height=spec.height,
        width=spec.width,
        channels=channels,
        samples=samples,
        dtype=dtype,
        row_nbytes=row_nbytes(spec.width, channels * samples, dtype),
        compression=spec.compression or "none",  # type: ignore[arg-type]
    )
    chunks = dict([attributes_chunk(spec)])
    chunks |= leading_chunks(spec) | trailing_chunks(spec)
    times = np.frombuffer(chunks["CustomData|AcqTimesCache!"], "<f8")
    return {
        "layout": layout,
        "n_frames": spec.n_frames,
        "chunks": chunks,
        "significant_bits": spec.n_significant_bits,
        "times_ms": times,
    }


def frames_of(spec: SyntheticSpec, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    layout = settings(spec)["layout"]
    top = 2 ** min(spec.n_significant_bits, 16)
    shape = (spec.n_frames, *layout.frame_shape)
    return rng.integers(0, top, shape).astype(layout.dtype)


def read(path: Path) -> NDArray[Any]:
    with FrameStore.open(path) as store:
        pixels = store.read((slice(None),) * len(store.dims))
        return pixels.reshape(-1, *store.state.table.layout.frame_shape)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "a.nd2"
    yield path
    # Nothing is left behind, whatever happened.
    assert {p.name for p in tmp_path.iterdir()} <= {"a.nd2"}


@given(
    st.sampled_from(["uint8", "uint16", "float32"]),
    st.sampled_from([1, 2, 3, 4, 5, "rgb", "two rgb"]),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(1, 7),
    st.sampled_from([None, 1, 2, 3, 6]),
    st.data(),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: str,
    kind: int | str,
    width: int,
    height: int,
    count: int,
    level: int | None,
    data: st.DataObject,
) -> None:
    rgb = {"rgb": 1, "two rgb": 2}.get(str(kind), 0)
    channels = [
        ChannelSpec(f"C{i}", components=3 if rgb else 1)
        for i in range(rgb or int(kind))
    ]
    spec = SyntheticSpec(
        loops=(TimeLoop(count),),
        channels=tuple(channels),
        width=width,
        height=height,
        dtype=dtype,
        compression=None if level is None else "zlib",
    )
    order = data.draw(st.permutations(range(count)))
    cut = data.draw(st.integers(0, count))
    frames = frames_of(spec)
    path = tmp_path_factory.mktemp("w") / "a.nd2"
    with FrameWriter.create(path, **settings(spec), level=level) as out:
        for part in (order[:cut], order[cut:]):
            out.put(np.array(part, int), frames[part])
        assert not len(out.finalize())
    np.testing.assert_array_equal(read(path), frames)
    assert [p.name for p in path.parent.iterdir()] == ["a.nd2"]


@BOTH
def test_metadata_and_times_are_those_given(spec: SyntheticSpec, path: Path) -> None:
    given = settings(spec)
    with FrameWriter.create(path, **given) as out:
        out.put(np.arange(6), frames_of(spec))
        out.finalize()
    with FrameStore.open(path) as store:
        times = store._reader.read_times(np.arange(6))
        assert store.state.document.attributes.sequence_count == 6
    np.testing.assert_array_equal(times, given["times_ms"])
    data = path.read_bytes()
    found = scan_chunks(MemorySource(data))
    for name, payload in given["chunks"].items():
        entry = found.find(name)
        assert entry is not None
        end = -(-(entry.offset + 36 + len(name) + len(payload)) // 4096) * 4096
        assert data[end - len(payload) : end] == payload


def test_times_that_are_not_known_are_stored_as_minus_one(path: Path) -> None:
    given = settings(SPEC) | {"times_ms": [0.0, np.nan, 2.5, -3.0, np.nan, 1e9]}
    with FrameWriter.create(path, **given) as out:
        out.put([0, 1, 2], frames_of(SPEC)[:3])
        out.finalize()
        first = out.frames.frames_offset
        stride = frame_stride(out.frames.layout)
    data = path.read_bytes()
    stored = [
        struct.unpack_from("<d", data, first + i * stride + 4088) for i in range(6)
    ]
    assert stored == [(0.0,), (-1.0,), (2.5,), (-3.0,), (-1.0,), (1e9,)]


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        ZLIB,
        replace(SPEC, dtype="uint8", channels=(ChannelSpec("RGB", components=3),)),
        replace(SPEC, dtype="float32", channels=(ChannelSpec("A"),)),
    ],
    ids=["plain", "zlib", "rgb", "float"],
)
def test_nd2_reads_it(spec: SyntheticSpec, path: Path) -> None:
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put(np.arange(6), frames)
        out.finalize()
    with nd2.ND2File(path) as file:
        assert file.sizes["T"] == 6
        assert file.attributes.compressionType == ("lossless" if spec is ZLIB else None)
        pixels = file.asarray()
        metadata: Any = file.frame_metadata(3)
    if spec.channels[0].components == 3:
        pixels = pixels[:, np.newaxis, ..., ::-1]
    np.testing.assert_array_equal(pixels.reshape(frames.shape), frames)
    time = metadata.channels[0].time.relativeTimeMs
    assert time == pytest.approx(settings(spec)["times_ms"][3])


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawn) as pool:
        yield pool


@BOTH
def test_threads_and_processes_write_what_one_thread_writes(
    spec: SyntheticSpec, tmp_path: Path, processes: ProcessPoolExecutor
) -> None:
    frames, given = frames_of(spec), settings(spec)
    paths = [tmp_path / f"{how}.nd2" for how in ("serial", "threads", "processes")]
    with FrameWriter.create(paths[0], **given) as out:
        for i in range(6):
            out.put([i], frames[i : i + 1])
        out.finalize()
    with FrameWriter.create(paths[1], **given) as out, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: out.frames.put([i], frames[i : i + 1]), range(6)))
        assert not len(out.finalize())
    with FrameWriter.create(paths[2], **given) as out:
        parts: list[list[int]] = [[5, 0], [2], [4, 3], [1]]
        jobs = [processes.submit(out.frames.put, part, frames[part]) for part in parts]
        for job in jobs:
            job.result()
        assert not len(out.finalize())
    for path in paths:
        np.testing.assert_array_equal(read(path), frames)
    if spec is SPEC:
        assert len({path.read_bytes() for path in paths}) == 1


@BOTH
def test_processes_share_a_file_by_its_name(spec: SyntheticSpec, path: Path) -> None:
    frames = frames_of(spec)
    out = FrameWriter.create(path, **settings(spec), shared=True)
    made = out.frames
    out.close()
    with pytest.raises(FileExistsError, match="finalize it, or remove it"):
        FrameWriter.create(path, **settings(spec), shared=True)
    found = FrameTarget.find(path)
    for name in ("partial", "target", "layout", "n_frames", "frames_offset"):
        assert getattr(found, name) == getattr(made, name)
    assert found.significant_bits == made.significant_bits
    assert found.level == (None if spec is SPEC else 3)
    np.testing.assert_array_equal(found.times_ms, made.times_ms)
    found.put([1, 3], frames[[1, 3]])
    pickle.loads(pickle.dumps(found)).put([0, 5], frames[[0, 5]])
    again = FrameTarget.find(path)  # now that there are frames
    assert again.frames_offset == made.frames_offset
    again.put([4], frames[[4]])
    assert not path.exists()
    with FrameWriter.open(path) as last:
        last.put([2], frames[[2]])
        assert not len(last.finalize())
    np.testing.assert_array_equal(read(path), frames)
    for call in (FrameTarget.find, FrameWriter.open):
        with pytest.raises(FileNotFoundError, match="created to be shared"):
            call(path)
    with pytest.raises(FileNotFoundError, match="finalized, removed or never created"):
        found.put([1], frames[[1]])
    with pytest.raises(FileNotFoundError, match="finalized, removed or never created"):
        found.put([], frames[:0])


@BOTH
def test_who_has_the_target_of_a_file_finishes_it(
    spec: SyntheticSpec, path: Path
) -> None:
    frames = frames_of(spec)
    path.write_bytes(b"old")
    with FrameWriter.create(path, **settings(spec), overwrite=True) as out:
        out.put([0, 1], frames[:2])
        out.close()
    target = pickle.loads(pickle.dumps(out.frames))
    target.put([2, 3, 4, 5], frames[2:])
    assert path.read_bytes() == b"old"
    with FrameWriter.resume(target) as last, pytest.raises(FileExistsError):
        last.finalize()
    assert not len(FrameWriter.resume(target, overwrite=True).finalize())
    np.testing.assert_array_equal(read(path), frames)
    with pytest.raises(FileNotFoundError, match="finalized, removed or never created"):
        FrameWriter.resume(target)


@BOTH
def test_times_that_come_with_frames_are_kept(spec: SyntheticSpec, path: Path) -> None:
    frames, given = frames_of(spec), settings(spec)
    FrameWriter.create(path, **given, shared=True).close()
    target = FrameTarget.find(path)
    assert target.axes.dims == ("T",)
    assert target.axes.shape == (6,)
    target.put([0, 1], frames[:2])
    target.without_times().put([2, 4], frames[[2, 4]], [77.5, np.nan])
    assert FrameWriter.open(path).finalize().tolist() == [3, 5]
    expected = given["times_ms"].copy()
    expected[2] = 77.5
    with FrameStore.open(path) as store:
        times = store._reader.read_times(np.arange(6))
        recorded = store.state.records.times_ms
    # Frame 4 has a time in the chunk of all times only.
    np.testing.assert_array_equal(times, np.where(np.arange(6) == 4, -1, expected))
    assert recorded is not None
    np.testing.assert_array_equal(recorded, expected)


def test_what_is_left_for_later_does_not_outlive_the_process(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_exit: list[tuple[Any, ...]] = []
    monkeypatch.setattr("atexit.register", lambda *call: at_exit.append(call))
    for finished in (True, False):
        out = FrameWriter.create(path, **settings(SPEC), overwrite=True)
        out.leave()
        assert len(list(path.parent.glob(".*.partial"))) == 1
        if finished:
            FrameWriter.resume(out.frames).finalize()
        call, *arguments = at_exit.pop()
        call(*arguments)
        assert [p.name for p in path.parent.iterdir()] == ["a.nd2"]


@pytest.mark.parametrize("order", [[1, 0, 2, 3, 4, 5], [1, 5], [5, 1, 0]])
def test_a_compressed_file_does_not_begin_with_frame_one(
    order: list[int], path: Path
) -> None:
    frames = frames_of(ZLIB)
    with FrameWriter.create(path, **settings(ZLIB)) as out:
        for i in order:
            out.put([i], frames[[i]])
        missing = out.finalize()
    frames[missing] = 0
    np.testing.assert_array_equal(read(path), frames)
    with FrameStore.open(path) as store:
        assert int(store.table.numbers[store.table.chunk_offsets.argmin()]) != 1
    assert len(frame_heads(path)) == 6


def frame_heads(path: Path) -> list[str]:
    """Names of all frames that a walk over the file finds, listed in the map or not."""
    with FileSource(path) as source:
        names = [header.name for header in walk_chunks(source)]
    return [name for name in names if name.startswith("ImageDataSeq|")]


def test_a_chunk_of_times_that_does_not_fit_is_left_alone(path: Path) -> None:
    given = settings(SPEC)
    given["chunks"]["CustomData|AcqTimesCache!"] = payload = b"\x01" * 24
    with FrameWriter.create(path, **given) as out:
        out.finalize()
    assert payload in path.read_bytes()


def test_who_opens_a_shared_file_does_not_remove_it_by_accident(path: Path) -> None:
    FrameWriter.create(path, **settings(SPEC), shared=True).close()
    with pytest.raises(ZeroDivisionError), FrameWriter.open(path):
        raise ZeroDivisionError
    with FrameWriter.open(path):
        pass
    FrameWriter.open(path).rollback()
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"n_frames": 5, "times_ms": None}, "say n_frames 6, not 5"),
        ({"significant_bits": 12}, "say significant_bits 16, not 12"),
        ({"times_ms": None}, "other times"),
        ({"layout": replace(settings(SPEC)["layout"], row_nbytes=200)}, "say layout"),
        ({"chunks": {}}, "ImageAttributesLV"),
    ],
)
def test_chunks_of_a_shared_file_must_agree(
    change: dict[str, Any], match: str, path: Path
) -> None:
    with pytest.raises((ValueError, CorruptChunk), match=match):
        FrameWriter.create(path, **settings(SPEC) | change, shared=True)
    assert not list(path.parent.iterdir())


def test_a_shared_file_that_was_not_made_completely_is_told(path: Path) -> None:
    partial = path.with_name("a.nd2.partial")
    with FrameWriter.create(path, **settings(SPEC), shared=True) as out:
        data = partial.read_bytes()[: out.frames.frames_offset]
    for nbytes in (len(data) - 4096, 8192, 4096):
        partial.write_bytes(data[:nbytes])
        with pytest.raises(CorruptChunk, match="not get to the end") as caught:
            FrameTarget.find(path)
        assert "a.nd2.partial" in str(caught.value)
        with pytest.raises(CorruptChunk):
            FrameWriter.open(path)
    partial.write_bytes(data)
    with pytest.raises(CorruptChunk, match="not get to the end"):
        FrameTarget.find(path)
    for other in (b"", b"GIF89a"):
        partial.write_bytes(other)
        with pytest.raises(NotAnNd2File, match=r"a\.nd2\.partial"):
            FrameTarget.find(path)
    partial.unlink()


@BOTH
def test_frames_that_were_not_written_are_zeros_and_told(
    spec: SyntheticSpec, path: Path
) -> None:
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put([4, 1], frames[[4, 1]])
        missing = out.finalize()
    assert missing.tolist() == [0, 2, 3, 5]
    frames[missing] = 0
    np.testing.assert_array_equal(read(path), frames)
    with nd2.ND2File(path) as file:
        np.testing.assert_array_equal(file.asarray(), frames)


@BOTH
def test_what_a_killed_writer_left_is_no_frame(spec: SyntheticSpec, path: Path) -> None:
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put([0, 2], frames[[0, 2]])
        partial = PartialFile.open(out.frames.partial, target=path)
        with partial:
            # Pixels of frame 1 without the head that comes last.
            offset = (
                out.frames.frame_offset(1) if spec is SPEC else partial.reserve(9000)
            )
            partial.write_at(offset + 4096, b"\xa5" * 2000)
        out.put([3, 4, 5], frames[3:])
        assert out.finalize().tolist() == [1]
    frames[1] = 0
    np.testing.assert_array_equal(read(path), frames)


KILLED = """
import os, sys
import numpy as np
from limnd2_xr.container.sink import PartialFile
from limnd2_xr.frames import frame_target
from limnd2_xr.options import set_threads

path, left, write_at = sys.argv[1], int(sys.argv[2]), PartialFile.write_at
frame_target._SMALL_NBYTES = int(sys.argv[3])

def write(partial, offset, *buffers):
    global left
    left -= 1
    if left < 0:
        data = b"".join(bytes(memoryview(b).cast("B")) for b in buffers)
        if len(data) != 4096:  # a head is within a page, so all there or not at all
            write_at(partial, offset, data[: len(data) // 2])
        os._exit(9)
    write_at(partial, offset, *buffers)

PartialFile.write_at = write
set_threads(1)
frame_target.FrameTarget.find(path).put(np.arange(6), np.load(path + ".npy"))
"""


@pytest.mark.parametrize(
    ("spec", "small", "writes", "whole"),
    [
        (SPEC, 0, 3, 0),
        (SPEC, 0, 9, 0),
        (SPEC, 0, 15, 3),
        (SPEC, 10**6, 0, 0),
        (SPEC, 10**6, 1, 0),
        (SPEC, 10**6, 4, 3),
        (ZLIB, 0, 0, 0),
        (ZLIB, 0, 5, 2),
        (ZLIB, 0, 8, 4),
    ],
)
def test_each_frame_of_a_killed_process_is_whole_or_missing(
    spec: SyntheticSpec, small: int, writes: int, whole: int, path: Path
) -> None:
    frames = frames_of(spec)
    saved = path.with_name("a.nd2.npy")
    np.save(saved, frames)
    FrameWriter.create(path, **settings(spec), shared=True).close()
    command = [sys.executable, "-c", KILLED, str(path), str(writes), str(small)]
    assert subprocess.run(command, check=False).returncode == 9  # noqa: S603
    saved.unlink()
    with FrameWriter.open(path) as out:
        assert out.finalize().tolist() == list(range(whole, 6))
    frames[whole:] = 0
    np.testing.assert_array_equal(read(path), frames)


@BOTH
def test_of_a_frame_written_twice_the_later_counts(
    spec: SyntheticSpec, path: Path
) -> None:
    frames, others = frames_of(spec), frames_of(spec, seed=1)
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put(np.arange(6), others)
        out.put([5, 3, 0], frames[[5, 3, 0]])
        out.put([1, 2, 4], frames[[1, 2, 4]])
        assert not len(out.finalize())
    np.testing.assert_array_equal(read(path), frames)
    # Readers that walk over the file, as Bio-Formats does, meet each frame once.
    assert len(frame_heads(path)) == 6


@pytest.mark.parametrize(("small", "writes"), [(0, 3), (10**6, 2)])
def test_a_frame_has_no_head_while_it_is_written_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, small: int, writes: int
) -> None:
    monkeypatch.setattr(frame_target, "_SMALL_NBYTES", small)
    frames = frames_of(SPEC)
    with FrameWriter.create(path, **settings(SPEC)) as out:
        out.put(np.arange(6), frames)
        offset = out.frames.frame_offset(2)
        before = out._partial.read_at(offset, 16)
        assert before.startswith(FILE_MAGIC)
        write_at, heads = PartialFile.write_at, []

        def write(partial: PartialFile, at: int, *buffers: Any) -> None:
            heads.append(partial.read_at(offset, 16))
            write_at(partial, at, *buffers)

        monkeypatch.setattr(PartialFile, "write_at", write)
        out.put([2], frames[[2]])
        assert heads == [before] + [bytes(16)] * (writes - 1)
        assert out._partial.read_at(offset, 16) == before


@BOTH
def test_a_damaged_head_is_found(spec: SyntheticSpec, path: Path) -> None:
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put(np.arange(6), frames)
        chunks = scan_chunks(MemorySource(out._partial.read_at(0, out._partial.size)))
        entry = chunks.find("ImageDataSeq|3!")
        assert entry is not None
        out._partial.write_at(entry.offset + 20, b"X")
        assert out.finalize().tolist() == [3]
    frames[3] = 0
    np.testing.assert_array_equal(read(path), frames)


@BOTH
@pytest.mark.parametrize("shared", [False, True])
def test_a_value_that_cannot_be_stored_leaves_nothing(
    spec: SyntheticSpec, shared: bool, path: Path
) -> None:
    spec = replace(spec, significant_bits=12)
    frames = frames_of(spec)
    frames[4, 1, 7, 8] = 4096
    with (
        pytest.raises(ValueError, match="frame 4: 4096 at channel 1, Y 7, X 8 "),
        FrameWriter.create(path, **settings(spec), shared=shared) as out,
    ):
        out.put(np.arange(6), frames)
    assert not list(path.parent.iterdir())


@BOTH
def test_a_refused_frame_leaves_what_was_there(spec: SyntheticSpec, path: Path) -> None:
    spec = replace(spec, significant_bits=12)
    frames = frames_of(spec)
    bad = frames[[2]].copy()
    bad[0, 1, -1, -1] = 65535
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put(np.arange(6), frames)
        for put in (out.put, out.frames.put):
            with pytest.raises(ValueError, match="65535"):
                put([2], bad)
        assert not len(out.finalize())
    np.testing.assert_array_equal(read(path), frames)


@BOTH
def test_a_full_disk_leaves_nothing_and_the_old_file(
    spec: SyntheticSpec, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(b"old")

    def fail(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with FrameWriter.create(path, **settings(spec), overwrite=True) as out:
        out.put([0], frames_of(spec)[:1])
        monkeypatch.setattr(PartialFile, "write_at", fail)
        with pytest.raises(OSError, match="No space left"):
            out.put([1], frames_of(spec)[:1])
    with pytest.raises(OSError, match="No space left"):
        FrameWriter.create(path, **settings(spec), overwrite=True)
    assert path.read_bytes() == b"old"


@BOTH
def test_completing_can_be_tried_again(
    spec: SyntheticSpec, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put(np.arange(5), frames[:5])
        with monkeypatch.context() as patch:

            def cut(*args: Any) -> bytes:
                return encode_map(*args)[:4200]

            patch.setattr(writer, "encode_map", cut)
            patch.setattr(PartialFile, "commit", _no_space)
            with pytest.raises(OSError, match="No space left"):
                out.finalize()
        out.finalize()
    frames[5] = 0
    np.testing.assert_array_equal(read(path), frames)


def _no_space(self: PartialFile) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@BOTH
def test_who_writes_during_completion_is_noticed(
    spec: SyntheticSpec, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put(np.arange(6), frames_of(spec))

        def meanwhile(*args: Any) -> bytes:
            out._partial.extend_to(out._partial.size + 2**16)
            return encode_map(*args)

        monkeypatch.setattr(writer, "encode_map", meanwhile)
        with pytest.raises(StaleFile, match="another process is writing"):
            out.finalize()
    assert not path.exists()


def test_a_file_that_exists_is_refused_or_replaced(path: Path) -> None:
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        FrameWriter.create(path, **settings(SPEC))
    assert path.read_bytes() == b"old"
    with FrameWriter.create(path, **settings(SPEC), overwrite=True) as out:
        out.put(np.arange(6), frames_of(SPEC))
        assert path.read_bytes() == b"old"
        out.finalize()
    np.testing.assert_array_equal(read(path), frames_of(SPEC))


def test_what_is_not_finalized_is_removed(path: Path) -> None:
    with FrameWriter.create(path, **settings(SPEC)) as out:
        assert len(list(path.parent.iterdir())) == 1
        assert "6 frames" in repr(out)
    assert not list(path.parent.iterdir())
    out.rollback()
    with pytest.raises(ValueError, match="closed"):
        out.put([0], frames_of(SPEC)[:1])
    with pytest.raises(ValueError, match="closed"):
        out.finalize()


def test_a_finished_file_stays(path: Path) -> None:
    out = FrameWriter.create(path, **settings(SPEC))
    with pytest.raises(ZeroDivisionError), out:
        _finalize_and_fail(out)
    out.rollback()
    assert path.exists()


def _finalize_and_fail(out: FrameWriter) -> None:
    out.finalize()
    raise ZeroDivisionError


@BOTH
def test_ten_thousand_small_frames(spec: SyntheticSpec, path: Path) -> None:
    spec = replace(
        spec, loops=(TimeLoop(10_000),), width=4, height=3, channels=(ChannelSpec("A"),)
    )
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put(np.arange(9_990), frames[:9_990])
        assert out.finalize().tolist() == list(range(9_990, 10_000))
    frames[9_990:] = 0
    np.testing.assert_array_equal(read(path), frames)


def test_frames_of_any_byte_order_and_strides(path: Path) -> None:
    frames = frames_of(SPEC)
    with FrameWriter.create(path, **settings(SPEC)) as out:
        out.put([0, 1], frames[:2].astype(">u2"))
        out.put([2, 3], np.asfortranarray(frames[2:4]))
        out.put([5, 4], np.flip(frames[4:], 0))
        out.finalize()
    np.testing.assert_array_equal(read(path), frames)


@BOTH
@pytest.mark.parametrize("small", [0, 10**6])
def test_shares_of_frames_are_put_together(
    spec: SyntheticSpec, small: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_target, "_SMALL_NBYTES", small)
    monkeypatch.setattr(frame_target, "_SHARE_NBYTES", 500 if not small else 6000)
    monkeypatch.setattr(frame_target, "_GROUP_NBYTES", 6000)
    monkeypatch.setattr("limnd2_xr.frames.packing._CACHED_NBYTES", 300)
    frames = frames_of(spec)
    with FrameWriter.create(path, **settings(spec)) as out:
        out.put([4, 1, 2, 0, 3], frames[[4, 1, 2, 0, 3]])
        out.put([5], frames[5:])
        out.finalize()
    np.testing.assert_array_equal(read(path), frames)


@BOTH
def test_no_block_is_copied_as_a_whole(spec: SyntheticSpec, path: Path) -> None:
    spec = replace(spec, width=4096, height=2048, loops=(TimeLoop(4),))
    given = settings(spec)
    frames = np.zeros((4, *given["layout"].frame_shape), "<u2")
    assert frames.nbytes == 128 * 2**20
    with FrameWriter.create(path, **given) as out:
        tracemalloc.start()
        try:
            out.put(np.arange(4), frames)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 24 * 2**20  # a few MiB a thread


@pytest.mark.parametrize(
    ("sequence", "shape", "error", "match"),
    [
        ([6], (1, 2, 21, 33), ValueError, "6 to 6, but the file has 6 frames"),
        ([-1], (1, 2, 21, 33), ValueError, "-1 to -1"),
        ([1, 1], (2, 2, 21, 33), ValueError, "given twice"),
        ([1, 2], (1, 2, 21, 33), ValueError, "2 frame numbers for frames of shape"),
        ([1.0], (1, 2, 21, 33), ValueError, "must be integers"),
        (1, (2, 21, 33), ValueError, "one dimension"),
        ([1], (1, 2, 21, 34), ValueError, "the file needs"),
    ],
)
def test_frames_that_do_not_fit_are_refused(
    sequence: Any,
    shape: tuple[int, ...],
    error: type[Exception],
    match: str,
    path: Path,
) -> None:
    with FrameWriter.create(path, **settings(SPEC)) as out:
        for put in (out.put, out.frames.put):
            with pytest.raises(error, match=match):
                put(sequence, np.zeros(shape, "<u2"))
        with pytest.raises(TypeError, match="astype"):
            out.put([1], np.zeros((1, 2, 21, 33), "i4"))
        out.put([], np.zeros((0, 2, 21, 33), "<u2"))
        assert len(out.finalize()) == 6


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"n_frames": 0}, "0 frames"),
        ({"significant_bits": 17}, "1 to 16, not 17"),
        ({"significant_bits": 0}, "1 to 16, not 0"),
        ({"times_ms": [1.0]}, "must hold 6 numbers"),
        ({"times_ms": [np.inf] * 6}, "must hold 6 numbers"),
        ({"layout": {"dtype": np.dtype("i4")}}, "hold uint8, uint16 and float32"),
        ({"layout": {"dtype": np.dtype(">u2")}}, "little-endian"),
        ({"layout": {"compression": "unsupported"}}, "zlib streams only"),
        ({"layout": {"compression": "zlib"}, "level": 0}, "level must be"),
        ({"layout": {"samples": 2}}, "cannot be written"),
        ({"layout": {"row_nbytes": 128}}, "too short"),
        ({"chunks": {"ImageDataSeq|0!": b""}}, "not an ordinary chunk"),
        ({"version": (10_000, 0)}, "no format version"),
    ],
)
def test_settings_that_make_no_file_are_refused(
    change: dict[str, Any], error: str, path: Path
) -> None:
    given = settings(SPEC)
    if "layout" in change:
        change = change | {"layout": replace(given["layout"], **change["layout"])}
    with pytest.raises((ValueError, TypeError), match=error):
        FrameWriter.create(path, **given | change)
    assert not list(path.parent.iterdir())


def test_heads_are_those_of_the_format() -> None:
    head = frame_head(12, 100, 2.5)
    assert struct.unpack_from("<4sIQ", head) == (FILE_MAGIC, 4072, 108)
    assert head[16:4088] == b"ImageDataSeq|12!".ljust(4072, b"\0")
    assert struct.unpack_from("<d", head, 4088) == (2.5,)
