"""Single frames read with a handful of calls are those that planned reads give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from limnd2_xr.errors import UnsupportedFeature
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.legacy import LegacySpec, build_legacy
from limnd2_xr.testing.synthetic import ChannelSpec, SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from pathlib import Path

CHANNELS: dict[str, tuple[ChannelSpec, ...]] = {
    "one": (ChannelSpec("A"),),
    "two": (ChannelSpec("A"), ChannelSpec("B")),
    "rgb": (ChannelSpec("HE", components=3),),
}


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("width", [16, 13], ids=["packed", "padded"])
@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "read"])
def test_frames_are_the_same(
    channels: str, width: int, mapped: bool, tmp_path: Path
) -> None:
    spec = SyntheticSpec(
        loops=(TimeLoop(3),),
        channels=CHANNELS[channels],
        dtype="uint8",
        width=width,
        height=5,
        missing=frozenset({1}),
    )
    file = build(spec)
    with pytest.warns(match="1 of 3"):
        store = FrameStore.open(file.save(tmp_path / "a.nd2"))
    with store:
        store.maps_single_frames = mapped
        together = store.read_frames(np.arange(3))
        stored = store.read_stored(np.arange(3))
        for number in range(3):
            alone = store.read_frame(number)
            np.testing.assert_array_equal(alone, together[number])
            np.testing.assert_array_equal(stored[number], file.frames[number])
            one = store.read_stored(np.array([number]))[0]
            np.testing.assert_array_equal(one, file.frames[number])
            assert alone.flags.writeable
            assert alone.flags.c_contiguous


@pytest.mark.parametrize(
    "options",
    [{"compression": "zlib"}, {"frame_name_nbytes": 40, "alignment": 1}],
    ids=["zlib", "unaligned"],
)
def test_frames_that_lie_otherwise(options: dict[str, Any], tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(3),), width=8, height=6, **options)
    file = build(spec)
    for source in (file.data, file.save(tmp_path / "a.nd2")):
        with FrameStore.open(source) as store:
            for number in range(3):
                found = store.read_stored(np.array([number]))[0]
                np.testing.assert_array_equal(found, file.frames[number])


def test_a_wrong_header_is_left_to_the_planned_read(tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(5),), width=8, height=6)
    file = build(spec)
    offset, _ = file.chunks["ImageDataSeq|1!"]
    data = bytearray(file.data)
    path = tmp_path / "a.nd2"
    path.write_bytes(data)
    with FrameStore.open(path) as store:
        store.maps_single_frames = False
        data[offset : offset + 4] = b"XXXX"
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"ImageDataSeq\|1!"):
            store.read_frame(1)


def test_components_of_format_1_lie_apart() -> None:
    file = build_legacy(LegacySpec(loops=(TimeLoop(2),)))
    with (
        FrameStore.open(file.data) as store,
        pytest.raises(UnsupportedFeature, match=r"format 1\.0"),
    ):
        store.read_stored(np.array([0]))
