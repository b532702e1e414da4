"""Repairing: a sound file with every frame and chunk that can be had, told what cannot."""

from __future__ import annotations

import os
import struct
import typing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import limnd2_xr
from limnd2_xr.container.scan import walk_chunks
from limnd2_xr.container.source import MemorySource, SourceSpec
from limnd2_xr.errors import CorruptChunk, Nd2Error, NotAnNd2File
from limnd2_xr.frames.repair import RepairReport, repair
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.frames.verify import verify
from limnd2_xr.model.tree_building import string
from limnd2_xr.model.tree_editing import replaced_struct, with_fields
from limnd2_xr.testing.specs import MapStyle
from limnd2_xr.testing.strategies import damaged
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    SyntheticFile,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

SPEC = SyntheticSpec(loops=(TimeLoop(4), ZLoop(3)), width=40, height=30)
PACKED = replace(SPEC, compression="zlib")
POSITIONS = PositionLoop(
    (Point(1, 2, name="a"), Point(3, 4, name="b"), Point(5, 6, name="c"))
)
SOUND = [
    build(SPEC),
    build(PACKED),
    build(replace(SPEC, metadata="xml")),
    build(replace(SPEC, stale_chunks=True, loops=(POSITIONS, ZLoop(2)))),
]
ATTRIBUTES = "ImageAttributesLV!"
PICTURE = "ImageMetadataSeqLV|0!"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "repaired.nd2"


def repaired(data: Any, target: Path, **options: Any) -> RepairReport:
    """Repair, and check what holds of every repaired file."""
    report = repair(data, target, **options)
    assert verify(target).status == "sound"
    with xr.open_dataset(target, engine="nd2", on_damage="raise") as dataset:
        dataset.load()
        count = np.prod([n for dim, n in dataset.sizes.items() if dim in {*"UTPZ"}])
    assert report.frames == count
    return report


def frames(file: Any) -> dict[int, NDArray[Any]]:
    """Pixels of each frame by its number, zeros where there is none."""
    with FrameStore.open(file, on_damage="ignore") as store:
        rest = (slice(None),) * (len(store.shape) - len(store.axes.dims))
        return {
            int(number): store.read((*place, *rest))
            for place, number in np.ndenumerate(store.axes.sequence())
        }


def payloads(data: bytes) -> dict[str, bytes]:
    """Payload of each chunk but frames, as the map lists them."""
    with FrameStore.open(data) as store:
        names = [name for name, _ in store.state.chunks.items()]
        return store.read_chunks(names)


def place_of(file: SyntheticFile, name: str) -> int:
    """File offset of the payload of a chunk."""
    offset, _ = file.chunks[name]
    return offset + 16 + int.from_bytes(file.data[offset + 4 : offset + 8], "little")


def edited(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize("style", typing.get_args(MapStyle))
@pytest.mark.parametrize("spec", [SPEC, PACKED], ids=["plain", "zlib"])
def test_damaged_maps_lose_nothing(
    spec: SyntheticSpec, style: MapStyle, target: Path
) -> None:
    report = repaired(build(replace(spec, map_style=style)).data, target)
    whole = build(spec)
    assert report.is_complete
    assert not report.lost_frames
    assert not report.partial_frames
    np.testing.assert_equal(frames(target), frames(whole.data))
    assert payloads(target.read_bytes()) == payloads(whole.data)


@pytest.mark.realdata
def test_real_files_without_a_map(each_real: Path, target: Path) -> None:
    data = each_real.read_bytes()
    cut = data[: data.rindex(b"ND2 FILEMAP SIGNATURE") - 16]
    report = repaired(cut, target)
    assert report.is_complete
    np.testing.assert_equal(frames(target), frames(data))
    kept = {k: v for k, v in payloads(data).items() if "Authentication" not in k}
    assert payloads(target.read_bytes()) == kept


@pytest.mark.parametrize("name", ["timelapse_t53", "zstack_z11"])
@pytest.mark.realdata
def test_real_files_cut_anywhere(
    real_file: Callable[[str], Path], name: str, target: Path
) -> None:
    data = real_file(name).read_bytes()
    whole = frames(data)
    headers = [h for h in walk_chunks(MemorySource(data)) if "DataSeq|" in h.name]
    first = next(h.end for h in headers if h.name.startswith("ImageData"))
    rng = np.random.default_rng(7)
    for end in rng.integers(first, len(data), 4).tolist():
        report = repaired(data[:end], target, guess_size=True, overwrite=True)
        found = frames(target)
        for header in headers:
            if header.name.startswith("ImageDataSeq|") and header.end <= end:
                number = int(header.name[13:-1])
                assert number not in report.lost_frames
                np.testing.assert_array_equal(found[number], whole[number])


@given(st.sampled_from(SOUND).flatmap(lambda file: damaged(file.data)), st.booleans())
def test_whatever_is_damaged_the_repaired_file_is_sound(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, guess: bool
) -> None:
    target = tmp_path_factory.mktemp("any") / "repaired.nd2"
    report = verify(data)
    try:
        repaired(data, target, guess_size=guess)
    except Nd2Error:
        assert not report.is_sound
        assert not any(target.parent.iterdir())


@given(end=st.integers(4096, 10**6), packed=st.booleans())
def test_any_cut_keeps_the_frames_before_it(
    tmp_path_factory: pytest.TempPathFactory, end: int, packed: bool
) -> None:
    # The attributes come first, as in files that limnd2 writes.
    file = build(replace(PACKED if packed else SPEC, interleave_metadata=True))
    early = {ATTRIBUTES: payloads(file.data)[ATTRIBUTES]}
    spec = replace(file.spec, interleave_metadata=False, stale_chunks=True)
    data = build(replace(spec, extra_chunks=early)).data
    target = tmp_path_factory.mktemp("cut") / "repaired.nd2"
    whole = frames(data)
    cut = data[: min(end, len(data))]
    ends = {
        int(h.name[13:-1]): h.end
        for h in walk_chunks(MemorySource(data))
        if h.name.startswith("ImageDataSeq|")
    }
    intact = [number for number, last in ends.items() if last <= len(cut)]
    try:
        report = repaired(cut, target)
    except CorruptChunk:
        assert not intact
        return
    found = frames(target)
    for number in intact:
        assert number not in report.lost_frames
        np.testing.assert_array_equal(found[number], whole[number])


def test_a_sound_file_stays_as_it_is(target: Path) -> None:
    data = build(SPEC).data
    report = repaired(data, target)
    assert not report.found
    assert not report.lost
    assert not report.changed
    assert payloads(target.read_bytes()) == payloads(data)
    np.testing.assert_equal(frames(target), frames(data))


def test_a_damaged_stream_becomes_zeros(target: Path) -> None:
    file = build(PACKED)
    at = place_of(file, "ImageDataSeq|5!") + 40
    report = repaired(edited(file.data, at, b"\xff\x00\xff\x00"), target)
    assert report.lost_frames == (5,)
    assert [f.chunk for f in report.lost] == ["ImageDataSeq|5!"]
    expected = frames(file.data) | {5: np.zeros((1, 30, 40), np.uint16)}
    np.testing.assert_equal(frames(target), expected)


def test_sound_streams_are_copied_as_stored(target: Path) -> None:
    file = build(replace(PACKED, missing=frozenset({2})))
    repaired(file.data, target)
    offset, nbytes = file.chunks["ImageDataSeq|7!"]
    stored = file.data[offset : offset + 4096 - 8 + nbytes]
    assert stored in target.read_bytes()


def test_rows_of_a_cut_frame_are_kept(target: Path) -> None:
    file = build(replace(SPEC, stale_chunks=True))
    pixels = place_of(file, "ImageDataSeq|7!") + 8
    report = repaired(file.data[: pixels + 11 * 80 + 30], target)
    assert report.partial_frames == ((7, 11),)
    assert report.lost_frames == (8,)
    whole, found = frames(file.data), frames(target)
    np.testing.assert_array_equal(found[7][:, :11], whole[7][:, :11])
    assert not found[7][:, 11:].any()
    assert not found[8].any()
    assert all(np.array_equal(found[i], whole[i]) for i in range(7))
    times = np.frombuffer(payloads(target.read_bytes())["CustomData|AcqTimesCache!"])
    np.testing.assert_array_equal(times[:8], file.times_ms[:8])
    assert times[8] == -1.0


def test_a_frame_that_holds_too_little_keeps_its_rows(target: Path) -> None:
    whole = build(SPEC)
    at = place_of(whole, "ImageDataSeq|3!")
    short = whole.data[at : at + 8 + 80 * 9]
    spec = replace(
        SPEC, missing=frozenset({3}), extra_chunks={"ImageDataSeq|3!": short}
    )
    report = repaired(build(spec).data, target)
    assert report.partial_frames == ((3, 9),)
    np.testing.assert_array_equal(
        frames(target)[3][:, :9], frames(whole.data)[3][:, :9]
    )


@pytest.mark.parametrize("spec", [SPEC, PACKED], ids=["plain", "zlib"])
@pytest.mark.parametrize("field", [0, 4, 16], ids=["magic", "sizes", "name"])
def test_a_frame_with_a_damaged_header_is_found_through_the_map(
    spec: SyntheticSpec, field: int, target: Path
) -> None:
    file = build(spec)
    offset, _ = file.chunks["ImageDataSeq|4!"]
    report = repaired(edited(file.data, offset + field, b"\x03\xff\xff\x07"), target)
    assert report.is_complete
    np.testing.assert_equal(frames(target), frames(file.data))


def test_an_older_copy_takes_the_place_of_a_damaged_chunk(target: Path) -> None:
    # The first attributes of an unfinished file are still there (FORMAT 1.6).
    file = build(replace(SPEC, stale_chunks=True))
    data = edited(file.data, place_of(file, ATTRIBUTES) + 60, b"\xff" * 40)
    report = repaired(data, target)
    assert f"{ATTRIBUTES} was taken from an older copy of it" in report.changed
    np.testing.assert_equal(frames(target), frames(file.data))


def test_damaged_metadata_are_left_out_and_told(target: Path) -> None:
    file = build(SPEC)
    data = edited(file.data, place_of(file, "ImageTextInfoLV!") + 40, b"\xff" * 40)
    report = repaired(data, target)
    assert [f.chunk for f in report.lost] == ["ImageTextInfoLV!"]
    kept = payloads(file.data)
    del kept["ImageTextInfoLV!"]
    assert payloads(target.read_bytes()) == kept


def test_of_metadata_that_are_damaged_in_part_the_rest_is_kept(target: Path) -> None:
    root = decode(payloads(build(SPEC).data)[PICTURE])
    content = with_fields(root.levels()[0], string("dCalibration", "a text"))
    extra = {PICTURE: encode(replaced_struct(root, content))}
    spec = replace(SPEC, channels=(ChannelSpec("Cy5"),), extra_chunks=extra)
    report = repaired(build(spec).data, target)
    assert PICTURE in {f.chunk for f in report.lost}
    with xr.open_dataset(target, engine="nd2") as dataset:
        assert dataset["C"].values.tolist() == ["GFP"]


def test_lost_picture_metadata_are_made_from_the_attributes(target: Path) -> None:
    file = build(SPEC)
    data = edited(file.data, place_of(file, PICTURE) + 60, b"\xff" * 200)
    report = repaired(data, target)
    assert PICTURE in payloads(target.read_bytes())
    assert any(PICTURE in text for text in report.changed)


def test_lost_attributes_are_not_guessed(target: Path) -> None:
    file = build(SPEC)
    data = edited(file.data, place_of(file, ATTRIBUTES), bytes(400))
    with pytest.raises(CorruptChunk, match="no image attributes can be had") as error:
        repair(data, target)
    assert error.value.path == "<bytes>"
    assert error.value.chunk == ATTRIBUTES
    assert not any(target.parent.iterdir())
    report = repaired(data, target, guess_size=True)
    assert [f.chunk for f in report.lost] == [ATTRIBUTES]
    np.testing.assert_equal(frames(target), frames(file.data))


@pytest.mark.parametrize("metadata", ["lv", "xml"])
@pytest.mark.parametrize(
    ("change", "sizes", "lost"),
    [
        ({"sequence_count": 0}, {"T": 4, "Z": 3}, ()),
        ({"sequence_count": 5}, {"T": 4, "Z": 3}, ()),
        ({"frame_count": 8}, {"T": 3, "Z": 3}, (8,)),
        ({"frame_count": 14}, {"T": 5, "Z": 3}, (14,)),
        ({"frame_count": 14, "loops": (ZLoop(3), TimeLoop(4))}, {"T": 14}, ()),
        ({"frame_count": 3, "loops": ()}, {"T": 3}, ()),
        ({"missing": frozenset({10, 11})}, {"T": 4, "Z": 3}, (10, 11)),
        ({"missing": frozenset({9, 10, 11})}, {"T": 3, "Z": 3}, ()),
        ({"first_frame": 1}, {"T": 4, "Z": 3}, ()),
        (
            {
                "loops": (),
                "frame_count": 6,
                "sequence_count": 0,
                "missing": frozenset({1, 2}),
            },
            {"T": 6},
            (1, 2),
        ),
    ],
)
def test_counts_agree_afterwards(
    metadata: Any,
    change: dict[str, Any],
    sizes: dict[str, int],
    lost: tuple[int, ...],
    target: Path,
) -> None:
    spec = replace(SPEC, **{"metadata": metadata, "map_style": "missing", **change})
    data = build(spec).data
    report = repaired(data, target)
    assert report.lost_frames == lost
    with xr.open_dataset(target, engine="nd2") as dataset:
        found = {dim: n for dim, n in dataset.sizes.items() if dim in {*"UTPZ"}}
        assert found == sizes
        assert dataset.nd2.metadata.attributes.sequence_count == report.frames
    stored = build(spec).frames[..., 0]
    for number, pixels in frames(target).items():
        expected = stored[number] if number < len(stored) else 0 * stored[0]
        np.testing.assert_array_equal(
            pixels[0], 0 * expected if number in lost else expected
        )


@pytest.mark.parametrize(
    ("loops", "sizes"),
    [
        ((POSITIONS, ZLoop(4)), {"P": 2, "Z": 4}),
        ((NETimeLoop((Period(1), Period(3))), ZLoop(4)), {"T": 2, "Z": 4}),
    ],
)
def test_other_outermost_loops_get_shorter(
    loops: Any, sizes: dict[str, int], target: Path
) -> None:
    repaired(build(replace(SPEC, loops=loops, frame_count=8)).data, target)
    with xr.open_dataset(target, engine="nd2") as dataset:
        assert dict(dataset.sizes) == {**sizes, "C": 1, "Y": 30, "X": 40}
        if "P" in sizes:
            assert dataset["P"].values.tolist() == ["a", "b"]


def test_columns_follow_the_frames(target: Path) -> None:
    columns = {"X": np.arange(8.0), "N": np.arange(8, dtype=np.int32)}
    data = build(replace(SPEC, frame_count=8, columns=columns)).data
    report = repaired(data, target)
    found = payloads(target.read_bytes())
    np.testing.assert_array_equal(
        np.frombuffer(found["CustomData|X!"]), [*np.arange(8.0), np.nan]
    )
    # A whole number has nothing that stands for a missing one.
    assert "CustomData|N!" not in found
    assert "CustomData|N!" in {f.chunk for f in report.lost}
    assert len(found["CustomData|AcqFramesCache!"]) == 4 * 9
    assert len(found["CustomData|AcqTimesCache!"]) == 8 * 9


def test_checksums_of_other_chunks_go(target: Path) -> None:
    extra = {
        "CustomData|AuthenticationV01!": b"1",
        "CustomDataSeq|AuthenticationPerFrameV01_0|0!": b"2",
    }
    repaired(build(replace(SPEC, extra_chunks=extra)).data, target)
    assert not any("Authentication" in name for name in payloads(target.read_bytes()))


@pytest.mark.parametrize("how", ["same", "symlink", "hardlink"])
def test_the_damaged_file_is_never_touched(tmp_path: Path, how: str) -> None:
    source = tmp_path / "damaged.nd2"
    data = build(SPEC).data[:-4096]
    source.write_bytes(data)
    target = source if how == "same" else tmp_path / "other.nd2"
    if how == "symlink":
        target.symlink_to(source)
    elif how == "hardlink":
        os.link(source, target)
    with pytest.raises(ValueError, match="the damaged file itself"):
        limnd2_xr.repair(source, target, overwrite=True)
    assert source.read_bytes() == data
    before = source.stat()
    limnd2_xr.repair(source, tmp_path / "repaired.nd2")
    assert source.read_bytes() == data
    assert source.stat().st_mtime_ns == before.st_mtime_ns


def test_an_existing_file_is_kept_unless_told(target: Path) -> None:
    target.write_bytes(b"mine")
    data = build(SPEC).data
    with pytest.raises(FileExistsError):
        repair(data, target)
    assert target.read_bytes() == b"mine"
    repaired(data, target, overwrite=True)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"something else", NotAnNd2File),
        (build(SPEC).data[:4096], CorruptChunk),
        (build(replace(SPEC, frame_count=0)).data, CorruptChunk),
    ],
)
def test_nothing_is_left_where_nothing_can_be_had(
    data: bytes, kind: type[Exception], target: Path
) -> None:
    with pytest.raises(kind):
        repair(data, target)
    assert not any(target.parent.iterdir())


def test_a_file_that_lies_about_its_loops_stays_small(target: Path) -> None:
    spec = replace(SPEC, loops=(TimeLoop(4), ZLoop(10**6)), frame_count=3)
    data = build(spec).data
    report = repaired(data, target)
    assert report.frames == 3
    assert target.stat().st_size < 2 * len(data)


@pytest.mark.parametrize("number", [40, 10**12])
def test_a_frame_with_an_absurd_number_is_left_out(number: int, target: Path) -> None:
    file = build(SPEC)
    at = place_of(file, "ImageDataSeq|3!")
    name = f"ImageDataSeq|{number}!"
    extra = {name: file.data[at : at + 8 + 80 * 30]}
    report = repaired(build(replace(SPEC, extra_chunks=extra)).data, target)
    assert [f.chunk for f in report.lost] == [name]
    np.testing.assert_equal(frames(target), frames(file.data))


def test_progress_and_plain_report(target: Path) -> None:
    seen: list[tuple[int, int]] = []
    data = build(replace(SPEC, missing=frozenset({4}))).data
    report = repair(data, target, progress=lambda *step: seen.append(step))
    assert seen[-1][0] == seen[-1][1]
    plain = report.to_plain()
    assert plain["lost_frames"] == [4]
    assert plain["lost"][0]["chunk"] == "ImageDataSeq|4!"
    assert plain["frames"] == 12


def test_times_of_frames_are_kept(target: Path) -> None:
    file = build(SPEC)
    repaired(file.data[:-4096], target)
    with SourceSpec.of(target).open() as source:
        headers = [h for h in walk_chunks(source) if h.name.startswith("ImageDataSeq")]
        times = [struct.unpack("<d", source.read_at(h.data_offset, 8)) for h in headers]
    np.testing.assert_array_equal(np.ravel(times), file.times_ms)
