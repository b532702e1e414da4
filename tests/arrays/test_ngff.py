"""Parts of OME-Zarr metadata, as the specification has them."""

from __future__ import annotations

import pytest
import yaozarrs

from limnd2_xr.arrays.ngff import (
    Axis,
    channel_entry,
    multiscales_entry,
    plate_content,
    rendering,
    well_cell,
    well_content,
)


def test_a_plate_has_all_of_its_rows_and_columns() -> None:
    found = plate_content({(27, 2): 1, (0, 0): 3}, name="screen", columns=12)
    assert [one["name"] for one in found["columns"]] == [str(n) for n in range(1, 13)]
    assert [one["name"] for one in found["rows"]][-3:] == ["Z", "AA", "AB"]
    assert [one["path"] for one in found["wells"]] == ["A/1", "AB/3"]
    assert found["field_count"] == 3
    yaozarrs.v05.Plate.model_validate({"plate": {"version": "0.5", **found}})
    assert "name" not in plate_content({(0, 0): 1})


def test_a_well_names_its_images() -> None:
    content = well_content(2)
    assert [image["path"] for image in content["images"]] == ["0", "1"]
    yaozarrs.v05.Well.model_validate({"well": {"version": "0.5", **content}})
    assert well_cell(26, 99) == ("AA", "100")


@pytest.mark.parametrize(
    ("shown", "window"),
    [
        (None, (0.0, 4095.0, 0.0, 4095.0)),
        ((10.0, 99.0), (10.0, 99.0, 0.0, 4095.0)),
        ((-5.0, 9000.0), (-5.0, 9000.0, -5.0, 9000.0)),
    ],
)
def test_what_is_shown_is_within_the_limits(
    shown: tuple[float, float] | None, window: tuple[float, ...]
) -> None:
    entry = channel_entry("GFP", "00FF00", (0.0, 4095.0), shown)
    found = entry["window"]
    assert (found["start"], found["end"], found["min"], found["max"]) == window


def test_an_image_with_levels_is_valid() -> None:
    axes = [Axis(dim="C"), *(Axis(dim=d, unit="micrometer", scale=0.5) for d in "YX")]
    levels = {"0": {}, "1": {"Y": 2, "X": 2}}
    content = {
        "multiscales": [multiscales_entry("cells", axes, levels)],
        "omero": {
            "channels": [channel_entry("GFP", "00FF00", (0.0, 1.0), None)],
            "rdefs": rendering(5),
        },
    }
    image = yaozarrs.v05.Image.model_validate(content)
    assert [axis.type for axis in image.multiscales[0].axes] == [
        "channel",
        "space",
        "space",
    ]
    assert rendering(5)["defaultZ"] == 2
