"""Files of format 1.0 as datasets: the same as any other file."""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.counting import count_reads
from limnd2_xr.testing.legacy import LegacySpec, SyntheticLegacyFile, build_legacy
from limnd2_xr.testing.loop_specs import (
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    TimeLoop,
    ZLoop,
)
from limnd2_xr.testing.specs import ChannelSpec

if TYPE_CHECKING:
    from pathlib import Path

TWO = (ChannelSpec("DAPI", exposure_ms=20.0), ChannelSpec("GFP", color=0x00FF00))
RGB = ChannelSpec("HE", components=3)
POINTS = tuple(Point(10.0 * i, -5.0 * i, 2.0 * i) for i in range(3))
TPZ = LegacySpec(
    loops=(TimeLoop(2), PositionLoop(POINTS, use_z=True), ZLoop(4, step_um=0.5)),
    channels=TWO,
    bits=12,
)


def small(**options: Any) -> LegacySpec:
    return LegacySpec(width=12, height=10, **options)


SPECS = {
    "snap": small(),
    "time": small(loops=(TimeLoop(3),)),
    "time_positions_z": TPZ,
    "siblings": small(loops=(TimeLoop(2), ZLoop(3)), loop_style="AIMD", channels=TWO),
    "wrapped": small(loops=(ZLoop(3, kind=5),), wrapped=True),
    "prolog": small(loops=(TimeLoop(2),), prolog=True, bits=8),
    "z_outside": small(loops=(ZLoop(3), TimeLoop(2))),
    "rgb": small(loops=(TimeLoop(2),), channels=(RGB,), bits=8),
    "rgb_and_mono": small(channels=(RGB, TWO[0]), bits=8),
    "twelve_bits": LegacySpec(loops=(TimeLoop(2),), bits=12, codestream_bits=12),
    "uncalibrated": small(calibration_um=None),
    "periods": small(loops=(NETimeLoop((Period(2), Period(3))),)),
}


@pytest.fixture(scope="module")
def tpz() -> SyntheticLegacyFile:
    return build_legacy(TPZ)


def opened(file: SyntheticLegacyFile, **options: Any) -> xr.Dataset:
    return xr.open_dataset(file.data, engine="nd2", **options)


@pytest.mark.parametrize("name", SPECS)
def test_pixels_and_dims(name: str) -> None:
    file = build_legacy(SPECS[name])
    with opened(file) as ds:
        assert ds["image"].dims == file.dims
        assert ds["image"].dtype == file.spec.dtype
        np.testing.assert_array_equal(ds["image"].values, file.array())
        assert ds.attrs["significant_bits"] == file.spec.bits
        assert ds.attrs["format_version"] == "1.0"
        assert ds.nd2.metadata.format_version == "1.0"


def test_coordinates(tpz: SyntheticLegacyFile) -> None:
    with opened(tpz) as ds:
        assert ds["C"].values.tolist() == ["DAPI", "GFP"]
        assert ds["exposure_time"].values.tolist() == [0.02, 0.1]
        assert ds["color"].values[1] == "#00ff00"
        assert ds["Z"].values.tolist() == [-0.5, 0.0, 0.5, 1.0]
        assert ds["position_x"].values.tolist() == [0.0, 10.0, 20.0]
        assert ds["position_z"].values.tolist() == [0.0, 2.0, 4.0]
        assert ds["stage_y"].values[1, :, 2].tolist() == [0.0, -5.0, -10.0]
        assert ds["stage_z"].values[0, 0].tolist() == [300.0, 300.5, 301.0, 301.5]
        numbers = np.arange(24).reshape(2, 3, 4)
        np.testing.assert_allclose(ds["time"].values, 0.005 + numbers)
        assert str(ds["acquired"].values[0, 0, 0])[:19] == "2006-09-21T18:00:00"
        assert ds["X"].values[2] == 1.0
        assert ds.attrs["objective"] == "Plan Apo 20x"
        assert ds.attrs["author"] == "A. Author"


def test_a_stack_from_the_top_decreases() -> None:
    with opened(build_legacy(SPECS["wrapped"])) as ds:
        assert ds["Z"].values.tolist() == [1.0, 0.0, -1.0]


def test_opening_reads_no_pixels(tpz: SyntheticLegacyFile) -> None:
    first = min(o for name, (o, _) in tpz.boxes.items() if name.startswith("LUNK"))
    last = tpz.boxes["LUNK|47"][0]
    with count_reads() as counter, opened(tpz):
        pass
    between = [n for offset, n in counter.ranges if first <= offset < last]
    assert sum(between) < 4096
    assert counter.reads < 20


def test_one_codestream_a_channel_and_frame(tpz: SyntheticLegacyFile) -> None:
    with opened(tpz) as ds:
        ds["image"].isel(T=0, P=0, Z=0, C=0).load()
        with count_reads() as counter:
            ds["image"].isel(T=1, P=1, Z=3, C=1).load()
        offset, nbytes = tpz.boxes["LUNK|39"]
        assert counter.ranges == [(offset, nbytes + 8)]


@pytest.mark.parametrize(
    "key",
    [
        {"C": 1},
        {"T": [1, 0], "C": [1, 0, 1]},
        {"Z": slice(None, None, -2), "Y": slice(3, 20, 4), "X": [5, 1, 1]},
        {"P": [], "C": 0},
        {"T": 0, "P": 2, "Z": 1, "C": 1, "Y": 4, "X": -1},
    ],
)
def test_selections(tpz: SyntheticLegacyFile, key: dict[str, object]) -> None:
    whole = xr.DataArray(tpz.array(), dims=tpz.dims)
    with opened(tpz) as ds:
        found = ds["image"].isel(key).values
        np.testing.assert_array_equal(found, whole.isel(key).values)


def test_selections_of_colours() -> None:
    for name in ("rgb", "rgb_and_mono"):
        file = build_legacy(SPECS[name])
        whole = xr.DataArray(file.array(), dims=file.dims)
        with opened(file) as ds:
            for key in ({"S": [2, 0]}, {"C": [-1, 0], "S": 1}, {"C": 0, "Y": 3}):
                held = {dim: k for dim, k in key.items() if dim in file.dims}
                found = ds["image"].isel(held).values
                np.testing.assert_array_equal(found, whole.isel(held).values)


def test_mixed_channels_have_the_names_of_other_formats() -> None:
    with opened(build_legacy(SPECS["rgb_and_mono"])) as ds:
        assert ds["C"].values.tolist() == ["HE_B", "HE_G", "HE_R", "DAPI"]


def test_dask_and_pickles(tpz: SyntheticLegacyFile, tmp_path: Path) -> None:
    file = tpz.save(tmp_path / "old.nd2")
    with xr.open_dataset(file, engine="nd2", chunks={}) as ds:
        again = pickle.loads(pickle.dumps(ds))
        np.testing.assert_array_equal(again["image"].values, tpz.array())
        again.close()


def test_the_token_depends_on_where_codestreams_are(tpz: SyntheticLegacyFile) -> None:
    moved = build_legacy(LegacySpec(loops=TPZ.loops, channels=TWO, bits=12, seed=1))
    tables = []
    for file in (tpz, moved, tpz):
        with FrameStore.open(file.data) as store:
            tables.append(store.table)
    assert tables[0] == tables[2] != tables[1]


def test_a_tree_has_the_image_at_its_root(tpz: SyntheticLegacyFile) -> None:
    with xr.open_datatree(tpz.data, engine="nd2") as tree:
        np.testing.assert_array_equal(tree["image"].values, tpz.array())


def test_boxes_are_listed_and_read() -> None:
    file = build_legacy(SPECS["time"])
    with opened(file) as ds:
        found = {chunk.name: chunk for chunk in ds.nd2.chunks()}
        assert found.keys() == {f"{name}!" for name in file.boxes}
        kinds = {name: found[f"{name}!"].encoding for name in ("LUNK|1", "TINF", "jP")}
        assert kinds == {"LUNK|1": "pixels", "TINF": "xml", "jP": "raw"}
        assert found["VIMD|1!"].offset == file.boxes["VIMD|1"][0]
        text = ds.nd2.chunk("TINF")
        assert text["TextInfo"]["TextInfoItem"][1]["Text"] == "A. Author"
        assert ds.nd2.chunk("VIMD|2")["MetadataSeq"]["dTimeMSec"] == 2005.0
        assert ds.nd2.chunk("LUNK|0")[:4] == b"\xff\x4f\xff\x51"
        assert ds.nd2.chunk("TINF", raw=True).startswith(b"<TextInfo>")
        assert dict(ds.nd2.custom_data) == {}
        with pytest.raises(KeyError, match=r"has no chunk IEVE!"):
            ds.nd2.chunk("IEVE")


@pytest.mark.parametrize("name", SPECS)
def test_written_again_it_is_of_format_3(name: str, tmp_path: Path) -> None:
    file = build_legacy(SPECS[name]).save(tmp_path / "old.nd2")
    with xr.open_dataset(file, engine="nd2") as ds:
        ds.nd2.to_nd2(tmp_path / "new.nd2", on_loss="raise")
        with xr.open_dataset(tmp_path / "new.nd2") as new:
            xr.testing.assert_equal(new, ds)
            assert new.attrs["format_version"] == "3.0"
            # The line "Dimensions:" of the description is written as by NIS-Elements.
            told = {"format_version", "nd2_metadata", "description"}
            assert {k: v for k, v in new.attrs.items() if k not in told} == {
                k: v for k, v in ds.attrs.items() if k not in told
            }
            assert new.nd2.metadata.experiment == ds.nd2.metadata.experiment
            assert new.nd2.metadata.channels == ds.nd2.metadata.channels


def test_what_no_array_holds_is_named_when_it_is_written(tmp_path: Path) -> None:
    spec = LegacySpec(extra={"IEVE": b"<Events/>", "SROB": b"<ReportObjects/>"})
    file = build_legacy(spec).save(tmp_path / "old.nd2")
    with (
        xr.open_dataset(file, engine="nd2") as ds,
        pytest.warns(limnd2_xr.Nd2Warning, match=r"boxes of .*old\.nd2: IEVE, SROB"),
    ):
        ds.nd2.to_nd2(tmp_path / "new.nd2")


def test_a_file_cannot_be_changed_in_place(tmp_path: Path) -> None:
    file = build_legacy(SPECS["snap"]).save(tmp_path / "old.nd2")
    before = file.read_bytes()
    with pytest.raises(
        limnd2_xr.UnsupportedFeature, match="writes what can be had as a new file"
    ):
        limnd2_xr.update_nd2(file, attrs={"author": "me"})
    assert file.read_bytes() == before


def test_without_the_decoder_metadata_can_be_read(
    tpz: SyntheticLegacyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with opened(tpz) as ds:
        assert ds.sizes["P"] == 3
        assert ds["C"].values.tolist() == ["DAPI", "GFP"]
        with pytest.raises(
            limnd2_xr.UnsupportedFeature,
            match=r'<bytes>: .*pip install "limnd2-xr\[legacy\]"',
        ):
            ds["image"].isel(T=0, P=0, Z=0).load()


# -- damage


def test_without_a_map_everything_is_there() -> None:
    file = build_legacy(LegacySpec(loops=TPZ.loops, channels=TWO, box_map=False))
    with pytest.warns(limnd2_xr.Nd2Warning, match="box map is damaged or missing"):
        ds = opened(file)
    np.testing.assert_array_equal(ds["image"].values, file.array())
    assert ds["C"].values.tolist() == ["DAPI", "GFP"]
    ds.close()


def test_frames_before_a_cut_are_recovered() -> None:
    file = build_legacy(small(loops=(TimeLoop(6),)))
    ends = [file.boxes[f"LUNK|{i}"] for i in range(6)]
    rng = np.random.default_rng(5)
    for cut in rng.integers(ends[0][0] + ends[0][1] + 8, len(file.data), 30).tolist():
        whole = sum(offset + 8 + nbytes <= cut for offset, nbytes in ends)
        with pytest.warns(limnd2_xr.Nd2Warning):
            ds = opened_cut(file.data[:cut])
        frames = ds["image"].values.reshape(-1, 1, 10, 12)
        np.testing.assert_array_equal(frames[:whole], file.array()[:whole])
        assert len(frames) == whole or cut > ends[-1][0]
        ds.close()


def opened_cut(data: bytes) -> xr.Dataset:
    return xr.open_dataset(data, engine="nd2")


def test_frames_that_are_missing_read_as_zeros() -> None:
    spec = small(loops=(ZLoop(2), TimeLoop(3)), last_frames=1)
    file = build_legacy(spec)
    with pytest.warns(limnd2_xr.Nd2Warning, match="1 of 6 frames are not in the file"):
        ds = opened(file)
    expected = file.array().copy()
    expected[2, 1] = 0
    np.testing.assert_array_equal(ds["image"].values, expected)
    assert ds["missing"].values.sum() == 1
    ds.close()


def test_a_frame_that_lacks_a_channel_is_missing() -> None:
    file = build_legacy(small(loops=(TimeLoop(3),), channels=TWO))
    offset = file.boxes["LUNK|2"][0]
    data = file.data[:offset] + b"\0\0\0\3" + file.data[offset + 4 :]
    # The header of an image that opening does not look at: reading finds it out.
    with opened_cut(data) as ds:
        ds["image"].isel(T=[0, 2]).load()
        ds["image"].isel(T=1, C=1).load()
        with pytest.raises(limnd2_xr.CorruptChunk) as caught:
            ds["image"].load()
    assert (caught.value.path, caught.value.chunk) == ("<bytes>", "LUNK|2!")
    assert caught.value.offset == offset


@pytest.mark.parametrize("box", ["VIMD|0", "TINF", "AIM1", "ARTT", "VCAL|0"])
def test_damaged_metadata_are_left_out(box: str) -> None:
    file = build_legacy(small(loops=(TimeLoop(3),), channels=TWO))
    offset, nbytes = file.boxes[box]
    data = bytearray(file.data)
    data[offset + 8 + nbytes // 2 : offset + 8 + nbytes] = b"<" * (nbytes - nbytes // 2)
    with pytest.warns(limnd2_xr.Nd2Warning, match="left out"):
        ds = opened_cut(bytes(data))
    found = ds["image"].values.reshape(-1, 10, 12)
    np.testing.assert_array_equal(found, file.array().reshape(-1, 10, 12))
    ds.close()


def test_damage_can_be_an_error() -> None:
    file = build_legacy(small(box_map=False))
    with pytest.raises(limnd2_xr.Nd2Error, match=r"<bytes>: .*box map"):
        opened(file, on_damage="raise")
    with opened(file, on_damage="ignore") as ds:
        assert "box map" in ds.nd2.damage[0]


def test_sizes_that_no_image_can_have() -> None:
    file = build_legacy(small(omit=frozenset({"jp2c"})))
    at = file.data.index(b"ihdr") + 4
    huge = b"\x7f\xff\xff\xff"
    data = file.data[:at] + huge * 2 + file.data[at + 8 :]
    with pytest.raises(limnd2_xr.CorruptChunk, match="images of 2147483647 x"):
        opened_cut(data)


def test_an_image_header_that_is_missing_or_wrong() -> None:
    file = build_legacy(small(omit=frozenset({"jp2h"})))
    with opened(file) as ds:
        np.testing.assert_array_equal(ds["image"].values, file.array())
    whole = build_legacy(small())
    at = whole.data.index(b"ihdr") + 4
    data = whole.data[:at] + b"\0\0\0\x07" + whole.data[at + 4 :]
    with pytest.warns(limnd2_xr.Nd2Warning, match="says 12 x 7 pixels"):
        ds = opened_cut(data)
    np.testing.assert_array_equal(ds["image"].values, whole.array())
    ds.close()


EVENTS = b"""<Events><uiCount runtype="lx_uint32" value="2"/><pFirstEvent>
<no_name><dTime runtype="double" value="1500"/><eMeaning runtype="lx_uint32" value="7"/>
<wsDescription runtype="CLxStringW" value="shutter"/>
<wsData runtype="CLxStringW" value="open"/></no_name>
<no_name><dTime runtype="double" value="500"/><eMeaning runtype="lx_uint32" value="9"/>
<wsDescription runtype="CLxStringW" value=""/><wsData runtype="CLxStringW" value=""/>
</no_name></pFirstEvent></Events>"""


def test_events_are_a_group(tmp_path: Path) -> None:
    spec = small(loops=(TimeLoop(2),), extra={"IEVE": EVENTS})
    file = build_legacy(spec).save(tmp_path / "old.nd2")
    with xr.open_datatree(file, engine="nd2") as tree, nd2.ND2File(file) as theirs:
        events = tree["events"].to_dataset()
        assert events["time"].values.tolist() == [0.5, 1.5]
        with pytest.warns(UserWarning, match="not implemented for legacy"):
            assert theirs.events() == []
        reader: Any = theirs._rdr
        told = [(e.time, int(e.meaning)) for e in reader._img_exp_events()]
        assert sorted(told) == [(500.0, 9), (1500.0, 7)]
        assert events["description"].values.tolist()[1].startswith("shutter")
        tree.nd2.to_nd2(tmp_path / "new.nd2", on_loss="raise")
        with xr.open_datatree(tmp_path / "new.nd2") as new:
            xr.testing.assert_equal(new["events"].to_dataset(), events)
