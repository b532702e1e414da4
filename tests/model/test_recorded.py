from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.axes import Axes
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.events import Event
from limnd2_xr.model.experiment import (
    Experiment,
    TimeLoop,
    XYPositionLoop,
    ZStackLoop,
)
from limnd2_xr.model.loop_parameters import XYPoint
from limnd2_xr.model.recorded import (
    by_sequence,
    column_chunk,
    column_titles,
    decode_recorded,
    on_axes,
    recorded_table,
)
from limnd2_xr.model.records import RecordedColumn, encode_column

TEXTS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20
).filter(lambda text: not text.startswith("\ufeff"))
COLUMNS = st.one_of(
    hnp.arrays(np.float64, st.integers(0, 6)),
    hnp.arrays(np.int32, st.integers(0, 6)),
    st.lists(TEXTS, max_size=6).map(lambda texts: np.array(texts, np.str_)),
)


@given(COLUMNS)
def test_what_is_written_is_read(values: npt.NDArray[Any]) -> None:
    kind, data = encode_column(values, "X")
    column = RecordedColumn(id="X", kind=kind, size=len(values))
    found = decode_recorded(data, column, 99)
    if len(values):
        assert found.dtype.kind == values.dtype.kind
    assert_array_equal(found, values)


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i4", "<i8"])
@pytest.mark.parametrize("size", [3, 0, 7])
def test_numbers_have_their_own_dtype(dtype: str, size: int) -> None:
    values = np.array([1, 2, 3], dtype)
    kind: Any = "int" if "i" in dtype else "float"
    column = RecordedColumn(id="X", kind=kind, size=size)
    found = decode_recorded(values.tobytes(), column, 3)
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert_array_equal(found, [1, 2, 3])


def slots(*texts: str, nbytes: int = 512) -> bytes:
    return b"".join(
        text.encode("utf-16-le", "surrogatepass").ljust(nbytes, b"\0") for text in texts
    )


def test_texts() -> None:
    column = RecordedColumn(id="Who", kind="string", size=3)
    data = slots("a\0rubbish", "", "xyz", nbytes=20)
    found = decode_recorded(data, column, 3)
    assert_array_equal(found, ["a", "", "xyz"])
    assert found.dtype == np.dtype("<U3")
    # as many slots as there are, whatever was announced
    assert_array_equal(decode_recorded(slots("a", "b"), column, 3), ["a", "b"])
    full = slots("x" * 256)
    assert decode_recorded(full, column, 1)[0] == "x" * 256
    beyond = decode_recorded(slots("\U0001f52c", "\ufeffa", "\ud800"), column, 3)
    assert_array_equal(beyond, ["\U0001f52c", "a", "\ufffd"])
    assert decode_recorded(b"", column, 3).dtype.kind == "U"
    assert decode_recorded(slots("", ""), column, 2).tolist() == ["", ""]


def test_bytes_that_are_no_values() -> None:
    with pytest.raises(CorruptChunk, match="13 bytes"):
        decode_recorded(bytes(13), None, 3)
    with pytest.raises(CorruptChunk, match="513 bytes are no whole number of texts"):
        decode_recorded(bytes(513), RecordedColumn(id="W", kind="string", size=2), 2)


@given(st.binary(max_size=600), st.integers(0, 4), st.integers(0, 2**32))
def test_any_bytes(data: bytes, size: int, frames: int) -> None:
    for kind in ("float", "int", "string", "unknown"):
        column = RecordedColumn(id="X", kind=kind, size=size)
        try:
            found = decode_recorded(data, column, frames)
        except CorruptChunk:
            continue
        assert found.nbytes <= 4 * len(data) + 4


def test_what_cannot_be_stored_is_refused() -> None:
    for values in (
        np.array(["a\0b"]),
        np.array([2**64 - 1], np.uint64),
        np.array([2**31]),
        np.array(["x" * 256]),
        np.array(["\ud800"]),
    ):
        with pytest.raises(ValueError, match=r"column X|surrogates"):
            encode_column(values, "X")


def test_titles() -> None:
    columns = [
        RecordedColumn(id="A", description="Z", unit="um"),
        RecordedColumn(id="B", description="Z", unit="um"),
        RecordedColumn(id="C", description="Z", unit=" "),
        RecordedColumn(id="D", description="Z"),
        RecordedColumn(id="E"),
        RecordedColumn(id="E", description="twice"),
        RecordedColumn(id="F", description="E"),
        RecordedColumn(id="Z", description="Z"),
        RecordedColumn(id="G", description="Index"),
    ]
    assert column_titles(columns, ["Index"]) == {
        "A": "Z [um]",
        "B": "B [um]",
        "C": "Z",
        "D": "D",
        "E": "E",
        "F": "F",
        "Z": "Z (Z)",
        "G": "G",
    }
    assert column_chunk("X") == "CustomData|X!"


@pytest.mark.parametrize("dtype", ["f8", "f4", "i4", "i8", "?", "U3", "O"])
def test_values_on_axes_and_back(dtype: str) -> None:
    axes = Axes(nesting=(("Z", 2), ("T", 3)))
    values = np.arange(6).astype(dtype)
    placed = on_axes(values, axes)
    assert placed.shape == (3, 2)
    assert placed.dtype == values.dtype
    assert placed[1, 0] == values[1]
    assert_array_equal(by_sequence(placed, axes), values)
    short = on_axes(values[:4], axes)
    assert_array_equal(short[0], values[[0, 3]].astype(short.dtype))
    assert short[2, 1] == "" if dtype == "U3" else math.isnan(short[2, 1])
    if dtype == "f4":
        assert short.dtype == np.float32


def test_large_numbers_stay_exact() -> None:
    values = np.array([2**60 + 1])
    assert on_axes(values, Axes(nesting=(("T", 2),)))[0] == 2**60 + 1


def document(*columns: RecordedColumn) -> Nd2Document:
    return Nd2Document(
        attributes=Attributes(
            width=1,
            height=1,
            components=1,
            bits_in_memory=8,
            bits_significant=8,
            row_nbytes=4,
            sequence_count=6,
        ),
        experiment=Experiment(
            loops=(
                TimeLoop(count=1, declared_count=1),
                XYPositionLoop(
                    count=3,
                    declared_count=3,
                    points=(
                        XYPoint(index=0, x_um=0.0, y_um=0.0, name="A"),
                        XYPoint(index=1, x_um=0.0, y_um=0.0, name="B"),
                    ),
                ),
                ZStackLoop(
                    count=2, declared_count=2, step_um=0.5, home_index=1, type_code=4
                ),
            )
        ),
        recorded_columns=columns,
    )


AXES = Axes(nesting=(("T", 1), ("P", 3), ("Z", 2)))


def test_a_table_without_events() -> None:
    described = (
        RecordedColumn(id="S", description="State", kind="int"),
        RecordedColumn(id="gone"),
        RecordedColumn(id="N", kind="string"),
    )
    values = {
        "N": np.array(["x", "y"]),
        "S": np.arange(8, dtype=np.int32),
        "foreign": np.zeros(6),
    }
    times = np.array([0.0, -1.0, 500.0])
    table = recorded_table(document(*described), AXES, times_ms=times, columns=values)
    assert list(table) == [
        "Time [s]",
        "Index",
        "T Index",
        "P Index",
        "Z Index",
        "Position Name",
        "Z-Series",
        "State",
        "N",
    ]
    nan = math.nan
    assert_array_equal(table["Time [s]"], [0.0, nan, 0.5, nan, nan, nan])
    assert_array_equal(table["P Index"], [0, 0, 1, 1, 2, 2])
    assert_array_equal(table["Z Index"], [0, 1] * 3)
    assert_array_equal(table["Position Name"], ["A", "A", "B", "B", "", ""])
    assert_array_equal(table["Z-Series"], [0.0, -0.5] * 3)
    assert_array_equal(table["State"], np.arange(6))
    assert table["State"].dtype == np.int32
    assert table["N"].tolist()[:2] == ["x", "y"]
    assert math.isnan(table["N"][2])


def test_events_stand_among_the_frames() -> None:
    events = [
        Event(time_ms=500.0, description="tie"),
        Event(time_ms=-5.0, meaning=1),
        Event(time_ms=math.nan, meaning=2),
        Event(time_ms=700.0, meaning=7),
    ]
    times = np.array([0.0, 500.0, math.nan, 1000.0, 1500.0, 2000.0])
    table = recorded_table(document(), AXES, times_ms=times, events=events, null=None)
    assert table["Index"].tolist() == [None, 0, 1, 2, None, None, 3, 4, 5, None]
    assert table["Events"].tolist() == [
        "Autofocus",
        *[None] * 3,
        "tie",
        "Command Executed",
        *[None] * 3,
        "User 1 old",
    ]
    shown = table["Time [s]"]
    assert_array_equal(shown[:3].astype(float), [-0.005, 0.0, 0.5])
    assert {len(values) for values in table.values()} == {10}


def test_events_of_frames_without_times() -> None:
    table = recorded_table(document(), AXES, events=[Event(time_ms=1.0, meaning=3)])
    assert_array_equal(table["Index"], [0, 1, 2, 3, 4, 5, math.nan])
    assert_array_equal(table["Time [s]"], [*[math.nan] * 6, 0.001])
    assert recorded_table(document(), Axes())["Index"].tolist() == [0]


def test_two_loops_along_one_dim() -> None:
    axes = Axes(nesting=(("T", 2), ("Z", 2), ("T", 2)))
    table = recorded_table(document(), axes)
    assert table["T Index"].tolist() == [0, 1, 0, 1, 2, 3, 2, 3]
    assert list(table)[:3] == ["Index", "T Index", "Z Index"]
