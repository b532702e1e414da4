from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.records import (
    FrameRecords,
    RecordedColumn,
    decode_column,
    decode_times,
    parse_columns,
)
from limnd2_xr.model.text import Software, TextInfo
from limnd2_xr.variants.tree import Level


def level(**fields: Any) -> Level:
    made = Level()
    for name, value in fields.items():
        made.add(name, 0, value)
    return made


def test_columns_of_the_table() -> None:
    tags = {
        "Tag0": level(ID="X", Type=3, Group=1, Size=30, Desc="X Coord", Unit="µm"),
        "Tag10": level(ID="Name", Type=1, Size=30),
        "Tag2": level(ID="PFS_STATUS", Type=2, Size=-5),
        "Tag3": level(ID="", Type=2),
        "Tag4": level(ID="odd", Type=17),
    }
    assert parse_columns(level(**tags)) == (
        RecordedColumn(
            id="X", description="X Coord", unit="µm", kind="float", group=1, size=30
        ),
        RecordedColumn(id="PFS_STATUS", kind="int"),
        RecordedColumn(id="odd"),
        RecordedColumn(id="Name", kind="string", size=30),
    )


def test_the_table_may_still_be_wrapped() -> None:
    inner = level(Tag0=level(ID="X"))
    wrapped = Level()
    wrapped.add("CustomTagDescription_v1.0", 0, inner)
    assert parse_columns(wrapped) == (RecordedColumn(id="X"),)


def test_wrong_types_in_the_table_are_refused() -> None:
    with pytest.raises(CorruptChunk, match="field Type"):
        parse_columns(level(Tag0=level(ID="X", Type="three")))


@pytest.mark.parametrize("dtype", ["<f8", "<f4"])
@pytest.mark.parametrize("described", [True, False])
def test_item_size_follows_from_the_bytes(dtype: str, *, described: bool) -> None:
    values = [1.0, 2.5, -3.0]
    column = RecordedColumn(id="Z", kind="float", size=3) if described else None
    found = decode_column(np.array(values, dtype).tobytes(), column, 3)
    assert found.dtype == np.float64
    assert_array_equal(found, values)


def test_whole_numbers() -> None:
    column = RecordedColumn(id="PFS_STATUS", kind="int", size=3)
    data = np.array([1, -2, 3], "<i4").tobytes()
    assert_array_equal(decode_column(data, column, 3), [1, -2, 3])


def test_a_column_longer_or_shorter_than_said() -> None:
    data = np.arange(3.0).tobytes()
    for size in (2, 5, 0):
        column = RecordedColumn(id="X", kind="float", size=size)
        assert_array_equal(decode_column(data, column, 0), [0, 1, 2])


def test_columns_that_cannot_be_numbers_are_refused() -> None:
    with pytest.raises(CorruptChunk, match="whole number of values"):
        decode_column(bytes(13), None, 3)
    texts = RecordedColumn(id="Name", kind="string", size=1)
    with pytest.raises(CorruptChunk, match="holds texts"):
        decode_column(bytes(512), texts, 1)


def test_signalling_nans_are_nans() -> None:
    data = b"\x01\x00\xa0\x7f" * 3
    assert np.isnan(decode_column(data, None, 3)).all()


def test_times_are_always_doubles() -> None:
    assert_array_equal(decode_times(np.array([1.5, 2.5]).tobytes()), [1.5, 2.5])
    with pytest.raises(CorruptChunk, match="whole number of times"):
        decode_times(bytes(12))


def test_records_know_whether_they_have_times() -> None:
    assert not FrameRecords().has_times
    assert not FrameRecords(times_ms=np.array([np.nan])).has_times
    given = FrameRecords(x=np.array([1.0])).with_times(np.array([0.0]))
    assert given.has_times
    assert given.x is not None


def test_text_info_by_number() -> None:
    stored = level(**{f"TextInfoItem_{i}": f"text {i}" for i in range(15)})
    found = TextInfo.from_raw(stored)
    assert (found.image_id, found.author) == ("text 0", "text 4")
    assert (found.description, found.capturing) == ("text 5", "text 6")
    assert (found.date, found.optics, found.app_version) == (
        "text 9",
        "text 13",
        "text 14",
    )
    assert TextInfo.from_raw(level(TextInfoItem_3=7)) == TextInfo()


def test_software() -> None:
    stored = level(
        m_SWNameString="NIS-Elements AR",
        m_VersionString="4.20.01",
        m_GrabberString="A1",
        m_CompanyString="Lab",
    )
    found = Software.from_raw(stored)
    assert found == Software(
        name="NIS-Elements AR", version="4.20.01", grabber="A1", company="Lab"
    )
    assert str(found) == "NIS-Elements AR 4.20.01"
    assert str(Software()) == ""
