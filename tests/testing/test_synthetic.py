from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest
from hypothesis import given, settings

from limnd2_xr.testing.strategies import REPAIRABLE_MAPS, specs
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Column,
    CustomLoop,
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    SpectralLoop,
    SyntheticFile,
    SyntheticSpec,
    TimeLoop,
    XmlStyle,
    ZLoop,
    build,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

    from limnd2_xr.testing.specs import MapStyle

TWO = (
    ChannelSpec("DAPI", emission_nm=450.0, excitation_nm=405.0),
    ChannelSpec("GFP é λ", color=0x00FF00),
)
RGB = (ChannelSpec("Brightfield", components=3),)
POINTS = (
    Point(10.0, 20.0, 5.0, name="A1"),
    Point(1.0, 2.0, 3.0, valid=False),
    Point(50.0, 60.0, 7.0, name="B <2>"),
)
PERIODS = (
    Period(2, period_ms=100.0),
    Period(4, valid=False),
    Period(3, period_ms=50.0),
)

SPECS: dict[str, dict[str, Any]] = {
    "snap": {},
    "time_z": {"loops": (TimeLoop(3), ZLoop(4)), "channels": TWO},
    "z_time": {"loops": (ZLoop(2), TimeLoop(3))},
    "points": {"loops": (TimeLoop(2), PositionLoop(POINTS, use_z=True), ZLoop(3))},
    "periods": {"loops": (NETimeLoop(PERIODS), ZLoop(2))},
    "sub_loops": {"loops": (NETimeLoop(PERIODS, sub_loops=True), PositionLoop(POINTS))},
    "custom": {"loops": (TimeLoop(2), CustomLoop(3))},
    "spectral": {"loops": (TimeLoop(2), SpectralLoop()), "channels": TWO},
    "rgb": {"loops": (ZLoop(2),), "channels": RGB, "dtype": "uint8", "width": 13},
    "two_rgb": {"channels": (*RGB, ChannelSpec("Other", components=3)), "width": 7},
    "float": {"loops": (TimeLoop(2),), "dtype": "float32", "channels": TWO},
    "padded": {"loops": (TimeLoop(2),), "dtype": "uint8", "width": 255},
    "zlib": {"loops": (TimeLoop(3),), "compression": "zlib", "width": 33},
    "shuffled": {"loops": (TimeLoop(4),), "frame_order": (2, 0, 3, 1)},
    "missing": {"loops": (TimeLoop(4),), "missing": frozenset({2})},
    "interleaved": {
        "loops": (TimeLoop(4),),
        "interleave_metadata": True,
        "stale_chunks": True,
    },
    "branches": {"loops": (TimeLoop(2), ZLoop(3)), "repeat_branches": True},
    "nis4_map": {"map_style": "nis4"},
    "unknown_sizes": {"loops": (TimeLoop(2),), "map_style": "size_equals_offset"},
    "duplicates": {"loops": (TimeLoop(2),), "map_style": "duplicates"},
}


def make(name: str, **more: Any) -> SyntheticFile:
    return build(SyntheticSpec(**{**SPECS[name], **more}))


def nd2_array(path: Path) -> tuple[dict[str, int], np.ndarray[Any, Any]]:
    with nd2.ND2File(path) as file:
        return dict(file.sizes), file.asarray()


def expected(file: SyntheticFile) -> tuple[dict[str, int], np.ndarray[Any, Any]]:
    """Truth the way nd2 delivers it: file order, single axes dropped, RGB as stored."""
    spec = file.spec
    axes = [loop.axis for loop in spec.loops if loop.axis]
    per_channel = spec.channels[0].components
    shape = (spec.height, spec.width, len(spec.channels), per_channel)
    image = file.frames.reshape(*spec.loop_shape, *shape)
    k = len(axes)
    image = image.transpose(*range(k), k + 2, k, k + 1, k + 3)
    dims = [*axes, "C", "Y", "X", "S"]
    keep = [d in "YX" or n > 1 for d, n in zip(dims, image.shape, strict=True)]
    sizes = {str(d): n for d, n, k in zip(dims, image.shape, keep, strict=True) if k}
    return sizes, image.reshape(tuple(sizes.values()))


@pytest.mark.parametrize("metadata", ["lv", "xml"])
@pytest.mark.parametrize("name", SPECS)
def test_nd2_reads_the_truth(name: str, metadata: str, tmp_path: Path) -> None:
    # how version 2 stores sub-loops is not known; of the forms tried nd2 follows one
    style = XmlStyle(direct_parameters=name == "sub_loops")
    file = make(name, metadata=metadata, xml=style)
    sizes, image = nd2_array(file.save(tmp_path / "a.nd2"))
    assert (sizes, image.tolist()) == (expected(file)[0], expected(file)[1].tolist())


@pytest.mark.parametrize("metadata", ["lv", "xml"])
def test_nd2_reads_the_metadata(metadata: str, tmp_path: Path) -> None:
    file = build(
        SyntheticSpec(
            loops=(TimeLoop(2, period_ms=250.0), PositionLoop(POINTS, use_z=True)),
            channels=TWO,
            metadata=metadata,  # type: ignore[arg-type]
            calibration_um=0.325,
            significant_bits=12,
            columns={
                "CameraTemp1": Column(
                    [1.5, 2.5, 3.5, 4.5], description="Temperature", unit="°C"
                )
            },
            text={4: 'Ann & "Bob"'},
        )
    )
    with nd2.ND2File(file.save(tmp_path / "a.nd2")) as read:
        assert read.attributes.bitsPerComponentSignificant == 12
        assert read.voxel_size().x == 0.325
        channels = read.metadata.channels or []
        assert [c.channel.name for c in channels] == ["DAPI", "GFP é λ"]
        assert channels[0].channel.emissionLambdaNm == 450.0
        assert channels[0].channel.excitationLambdaNm == 405.0
        assert channels[1].channel.color.g == 255
        time, points = read.experiment
        assert isinstance(time, nd2.structures.TimeLoop)
        assert time.parameters.periodMs == 250.0
        assert isinstance(points, nd2.structures.XYPosLoop)
        if metadata == "lv":  # nd2 does not look for the names in XML
            assert [p.name for p in points.parameters.points] == ["A1", "B <2>"]
        assert [tuple(p.stagePositionUm) for p in points.parameters.points] == [
            (10.0, 20.0, 5.0),
            (50.0, 60.0, 7.0),
        ]
        assert read.text_info.get("author") == 'Ann & "Bob"'
        frame = read.frame_metadata(3)
        assert not isinstance(frame, dict)
        assert frame.channels[0].time.relativeTimeMs == file.times_ms[3]
        assert read.events()[2]["Temperature [°C]"] == 3.5
        assert read.version == ((2, 1) if metadata == "xml" else (3, 0))


def test_recorded_columns(tmp_path: Path) -> None:
    columns: dict[str, Any] = {
        "PFS_STATUS": Column(np.array([1, -1, 3])),
        "Z": [0.5, 1.5, 2.5],
        "Note": Column(["a", "µ", ""], description="Note"),
    }
    file = build(SyntheticSpec(loops=(TimeLoop(3),), columns=columns))
    assert file.chunks["CustomData|Note!"][1] == 3 * 512
    with nd2.ND2File(file.save(tmp_path / "a.nd2")) as read:
        events = read.events()
    assert [e["PFS_STATUS"] for e in events] == [1, -1, 3]
    assert [e["Z"] for e in events] == [0.5, 1.5, 2.5]
    none = build(SyntheticSpec(loops=(TimeLoop(3),), columns={}))
    assert "CustomDataVar|CustomDataV2_0!" not in none.chunks


def test_stage_columns_agree_with_the_loops() -> None:
    file = build(
        SyntheticSpec(
            loops=(ZLoop(2, step_um=2.0, kind=6), PositionLoop(POINTS, use_z=True))
        )
    )
    found = {}
    for axis in "XYZ":
        offset, nbytes = file.chunks[f"CustomData|{axis}!"]
        start = offset + 16 + struct.unpack_from("<I", file.data, offset + 4)[0]
        found[axis] = np.frombuffer(file.data, "<f8", nbytes // 8, start).tolist()
    assert found["X"] == [10.0, 50.0, 10.0, 50.0]
    assert found["Y"] == [20.0, 60.0, 20.0, 60.0]
    assert found["Z"] == [5.0, 7.0, 3.0, 5.0]


@given(spec=specs())
def test_any_spec_builds_and_streams_to_the_same_bytes(spec: SyntheticSpec) -> None:
    file = build(spec)
    streamed = io.BytesIO()
    assert write(streamed, spec) == len(file.data)
    assert streamed.getvalue() == file.data
    for name, (offset, nbytes) in file.chunks.items():
        magic, name_nbytes, data_nbytes = struct.unpack_from("<IIQ", file.data, offset)
        assert (magic, data_nbytes) == (0x0ABECEDA, nbytes)
        head = file.data[offset + 16 : offset + 16 + name_nbytes]
        assert head.rstrip(b"\0").decode("latin-1") == name
        assert offset % spec.alignment == 0
        assert offset + 16 + name_nbytes + nbytes <= len(file.data)


@given(spec=specs(missing=False))
def test_frames_lie_where_the_map_says(spec: SyntheticSpec) -> None:
    file = build(spec)
    for i in range(spec.n_frames):
        offset, nbytes = file.chunks[f"ImageDataSeq|{i}!"]
        name_nbytes = struct.unpack_from("<I", file.data, offset + 4)[0]
        start = offset + 16 + name_nbytes
        (time,) = struct.unpack_from("<d", file.data, start)
        assert time == file.times_ms[i]
        if spec.compression is None:
            rows = np.frombuffer(file.data, np.uint8, nbytes - 8, start + 8)
            rows = rows.reshape(spec.height, spec.row_nbytes)
            used = spec.width * spec.n_components * spec.stored_dtype.itemsize
            assert rows[:, :used].tobytes() == file.frames[i].tobytes()
            assert not rows[:, used:].any()


@settings(max_examples=15)
@given(spec=specs(metadata=("lv", "xml"), repeats=False))
def test_array_follows_coordinates(spec: SyntheticSpec) -> None:
    file = build(spec)
    image = file.array()
    axes = [loop.axis for loop in spec.loops if loop.axis]
    for i, index in enumerate(np.ndindex(*spec.loop_shape)):
        at = dict(zip(axes, index, strict=True))
        picked = image[tuple(at[d] for d in file.dims if d in at)]
        for c, found in enumerate(picked):
            if file.dims[-1] == "S":
                stored = file.frames[i][..., 3 * c : 3 * c + 3]
                assert np.array_equal(found, stored[..., ::-1])
            else:
                assert np.array_equal(found, file.frames[i][..., c])


def test_loops_of_one_kind_are_merged() -> None:
    file = build(
        SyntheticSpec(loops=(TimeLoop(2), ZLoop(3), NETimeLoop(PERIODS)), width=4)
    )
    assert file.dims == ("T", "Z", "C", "Y", "X")
    assert file.sizes == {"T": 10, "Z": 3, "C": 1, "Y": 48, "X": 4}
    # T 7 is the second outer step, third inner one: frame (1 * 3 + 2) * 5 + 2.
    assert np.array_equal(file.array()[7, 2, 0], file.frames[27, :, :, 0])


def test_rgb_is_delivered_red_first() -> None:
    def pixels(_: int) -> np.ndarray[Any, Any]:
        return np.full((2, 2, 3), [10, 20, 30], np.uint8)  # blue, green, red

    file = build(
        SyntheticSpec(width=2, height=2, channels=RGB, dtype="uint8", pixels=pixels)
    )
    assert file.array()[0, 0, 0].tolist() == [30, 20, 10]


def test_channels_that_are_not_alike_or_not_named() -> None:
    mixed = build(SyntheticSpec(channels=(*RGB, *TWO), width=4))
    assert mixed.sizes == {"C": 5, "Y": 48, "X": 4}
    assert np.array_equal(mixed.array()[2], mixed.frames[0, :, :, 2])
    bare = build(SyntheticSpec(metadata="none", channels=RGB, width=4))
    assert bare.dims == ("C", "Y", "X")
    bytewise = build(
        SyntheticSpec(metadata="none", channels=RGB, dtype="uint8", width=4)
    )
    assert bytewise.dims == ("C", "Y", "X", "S")
    assert np.array_equal(bytewise.array()[0], bytewise.frames[0, :, :, ::-1])


def test_frames_beyond_and_short_of_the_loops() -> None:
    short = build(SyntheticSpec(loops=(TimeLoop(3),), frame_count=2))
    assert short.array().shape[0] == 3
    assert not short.array()[2].any()
    beyond = build(SyntheticSpec(loops=(TimeLoop(3),), frame_count=5))
    assert len(beyond.frames) == 5
    assert beyond.array().shape[0] == 3


def test_frames_without_loops_run_along_time() -> None:
    file = build(SyntheticSpec(metadata="none", frame_count=3))
    assert file.sizes == {"T": 3, "C": 1, "Y": 48, "X": 64}
    assert np.array_equal(file.array()[:, 0], file.frames[..., 0])


def test_attributes_can_lie() -> None:
    sound, file = make("snap"), make("snap", attributes={"uiWidthBytes": 3})
    assert len(sound.data) == len(file.data)
    assert sound.data != file.data
    with pytest.raises(ValueError, match="no attributes: uiWdth"):
        make("snap", attributes={"uiWdth": 3})


def test_every_frame_differs() -> None:
    file = build(SyntheticSpec(loops=(TimeLoop(300),), width=4, height=4))
    assert len({f.tobytes() for f in file.frames}) == 300


def test_significant_bits_are_kept() -> None:
    file = build(SyntheticSpec(significant_bits=10, width=300, height=300))
    assert file.frames.max() == 1023


def test_map_follows_the_format() -> None:
    file = make("time_z")
    data = file.data
    assert len(data) % 4096 == 0
    assert data[-40:-8] == b"ND2 CHUNK MAP SIGNATURE 0000001!"
    offset = struct.unpack("<Q", data[-8:])[0]
    magic, name_nbytes, nbytes = struct.unpack_from("<IIQ", data, offset)
    assert (magic, name_nbytes) == (0x0ABECEDA, 4128)
    assert offset + 16 + name_nbytes + nbytes == len(data)
    payload = data[-nbytes:]
    names = [n.encode() for n in file.chunks]
    assert names == sorted(names, reverse=True)
    assert payload.startswith(b"ImageTextInfoLV!")
    assert payload.count(struct.pack("<Q", offset)) == 2


@pytest.mark.parametrize("style", REPAIRABLE_MAPS)
def test_damaged_maps_differ_only_behind_the_chunks(style: MapStyle) -> None:
    sound = make("time_z")
    file = make("time_z", map_style=style)
    end = max(offset for offset, _ in sound.chunks.values())
    assert file.data[:end] == sound.data[:end]
    assert file.data[end:] != sound.data[end:]


def test_standard_chunks_can_be_replaced_and_left_out() -> None:
    file = build(
        SyntheticSpec(
            extra_chunks={"ReportObjects!": b"<x/>", "CustomData|X!": b"\1"},
            omit_chunks=frozenset({"CustomData|AcqTimesCache!"}),
        )
    )
    assert "CustomData|AcqTimesCache!" not in file.chunks
    assert file.chunks["ReportObjects!"][1] == 4
    assert file.chunks["CustomData|X!"][1] == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"metadata": "none", "loops": (TimeLoop(2),)}, "loops need metadata"),
        ({"frame_order": (0, 1)}, "no permutation"),
        ({"significant_bits": 17}, "17 significant bits of 16"),
        ({"width": 0}, "at least one pixel"),
        ({"channels": ()}, "needs a channel"),
        ({"times_ms": [1.0, 2.0]}, "times_ms has shape"),
        ({"pixels": lambda _: np.zeros((2, 2), np.uint16)}, "has shape"),
        ({"frame_name_nbytes": 8}, "do not fit"),
        ({"metadata": "lv", "columns": {"N": np.array([2**40])}}, "32 bits"),
    ],
)
def test_contradictions_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(SyntheticSpec(**wrong))


def test_streaming_to_a_path(tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(40),), width=256, height=256)
    path = tmp_path / "streamed.nd2"
    nbytes = write(path, spec)
    assert path.stat().st_size == nbytes
    assert path.read_bytes() == build(spec).data
