"""OME documents: schema, values of the samples, selections and edits, odd texts."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import ome_types
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from limnd2_xr import Nd2Warning, UnsupportedDtype
from limnd2_xr.arrays.image_roi import ImageRoi
from limnd2_xr.model.rois import Roi, RoiKeyFrame
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPEC = SyntheticSpec(
    loops=(
        TimeLoop(3, period_ms=2000.0),
        PositionLoop((Point(10.0, 20.0, name="A"), Point(30.0, 40.0, name="B"))),
        ZLoop(4, step_um=0.5),
    ),
    width=24,
    height=16,
    channels=(
        ChannelSpec("DAPI", emission_nm=461.0, excitation_nm=405.0),
        ChannelSpec("GFP", emission_nm=510.0, excitation_nm=488.0),
    ),
    significant_bits=12,
    calibration_um=0.325,
    times_ms=np.arange(24) * 250.0 + 500.0,
)


@pytest.fixture(scope="module")
def ds() -> Iterator[xr.Dataset]:
    with xr.open_dataset(build(SPEC).data, engine="nd2") as found:
        yield found


def valid(ome: ome_types.OME) -> Any:
    """Check a document against the schema, and that XML keeps all of it."""
    text = ome.to_xml()
    ome_types.validate_xml(text)
    assert ome_types.from_xml(text) == ome
    return ome


def planes_of(ome: ome_types.OME, image: int = 0) -> dict[tuple[int, int, int], Any]:
    return {(p.the_t, p.the_z, p.the_c): p for p in ome.images[image].pixels.planes}


@pytest.mark.realdata
def test_documents_of_samples_are_valid_and_tell_what_the_dataset_has(
    each_sample: Path,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Nd2Warning)  # a sample lacks a frame
        found = xr.open_dataset(each_sample)
    with found:
        ome = valid(found.nd2.to_ome())
        sizes = {"T": 1, "Z": 1, "S": 1, **found.sizes}
        assert len(ome.images) == found.sizes.get("P", 1)
        pixels = ome.images[0].pixels
        assert (pixels.size_t, pixels.size_z) == (sizes["T"], sizes["Z"])
        assert pixels.size_c == sizes["C"] * sizes["S"]
        assert (pixels.size_y, pixels.size_x) == (sizes["Y"], sizes["X"])
        assert pixels.significant_bits == found.attrs["significant_bits"]
        assert pixels.physical_size_x == found.attrs.get("pixel_size_um")
        assert [c.name for c in pixels.channels] == found["C"].values.tolist()
        for number, image in enumerate(ome.images):
            position = found.isel(P=number) if "P" in found.dims else found
            for name, field in (
                ("time", "delta_t"),
                ("exposure_time", "exposure_time"),
                ("stage_x", "position_x"),
                ("stage_z", "position_z"),
            ):
                told = [getattr(plane, field) for plane in image.pixels.planes]
                expected = known_values(position, name)
                np.testing.assert_array_equal(np.array(told, float), expected)


def known_values(position: xr.Dataset, name: str) -> np.ndarray[Any, Any]:
    """Values of a coordinate plane by plane, NaN for planes that a file lacks."""
    dims = [dim for dim in ("T", "Z", "C") if dim in position.dims]
    like = position["image"].isel(Y=0, X=0, S=0, missing_dims="ignore")
    values = position[name].broadcast_like(like)
    if "missing" in position.coords:
        values = values.where(~position["missing"])
    return values.transpose(*dims).values.ravel()


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", ["confocal_t3_z10_c2", "fluo_c4", "timelapse_t53", "zstack_z11"]
)
def test_documents_agree_with_those_of_nd2(
    name: str, real_file: Callable[[str], Path]
) -> None:
    path = real_file(name)
    with nd2.ND2File(path) as file:
        theirs = file.ome_metadata(include_unstructured=False)
    with xr.open_dataset(path) as found:
        ours = found.nd2.to_ome(annotations=False)
    a, b = ours.images[0], theirs.images[0]
    for field in ("type", "size_x", "size_y", "size_z", "size_c", "size_t"):
        assert getattr(a.pixels, field) == getattr(b.pixels, field), field
    for field in ("physical_size_x", "physical_size_z", "significant_bits"):
        assert getattr(a.pixels, field) == pytest.approx(getattr(b.pixels, field))
    for mine, other in zip(a.pixels.channels, b.pixels.channels, strict=True):
        assert mine.color == other.color
        assert mine.contrast_method == other.contrast_method
        assert mine.acquisition_mode == other.acquisition_mode
        assert mine.pinhole_size == other.pinhole_size
        assert mine.emission_wavelength == other.emission_wavelength
    lens, their_lens = (
        ours.instruments[0].objectives[0],
        theirs.instruments[0].objectives[0],
    )
    for field in ("model", "nominal_magnification", "lens_na"):
        assert getattr(lens, field) == getattr(their_lens, field)
    mine_of, other_of = planes_of(ours), planes_of(theirs)
    assert mine_of.keys() == other_of.keys()
    for at, plane in mine_of.items():
        other = other_of[at]
        assert plane.delta_t == pytest.approx(other.delta_t / 1000, abs=1e-6)
        assert plane.exposure_time == pytest.approx(other.exposure_time / 1000)
        assert plane.position_x == pytest.approx(other.position_x, abs=1e-3)


def test_one_image_a_position_with_its_label_and_planes(ds: xr.Dataset) -> None:
    ome = valid(ds.nd2.to_ome())
    assert [image.stage_label.name for image in ome.images] == ["A", "B"]
    assert [image.stage_label.x for image in ome.images] == [10.0, 30.0]
    pixels = ome.images[1].pixels
    assert pixels.dimension_order.value == "XYCZT"
    order = [(p.the_t, p.the_z, p.the_c) for p in pixels.planes]
    assert order == sorted(order)
    assert planes_of(ome, 1)[2, 3, 1].delta_t == float(ds.time.isel(T=2, P=1, Z=3))
    assert pixels.time_increment == pytest.approx(float(ds["T"][1] - ds["T"][0]))
    assert pixels.physical_size_z == 0.5


def test_selections_are_followed(ds: xr.Dataset) -> None:
    part = ds.isel(T=slice(1, 3), P=1, X=slice(None, None, 2)).sel(C=["GFP"])
    ome = valid(part.nd2.to_ome())
    (image,) = ome.images
    pixels = image.pixels
    assert (pixels.size_t, pixels.size_c, pixels.size_x) == (2, 1, 12)
    assert pixels.channels[0].emission_wavelength == 510.0
    assert pixels.physical_size_x == pytest.approx(0.65)
    assert pixels.physical_size_y == pytest.approx(0.325)
    assert planes_of(ome)[0, 0, 0].delta_t == float(ds.time.isel(T=1, P=1, Z=0))
    one = ds.sel(C="DAPI").isel(T=0, P=0, Z=0).nd2.to_ome().images[0].pixels
    assert (one.size_c, one.size_z, one.size_t, len(one.planes)) == (1, 1, 1, 1)
    assert one.channels[0].name == "DAPI"


def test_edits_are_followed(ds: xr.Dataset) -> None:
    edited = ds.assign_coords(
        C=["one", "two"],
        exposure_time=(("T", "C"), np.arange(6.0).reshape(3, 2) + 1, {"units": "ms"}),
        emission_wavelength=("C", [0.5, 0.6], {"units": "um"}),
    )
    edited.attrs |= {"objective": "Plan Fluor 10x", "operator": "me"}
    edited["image"].attrs |= {"objective": "Plan Fluor 10x"}
    ome = valid(edited.nd2.to_ome())
    channels = ome.images[0].pixels.channels
    assert [c.name for c in channels] == ["one", "two"]
    assert [c.emission_wavelength for c in channels] == pytest.approx([500, 600])
    assert planes_of(ome)[2, 0, 1].exposure_time == pytest.approx(0.006)
    assert ome.instruments[0].objectives[0].model == "Plan Fluor 10x"
    assert ome.instruments[0].objectives[0].correction.value == "PlanFluor"
    notes = {a.namespace: a for a in ome.structured_annotations.map_annotations}
    assert notes["limnd2-xr/attributes"].value["operator"] == "me"


def test_arrays_of_other_origin_and_types() -> None:
    for dtype, told in (("i1", "int8"), ("u4", "uint32"), ("f8", "double")):
        da = xr.DataArray(np.zeros((2, 4, 6), dtype), dims=("U", "Y", "X"))
        ome = valid(da.nd2.to_ome())
        assert [image.pixels.type.value for image in ome.images] == [told, told]
        assert [image.name for image in ome.images] == ["image U=0", "image U=1"]
    with pytest.raises(UnsupportedDtype, match="uint8"):
        xr.DataArray(np.zeros((4, 6), bool), dims=("Y", "X")).nd2.to_ome()
    with pytest.raises(ValueError, match="rename"):
        xr.DataArray(np.zeros((4, 6, 2)), dims=("Y", "X", "time")).nd2.to_ome()


@settings(max_examples=15)
@given(st.text(st.characters(codec=None), min_size=1, max_size=12))
def test_any_text_makes_valid_xml(text: str) -> None:
    da = xr.DataArray(
        np.zeros((1, 1, 2, 2), "u1"),
        dims=("P", "C", "Y", "X"),
        coords={"C": [text], "P": [text]},
        attrs={"description": text, "author": text, "strange": text},
    )
    ome = valid(da.nd2.to_ome())
    name = ome.images[0].pixels.channels[0].name or ""
    assert len(name.replace("\n", "")) <= len(text)
    if text.isprintable():
        assert name == text


def test_wells_of_several_fields_make_a_plate(ds: xr.Dataset) -> None:
    place = {"well": ("P", ["B03", "B03", "A01"])}
    da = xr.DataArray(np.zeros((3, 4, 4), "u2"), dims=("P", "Y", "X"), coords=place)
    (plate,) = valid(da.nd2.to_ome()).plates
    found = {
        (w.row, w.column): [s.image_ref.id for s in w.well_samples] for w in plate.wells
    }
    assert found == {(1, 2): ["Image:0", "Image:1"], (0, 0): ["Image:2"]}
    assert (plate.rows, plate.columns) == (2, 3)
    assert not ds.nd2.to_ome().plates


def with_rois(ds: xr.Dataset, rois: list[ImageRoi], path: Path) -> xr.Dataset:
    ds["image"].nd2.write_nd2(path, rois=rois)
    return xr.open_dataset(path)


def test_rois_have_their_shapes_where_they_are_in_the_selection(
    ds: xr.Dataset, tmp_path: Path
) -> None:
    size: Any = {"width": 24, "height": 16}
    rois = [
        ImageRoi.rectangle((6, 4), (8, 4), **size, label="box"),
        ImageRoi.ellipse((12, 8), (4, 2), **size),
        ImageRoi.polygon([(1, 1), (5, 1), (5, 6)], **size, position=1),
        ImageRoi.line((0, 0), (3, 4), **size),
        ImageRoi.point(20, 15, **size),
        ImageRoi.rectangle((12, 8), (6, 2), **size, rotation=30),
    ]
    with with_rois(ds, rois, tmp_path / "r.nd2") as found:
        ome = valid(found.nd2.to_ome())
        kinds = [type(shape).__name__ for roi in ome.rois for shape in roi.union]
        # Those of a position come after those of all.
        assert kinds == ["Rectangle", "Ellipse", "Line", "Point", "Polygon", "Polygon"]
        box = ome.rois[0].union[0]
        assert (box.x, box.y, box.width, box.height) == pytest.approx((2, 2, 8, 4))
        round_ = ome.rois[1].union[0]
        assert (round_.x, round_.y, round_.radius_x) == pytest.approx((12, 8, 2))
        assert ome.rois[0].name == "box"
        assert [len(image.roi_refs) for image in ome.images] == [5, 6]
        cut = valid(found.isel(P=0, Y=slice(2, 12), X=slice(4, 12)).nd2.to_ome())
        assert [type(next(iter(r.union))).__name__ for r in cut.rois] == [
            "Rectangle",
            "Ellipse",
            "Polygon",
        ]
        moved = cut.rois[0].union[0]
        assert (moved.x, moved.y, moved.width) == pytest.approx((-2, 0, 8))
        uneven = found.isel(Y=[0, 1, 5])
        with pytest.raises(ValueError, match="Y is not equidistant"):
            uneven.nd2.to_ome()
        with pytest.warns(Nd2Warning, match="6 ROIs are left out"):
            uneven.drop_vars("Y").nd2.to_ome()


def test_a_roi_that_moves_has_a_shape_for_each_time(
    ds: xr.Dataset, tmp_path: Path
) -> None:
    frames = (
        RoiKeyFrame(time_ms=0.0, size_x=0.5, size_y=0.5),
        RoiKeyFrame(time_ms=1e6, center_x=1.0, size_x=0.5, size_y=0.5),
    )
    roi = ImageRoi(
        roi=Roi(id=1, shape="ellipse", key_frames=frames), width=24, height=16
    )
    with with_rois(ds, [roi], tmp_path / "r.nd2") as found:
        ome = valid(found.isel(P=0).nd2.to_ome())
        shapes = list(ome.rois[0].union)
        assert [shape.the_t for shape in shapes] == [0, 1, 2]
        seconds = found.time.isel(P=0, Z=0).values
        assert [s.x for s in shapes] == pytest.approx(12 + 12 * seconds / 1000)


@pytest.mark.realdata
def test_annotations_have_the_rest(real_file: Callable[[str], Path]) -> None:
    with xr.open_dataset(real_file("timelapse_t53")) as found:
        ome = valid(found.isel(T=slice(10, 13)).nd2.to_ome())
        maps = {
            a.namespace: a.value for a in ome.structured_annotations.map_annotations
        }
        assert json.loads(maps["limnd2-xr/frames"]["Z Coord [µm]"]) == pytest.approx(
            found.stage_z.values[10:13].tolist()
        )
        chunk = json.loads(maps["limnd2-xr/chunks"]["ImageAttributesLV!"])
        assert chunk["SLxImageAttributes"]["uiWidth"] == 64
        (document,) = ome.structured_annotations.comment_annotations
        assert json.loads(document.value)["attributes"]["width"] == 64
        bare = found.nd2.to_ome(annotations=False)
        assert not list(bare.structured_annotations or ())


def test_a_file_that_is_gone_costs_a_warning(ds: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    path.write_bytes(build(SPEC).data)
    with xr.open_dataset(path) as found:
        found.load()
        path.unlink()
        with pytest.warns(Nd2Warning, match="exported without ROIs"):
            assert len(found.nd2.to_ome().images) == 2


def test_xml_is_written_once_complete(ds: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "a.ome.xml"
    text = ds.nd2.to_ome_xml(path)
    assert path.read_text("utf-8") == text
    assert text.startswith("<?xml")
    with pytest.raises(FileExistsError):
        ds.nd2.to_ome_xml(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.xml"]
