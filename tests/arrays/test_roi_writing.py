"""ROIs from tables and from pixels, and the chunks that they become."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.arrays.image_roi import ImageRoi
from limnd2_xr.arrays.regions_of_interest import ROI_RASTER, rois_dataset
from limnd2_xr.arrays.roi_table import rois_from_dataset
from limnd2_xr.arrays.roi_writing import roi_payloads
from limnd2_xr.errors import Nd2Warning
from limnd2_xr.frames.masks import decode_rle, encode_rle
from limnd2_xr.model.comparison import same
from limnd2_xr.model.roi_making import RoiWindow
from limnd2_xr.model.roi_tree import rois_tree
from limnd2_xr.model.rois import (
    INTERPRETATIONS,
    ROI_CHUNK,
    SCOPES,
    SHAPES,
    Roi,
    RoiKeyFrame,
    parse_rois,
)
from limnd2_xr.testing.trees import to_xml
from limnd2_xr.variants import lite, xml
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy

TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8
)
NUMBER = st.floats(allow_nan=True)
CODE = st.integers(0, 2**32 - 1)


def coded(names: tuple[str, ...]) -> SearchStrategy[str | int]:
    return st.sampled_from(names) | st.integers(len(names), 2**32 - 1)


KEY_FRAMES = st.builds(
    RoiKeyFrame,
    time_ms=NUMBER,
    enabled=st.booleans(),
    center_x=NUMBER,
    center_y=NUMBER,
    rotation=NUMBER,
    size_x=NUMBER,
    size_y=NUMBER,
    size_z=NUMBER,
    inner_size=st.none() | st.tuples(NUMBER, NUMBER),
    points=st.lists(st.tuples(NUMBER, NUMBER), max_size=3).map(tuple),
)
ROI = st.builds(
    Roi,
    id=st.integers(-(2**31), 2**64 - 1),
    guid=TEXT,
    label=TEXT,
    shape=coded(SHAPES),
    interpretation=coded(INTERPRETATIONS),
    color=st.integers(0, 0xFFFFFF).map("#{:06x}".format),
    scope=coded(SCOPES),
    position=st.none() | st.integers(0, 4),
    stimulation_group=CODE,
    locked=st.booleans(),
    key_frames=st.lists(KEY_FRAMES, max_size=3).map(tuple),
    app_data=CODE,
    gradient_low=NUMBER,
)
SHAPE = (60, 80)
BOX = RoiKeyFrame(center_x=0.25, center_y=-0.5, size_x=0.5, size_y=0.25, rotation=30.0)
ROIS = (
    Roi(
        id=3,
        label="box",
        shape="rectangle",
        key_frames=(BOX, replace(BOX, time_ms=9.0)),
    ),
    Roi(id=9, guid="{A}", label="dot", shape="point", key_frames=(RoiKeyFrame(),)),
    Roi(id=4, label="there", shape="circle", position=1, scope="position"),
)
STORED = lite.encode(rois_tree(ROIS))


def read(payloads: dict[str, bytes]) -> tuple[Roi, ...]:
    return parse_rois(decode(payloads[ROI_CHUNK]))


@given(st.lists(ROI, max_size=5).map(tuple))
def test_a_table_gives_its_rois_back(rois: tuple[Roi, ...]) -> None:
    table = rois_dataset(rois)
    assert same(rois_from_dataset(table), rois)
    assert same(rois_from_dataset(pickle.loads(pickle.dumps(table))), rois)
    assert same(rois_from_dataset(table.map(lambda v: v.astype(object))), rois)


@given(st.lists(ROI, min_size=1, max_size=3).map(tuple), st.data())
def test_rows_can_be_chosen_and_joined(
    rois: tuple[Roi, ...], data: st.DataObject
) -> None:
    table = rois_dataset(rois)
    rows = data.draw(st.lists(st.sampled_from(range(len(rois))), max_size=4))
    wanted = tuple(rois[i] for i in rows)
    assert same(rois_from_dataset(table.isel(roi=rows)), wanted)
    assert same(rois_from_dataset(table.isel(roi=0)), rois[:1])


def test_through_netcdf(tmp_path: Path) -> None:
    rois = (*ROIS, Roi(id=2**64 - 1, label="µ🔬", shape=77, key_frames=(BOX,)))
    rois_dataset(rois).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as table:
        assert rois_from_dataset(table) == rois


def test_one_long_definition_does_not_make_all_of_them_long() -> None:
    points = tuple((i / 7, i / 3) for i in range(3000))
    large = Roi(id=1, shape="polygon", key_frames=(RoiKeyFrame(points=points),))
    rois = (large, *(Roi(id=i) for i in range(2, 400)))
    table = rois_dataset(rois)
    assert table["definition"].nbytes < 2**20
    assert rois_from_dataset(table) == rois


@pytest.mark.parametrize(
    ("column", "row", "value", "change"),
    [
        ("label", 1, "new", {"label": "new"}),
        ("color", 0, "#00ff00", {"color": "#00ff00"}),
        ("guid", 1, "", {"guid": ""}),
        ("id", 0, 77, {"id": 77}),
        ("shape", 0, "ellipse", {"shape": "ellipse"}),
        ("shape", 0, "99", {"shape": 99}),
        ("interpretation", 0, "background", {"interpretation": "background"}),
        ("stimulation_group", 2, 5, {"stimulation_group": 5}),
        ("scope", 0, "any", {"scope": "any"}),
        ("position", 0, 3, {"position": 3, "scope": "position"}),
        ("position", 2, -1, {"position": None, "scope": "global"}),
    ],
)
def test_an_edited_column_counts(
    column: str, row: int, value: Any, change: dict[str, Any]
) -> None:
    table = rois_dataset(ROIS)
    values = table[column].values.astype(object)
    values[row] = value
    table[column] = ("roi", values)
    wanted = list(ROIS)
    wanted[row] = replace(wanted[row], **change)
    assert rois_from_dataset(table) == tuple(wanted)


def test_edited_geometry_is_that_of_the_first_key_frame() -> None:
    table = rois_dataset(ROIS).isel(roi=slice(2))
    table["center_x"][0] = -0.75
    table["rotation"][0] = 10.0
    moved, dot = rois_from_dataset(table)
    first = replace(BOX, center_x=-0.75, rotation=10.0)
    assert moved == replace(ROIS[0], key_frames=(first, ROIS[0].key_frames[1]))
    assert dot == ROIS[1]


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("key_frames", 0, 1, "key_frames .* says 1 of ROI 3, but it has 2"),
        ("center_x", 2, 0.5, "center_x .* of ROI 4, but it has no key frame"),
        ("position", 0, -2, "position .* says -2 of ROI 3, but -1 stands for all"),
        ("shape", 0, "blob", "shape .* says 'blob' of ROI 3: that is none of any, "),
        ("shape", 0, "polygon", "makes ROI 3 a polygon, whose outline it does not"),
        ("shape", 0, "raster", "makes ROI 3 a raster, whose outline it does not"),
        ("label", 0, 7, "column label .* holds 7, which is not a text"),
        ("id", 0, 0.5, "column id .* holds 0.5, which is not a whole number"),
        ("size_x", 0, "wide", "column size_x .* holds 'wide', which is not a number"),
        ("definition", 0, "{", "definition .* does not define one in row 0"),
        ("definition", 0, '{"id": 1, "x": 2}', "row 0: Roi has no field 'x'"),
    ],
)
def test_what_cannot_be_applied_is_refused(
    column: str, row: int, value: Any, message: str
) -> None:
    table = rois_dataset(ROIS)
    values = table[column].values.astype(object)
    values[row] = value
    table[column] = ("roi", values)
    with pytest.raises(ValueError, match=message):
        rois_from_dataset(table)


def test_a_table_with_other_columns_warns_and_of_other_dims_is_refused() -> None:
    table = rois_dataset(ROIS)
    with pytest.warns(Nd2Warning, match="no place for area of the table"):
        assert rois_from_dataset(table.assign(area=("roi", [1.0, 2.0, 3.0]))) == ROIS
    with pytest.raises(ValueError, match="one dim, not other, roi"):
        rois_from_dataset(table.expand_dims(other=2))
    along = table.set_coords("label").assign_coords(roi=[7, 8, 9], T=("T", [0.0, 1.0]))
    assert rois_from_dataset(along) == ROIS


def fresh(**columns: Any) -> xr.Dataset:
    return xr.Dataset({name: ("roi", values) for name, values in columns.items()})


def test_a_table_without_definitions_is_enough_for_simple_shapes() -> None:
    table = fresh(
        shape=["ellipse", "point"],
        label=["a", "b"],
        center_x=[0.5, -0.5],
        center_y=[0.0, 0.25],
        size_x=[0.1, np.nan],
        size_y=[0.2, np.nan],
        position=[-1, 2],
    )
    assert rois_from_dataset(table) == (
        Roi(
            id=0,
            label="a",
            shape="ellipse",
            key_frames=(RoiKeyFrame(center_x=0.5, size_x=0.1, size_y=0.2),),
        ),
        Roi(
            id=0,
            label="b",
            shape="point",
            position=2,
            scope="position",
            key_frames=(RoiKeyFrame(center_x=-0.5, center_y=0.25),),
        ),
    )
    joined = xr.concat(
        [rois_dataset(ROIS), table],
        dim="roi",
        data_vars="all",
        coords="minimal",
        compat="override",
        join="outer",
    )
    assert joined["definition"].isnull().values.tolist() == [False] * 3 + [True] * 2
    assert rois_from_dataset(joined)[:3] == ROIS
    assert [roi.shape for roi in rois_from_dataset(joined)] == [
        "rectangle",
        "point",
        "circle",
        "ellipse",
        "point",
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (fresh(label=["a"]), "row 0 .* has neither a definition nor a shape"),
        (fresh(shape=["polygon"]), "'polygon', which columns do not describe: make it"),
        (fresh(shape=["circle"], center_x=[0.0]), "a circle, has no center_y, size_x,"),
        (
            fresh(shape=["point"], center_x=[np.nan]),
            "a point, has no center_x, center_y",
        ),
    ],
)
def test_rows_that_do_not_describe_a_roi_are_refused(
    table: xr.Dataset, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rois_from_dataset(table)


def test_what_does_not_change_keeps_its_bytes() -> None:
    spelled = lite.encode(rois_tree(ROIS), compressed=True)
    written = xml.encode(to_xml(rois_tree(ROIS)))
    for stored in (STORED, spelled, written):
        assert roi_payloads(ROIS, SHAPE, stored) == {ROI_CHUNK: stored}
        assert roi_payloads(rois_dataset(ROIS), SHAPE, stored) == {ROI_CHUNK: stored}
    images = [ImageRoi(roi=roi, width=80, height=60) for roi in ROIS]
    assert roi_payloads(images, SHAPE, STORED) == {ROI_CHUNK: STORED}


@pytest.mark.parametrize("kind", ["plain", "compressed", "xml", "damaged", "absent"])
def test_the_file_has_just_these_rois_afterwards(kind: str) -> None:
    stored = {
        "plain": STORED,
        "compressed": lite.encode(rois_tree(ROIS), compressed=True),
        "xml": xml.encode(to_xml(rois_tree(ROIS))),
        "damaged": STORED[:-9],
        "absent": None,
    }[kind]
    wanted = (replace(ROIS[1], label="edited"), Roi(id=50, shape="point"))
    payloads = roi_payloads(wanted, SHAPE, stored)
    assert payloads.keys() == {ROI_CHUNK}
    assert read(payloads) == wanted
    assert payloads[ROI_CHUNK].startswith(lite.COMPRESSED_MAGIC) == (
        kind == "compressed"
    )
    assert read(roi_payloads((), SHAPE, STORED)) == ()
    assert roi_payloads((), SHAPE, None) == {}


@given(st.lists(ROI, max_size=4, unique_by=lambda roi: roi.id).map(tuple))
def test_what_is_written_is_read(rois: tuple[Roi, ...]) -> None:
    numbered = [
        replace(
            r, id=r.id or 1 << 40, shape=r.shape if r.shape != "raster" else "point"
        )
        for r in rois
    ]
    found = read(roi_payloads(numbered, SHAPE, STORED))
    order = sorted(numbered, key=lambda r: -1 if r.position is None else r.position)
    assert same(found, tuple(order))


def test_numbers_and_names_are_given_to_rois_without() -> None:
    made = ImageRoi.point(5, 6, width=80, height=60, label="new")
    found = read(roi_payloads([*ROIS, made, made.roi, Roi(id=1)], SHAPE, STORED))
    assert [roi.id for roi in found] == [3, 9, 2, 5, 1, 4]
    assert found[4].guid == ""
    first, second = found[2].guid, found[3].guid
    assert first != second
    assert len(first) == 38
    assert first == first.upper()


def test_a_stored_number_0_stays() -> None:
    stored = lite.encode(rois_tree([Roi(id=0), Roi(id=1)]))
    found = read(roi_payloads([Roi(id=0), Roi(id=1, label="x")], SHAPE, stored))
    assert found == (Roi(id=0), Roi(id=1, label="x"))


def test_rois_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 ROIs have the number 7"):
        roi_payloads([Roi(id=7), Roi(id=7)], SHAPE)
    with pytest.raises(ValueError, match="an image of 9 rows and 8 columns, and this"):
        roi_payloads([ImageRoi(roi=Roi(id=7), width=8, height=9)], SHAPE)
    with pytest.raises(ValueError, match="there is no position -3"):
        roi_payloads([Roi(id=7, position=-3)], SHAPE)
    twice = lite.encode(rois_tree([Roi(id=7), Roi(id=7, position=1)]))
    kept = [Roi(id=7), Roi(id=7, position=1, label="x")]
    assert read(roi_payloads(kept, SHAPE, twice)) == tuple(kept)


# -- raster ROIs ---------------------------------------------------------------------

PIXELS = np.zeros(SHAPE, np.uint32)
PIXELS[2:8, 3:9] = 5
PIXELS[20:30, 40:50] = 6
RASTERS = (Roi(id=5, shape="raster"), Roi(id=6, shape="raster"), Roi(id=7))
RASTER_TREE = lite.encode(rois_tree(RASTERS))
PICTURE = encode_rle(PIXELS)


def on_image(roi: Roi, labels: Any = PIXELS) -> ImageRoi:
    return ImageRoi(roi=roi, width=80, height=60, labels=labels)


@pytest.mark.parametrize("form", ["plain", "table", "image"])
def test_pixels_of_unchanged_raster_rois_keep_their_bytes(form: str) -> None:
    rois: Any = {
        "plain": RASTERS,
        "table": rois_dataset(RASTERS),
        "image": [on_image(roi, PIXELS.copy()) for roi in RASTERS],
    }[form]
    found = roi_payloads(rois, SHAPE, RASTER_TREE, PICTURE)
    assert found == {ROI_CHUNK: RASTER_TREE, ROI_RASTER: PICTURE}


def test_pixels_follow_their_rois() -> None:
    kept = roi_payloads(RASTERS[1:], SHAPE, RASTER_TREE, PICTURE)
    assert (decode_rle(kept[ROI_RASTER]) == np.where(PIXELS == 6, 6, 0)).all()
    none = roi_payloads(RASTERS[2:], SHAPE, RASTER_TREE, PICTURE)
    assert not decode_rle(none[ROI_RASTER]).any()
    fresh = roi_payloads([on_image(RASTERS[0])], SHAPE)
    assert (decode_rle(fresh[ROI_RASTER]) == np.where(PIXELS == 5, 5, 0)).all()
    mask = np.zeros(SHAPE, np.bool_)
    mask[50, 70] = True
    more = ImageRoi.raster(mask, id=8, label="spot")
    both = roi_payloads([*RASTERS, more], SHAPE, RASTER_TREE, PICTURE)
    assert (decode_rle(both[ROI_RASTER]) == PIXELS + mask * np.uint32(8)).all()
    assert read(both)[-1].label == "spot"
    assert (more.to_mask() == mask).all()


def test_pixels_that_are_not_known_or_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="ROI 5 is a raster and its pixels are not"):
        roi_payloads(RASTERS, SHAPE)
    stored = lite.encode(rois_tree(RASTERS[:1]))
    with pytest.raises(ValueError, match="ROI 6 is a raster and its pixels are not"):
        roi_payloads(RASTERS, SHAPE, stored, PICTURE)
    same_place = ImageRoi.raster(PIXELS == 5, id=9)
    with pytest.raises(ValueError, match="raster ROIs overlap"):
        roi_payloads([on_image(RASTERS[0]), same_place], SHAPE)
    with pytest.raises(ValueError, match="labels of shape"):
        roi_payloads([on_image(RASTERS[0], PIXELS[:5])], SHAPE)
    with pytest.raises(ValueError, match="needs a number from 1"):
        roi_payloads([on_image(Roi(id=2**40, shape="raster"))], SHAPE)
    with pytest.raises(ValueError, match="a number from 1 on"):
        ImageRoi.raster(PIXELS > 0, id=0)


def test_pixels_that_are_damaged_stay_unless_they_are_replaced() -> None:
    broken = PICTURE[:20]
    assert roi_payloads(RASTERS, SHAPE, RASTER_TREE, broken)[ROI_RASTER] == broken
    new = [on_image(roi) for roi in RASTERS]
    found = roi_payloads(new, SHAPE, RASTER_TREE, broken)[ROI_RASTER]
    assert (decode_rle(found) == PIXELS).all()


def test_a_part_that_is_all_of_the_image_changes_nothing() -> None:
    whole = RoiWindow(left=0, top=0, width=80, height=60, old_size=(80, 60))
    found = roi_payloads(RASTERS, SHAPE, RASTER_TREE, PICTURE, window=whole)
    assert found == {ROI_CHUNK: RASTER_TREE, ROI_RASTER: PICTURE}


@pytest.mark.parametrize("form", ["plain", "table", "image"])
def test_rois_of_a_part_of_the_image_stay_on_their_pixels(form: str) -> None:
    made = [
        ImageRoi.polygon([(30, 20), (45, 22), (40, 30)], id=1, width=80, height=60),
        ImageRoi.ellipse((40, 30), (9, 5), rotation=20, id=2, width=80, height=60),
        on_image(RASTERS[1]),
    ]
    rois: Any = {
        "plain": [item.roi for item in made],
        "table": rois_dataset([item.roi for item in made]),
        "image": made,
    }[form]
    window = RoiWindow(left=25, top=10, width=40, height=35, old_size=(80, 60))
    stored = lite.encode(rois_tree([item.roi for item in made]))
    found = roi_payloads(rois, (35, 40), stored, PICTURE, window=window)
    labels = decode_rle(found[ROI_RASTER], (35, 40))
    for before, after in zip(made, read(found), strict=True):
        there = ImageRoi(roi=after, width=40, height=35, labels=labels)
        assert (there.to_mask() == before.to_mask()[10:45, 25:65]).all()
    outline = ImageRoi(roi=read(found)[0], width=40, height=35).to_polygon()
    np.testing.assert_allclose(
        outline + np.array([25, 10]), made[0].to_polygon(), atol=1e-9
    )


# -- from pixels ---------------------------------------------------------------------

PIXEL = st.floats(-1e4, 1e4)
SIZE: Any = {"width": 641, "height": 480}


@given(st.lists(st.tuples(PIXEL, PIXEL), min_size=3, max_size=9), st.integers(1, 5000))
def test_polygons_lie_where_they_were_put(
    vertices: list[tuple[float, float]], width: int
) -> None:
    for make in (ImageRoi.polygon, ImageRoi.polyline):
        roi = make(vertices, width=width, height=480)
        np.testing.assert_allclose(roi.to_polygon(), vertices, rtol=0, atol=1e-9)
    line = ImageRoi.line(vertices[0], vertices[1], width=width, height=480)
    np.testing.assert_allclose(line.to_polygon(), vertices[:2], rtol=0, atol=1e-9)
    point = ImageRoi.point(*vertices[0], width=width, height=480)
    np.testing.assert_allclose(point.to_polygon(), vertices[:1], rtol=0, atol=1e-9)


@given(st.tuples(PIXEL, PIXEL), st.tuples(st.floats(0, 1e4), st.floats(0, 1e4)))
def test_boxes_lie_where_they_were_put(
    center: tuple[float, float], size: tuple[float, float]
) -> None:
    (x, y), (w, h) = center, np.array(size) / 2
    corners = [[x - w, y - h], [x + w, y - h], [x + w, y + h], [x - w, y + h]]
    box = ImageRoi.rectangle(center, size, **SIZE)
    np.testing.assert_allclose(box.to_polygon(), corners, rtol=0, atol=1e-8)
    turned = ImageRoi.rectangle(center, size, rotation=90, **SIZE).to_polygon()
    quarter = [[x + h, y - w], [x + h, y + w], [x - h, y + w], [x - h, y - w]]
    np.testing.assert_allclose(turned, quarter, rtol=0, atol=1e-8)
    round_ = ImageRoi.ellipse(center, size, **SIZE)
    reach = np.abs(round_.to_polygon() - center).max(axis=0)
    # Its highest point may lie between two vertices, by the error that is documented.
    np.testing.assert_allclose(reach, [w, h], rtol=0.02, atol=0.06)
    assert (reach <= [w + 1e-8, h + 1e-8]).all()
    assert round_.roi.shape == ("circle" if w == h else "ellipse")


def test_options_of_what_is_made() -> None:
    made = ImageRoi.rectangle(
        (4, 3),
        (2, 2),
        width=8,
        height=6,
        label="spot",
        color="#0000ff",
        position=np.int64(2),
        interpretation="stimulation",
        stimulation_group=3,
        locked=True,
        id=12,
    )
    assert made.roi == Roi(
        id=12,
        label="spot",
        shape="rectangle",
        color="#0000ff",
        scope="position",
        position=2,
        interpretation="stimulation",
        stimulation_group=3,
        locked=True,
        key_frames=(RoiKeyFrame(size_x=0.5, size_y=2 / 3),),
    )
    assert made.to_mask().sum() == 4


def test_what_is_no_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="a polygon has 3 nodes or more, not 2"):
        ImageRoi.polygon([(1, 2), (3, 4)], **SIZE)
    with pytest.raises(ValueError, match=r"have the shape \(n, 2\), x and y of each"):
        ImageRoi.polygon([1, 2, 3], **SIZE)
    with pytest.raises(ValueError, match="that are not finite"):
        ImageRoi.ellipse((np.nan, 1), (2, 3), **SIZE)
    with pytest.raises(ValueError, match="an image of 0 x 5 pixels has no ROIs"):
        ImageRoi.point(1, 2, width=0, height=5)
    with pytest.raises(TypeError, match="colour"):
        ImageRoi.point(1, 2, **SIZE, colour="red")  # type: ignore[call-arg]
