"""`FrameStream`: frames one by one, metadata at the end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limnd2_xr.container.chunk_index import read_index
from limnd2_xr.container.source import FileSource
from limnd2_xr.frames.frame_stream import FrameStream
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.frames.verify import verify
from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.experiment import Experiment, TimeLoop
from limnd2_xr.model.raw import encode_raw
from limnd2_xr.model.records import FrameRecords

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PLAIN = PixelLayout(
    height=5, width=7, channels=2, samples=1, dtype=np.dtype("<u2"), row_nbytes=28
)
PACKED = replace(PLAIN, compression="zlib")
BOTH = pytest.mark.parametrize("layout", [PLAIN, PACKED], ids=["plain", "zlib"])


def metadata(layout: PixelLayout, count: int) -> dict[str, bytes]:
    attributes = Attributes(
        width=layout.width,
        height=layout.height,
        components=layout.components,
        bits_in_memory=16,
        bits_significant=12,
        row_nbytes=layout.row_nbytes,
        sequence_count=count,
        compression="lossless" if layout.compression == "zlib" else "none",
    )
    loops = (TimeLoop(count=count, declared_count=count),) if count > 1 else ()
    document = Nd2Document(attributes=attributes, experiment=Experiment(loops=loops))
    return encode_raw(document.to_raw(FrameRecords()))


def frame(number: int) -> NDArray[Any]:
    return np.random.default_rng(number).integers(0, 4096, (2, 5, 7)).astype("u2")


def begun(path: Path, layout: PixelLayout) -> FrameStream:
    stream = FrameStream.create(path)
    stream.begin(layout, significant_bits=12)
    return stream


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 99)), min_size=1),
    st.booleans(),
)
def test_what_was_put_last_is_read(
    tmp_path: Path, puts: list[tuple[int, int]], packed: bool
) -> None:
    layout, path = PACKED if packed else PLAIN, tmp_path / "a.nd2"
    path.unlink(missing_ok=True)
    stream = begun(path, layout)
    for number, seed in puts:
        stream.put(number, frame(seed))
    expected = {number: frame(seed) for number, seed in puts}
    assert stream.numbers == sorted(expected)
    assert all(np.array_equal(stream.frame(n), expected[n]) for n in expected)
    stream.finalize(metadata(layout, 6), 6, fill_missing=True)
    with FrameStore.open(path) as store:
        for number in range(6):
            wanted = expected.get(number, np.zeros_like(frame(0)))
            assert np.array_equal(store.read_frame(number), wanted)
    assert verify(path).is_sound


@BOTH
def test_frame_1_is_never_the_first_of_the_file(
    tmp_path: Path, layout: PixelLayout
) -> None:
    stream = begun(tmp_path / "a.nd2", layout)
    for number in (1, 2, 0):
        stream.put(number, frame(number), time_ms=number * 5.0)
    stream.finalize(metadata(layout, 3), 3)
    with FileSource(tmp_path / "a.nd2") as source:
        family = read_index(source).index.family("ImageDataSeq")
    assert family is not None
    assert family.numbers[np.argmin(family.offsets)] != 1
    with FrameStore.open(tmp_path / "a.nd2") as store:
        assert np.array_equal(store.read_frame(1), frame(1))
    assert verify(tmp_path / "a.nd2").is_sound


@BOTH
def test_threads_may_put_frames(tmp_path: Path, layout: PixelLayout) -> None:
    stream = begun(tmp_path / "a.nd2", layout)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda i: stream.put(i, frame(i)), range(40)))
    stream.finalize(metadata(layout, 40), 40)
    with FrameStore.open(tmp_path / "a.nd2") as store:
        found = store.read_frames(np.arange(40))
    assert np.array_equal(found, np.stack([frame(i) for i in range(40)]))


def test_a_frame_that_fails_is_not_there(tmp_path: Path) -> None:
    stream = begun(tmp_path / "a.nd2", PLAIN)
    stream.put(0, frame(0))
    with pytest.raises(ValueError, match="significant bits"):
        stream.put(0, np.full((2, 5, 7), 5000, "u2"))
    assert np.array_equal(stream.frame(0), frame(0))
    with pytest.raises(TypeError, match="uint16"):
        stream.put(0, frame(0).astype("u1"))
    with pytest.raises(ValueError, match="1 of 2 frames were not written: 1"):
        stream.finalize(metadata(PLAIN, 2), 2)
    stream.put(5, frame(5))
    with pytest.raises(ValueError, match="shall have 2 frames, but there is frame 5"):
        stream.finalize(metadata(PLAIN, 2), 2, fill_missing=True)
    stream.rollback()
    assert list(tmp_path.iterdir()) == []


def test_frames_need_to_be_described_once(tmp_path: Path) -> None:
    stream = FrameStream.create(tmp_path / "a.nd2")
    with pytest.raises(ValueError, match="nothing says yet"):
        stream.put(0, frame(0))
    stream.begin(PACKED, significant_bits=16)
    stream.begin(PLAIN, significant_bits=12)
    stream.put(0, frame(0))
    with pytest.raises(ValueError, match="frames are stored as"):
        stream.begin(PLAIN, significant_bits=16)
    with pytest.raises(ValueError, match="jpeg2000"):
        stream.begin(replace(PLAIN, compression="jpeg2000"), significant_bits=12)
    with pytest.raises(ValueError, match="level must be"):
        stream.begin(PACKED, significant_bits=12, level=10)
    stream.rollback()


def test_chunks_replace_each_other(tmp_path: Path) -> None:
    stream = begun(tmp_path / "a.nd2", PLAIN)
    stream.put_chunk("CustomData|Own!", b"old" * 3000)
    stream.put_chunk("CustomData|Own!", b"newer")
    stream.put_chunk("Mine!", b"kept")
    assert stream.chunk("CustomData|Own!") == b"newer"
    assert stream.chunk("no!") is None
    with pytest.raises(ValueError, match="not an ordinary chunk"):
        stream.put_chunk("ImageDataSeq|0!", b"")
    stream.put(0, frame(0))
    stream.finalize({**metadata(PLAIN, 1), "CustomData|Own!": b"newest"}, 1)
    with FrameStore.open(tmp_path / "a.nd2") as store:
        assert store.read_chunk("CustomData|Own!") == b"newest"
        assert store.read_chunk("Mine!") == b"kept"
        chunks = dict(store.state.chunks.items())
        first = min(
            offset
            for name, (offset, _) in chunks.items()
            if name.startswith("CustomData|")
        )
        assert chunks["CustomData|Own!"][0] > first
    assert verify(tmp_path / "a.nd2").is_sound
