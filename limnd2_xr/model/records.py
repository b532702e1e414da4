"""Values recorded for each frame, and the table that describes them (FORMAT 9.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.fields import integer, levels_by_number, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from limnd2_xr.variants.tree import Level

__all__ = [
    "COLUMN_CODES",
    "COLUMN_TABLE",
    "TEXT_SLOT_NBYTES",
    "ColumnKind",
    "FrameRecords",
    "RecordedColumn",
    "decode_column",
    "decode_times",
    "encode_column",
    "parse_columns",
]

ColumnKind: TypeAlias = Literal["unknown", "string", "int", "float"]

COLUMN_TABLE: Final = "CustomTagDescription_v1.0"
"""Name of the table that describes the columns."""
COLUMN_CODES: Final[Mapping[ColumnKind, int]] = {
    "unknown": 0,
    "string": 1,
    "int": 2,
    "float": 3,
}
"""``Type`` of each kind of column."""

_KINDS = {code: kind for kind, code in COLUMN_CODES.items()}
TEXT_SLOT_NBYTES: Final = 512
"""Bytes of a text in a column (FORMAT 9.3)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedColumn:
    """Description of one column that was recorded during acquisition."""

    id: str
    """Name of its chunk: ``CustomData|<id>!``."""
    description: str = ""
    """Title that the user sees, e.g. ``Z Coord``."""
    unit: str = ""
    """Unit, e.g. ``um`` with a micro sign."""
    kind: ColumnKind = "unknown"
    """What its values are."""
    group: int = 0
    """Where it comes from: 1 device, 2 camera, 3 plugin, 4 macro, 0 not said."""
    size: int = 0
    """Values that it should have: one a frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameRecords:
    """Recorded values of each frame, by frame number; None where not recorded."""

    times_ms: npt.NDArray[np.float64] | None = None
    """Milliseconds since the start of the acquisition."""
    x: npt.NDArray[np.float64] | None = None
    """Stage X, um."""
    y: npt.NDArray[np.float64] | None = None
    """Stage Y, um."""
    z: npt.NDArray[np.float64] | None = None
    """Composite stage Z, um: all drives together."""
    z1: npt.NDArray[np.float64] | None = None
    """Position of the first Z drive alone, um."""
    z2: npt.NDArray[np.float64] | None = None
    """Position of the second Z drive alone, um."""

    @property
    def has_times(self) -> bool:
        """Whether any frame has a recorded time."""
        return self.times_ms is not None and bool(np.isfinite(self.times_ms).any())

    def with_times(self, times_ms: npt.NDArray[np.float64]) -> FrameRecords:
        """Return the same records with the times that the frames hold themselves.

        Parameters
        ----------
        times_ms
            The 8-byte time of each frame (FORMAT 1.4), by frame number.
        """
        return replace(self, times_ms=times_ms)


def parse_columns(level: Level) -> tuple[RecordedColumn, ...]:
    """Columns that a decoded ``CustomDataV2_0`` describes, in file order.

    Parameters
    ----------
    level
        The table itself or the root that holds it.

    Raises
    ------
    CorruptChunk
        If a field has the wrong type.
    """
    table = level.level(COLUMN_TABLE) or level
    columns = []
    for tag in levels_by_number(table):
        name = text(tag, "ID")
        if name:
            columns.append(
                RecordedColumn(
                    id=name,
                    description=text(tag, "Desc"),
                    unit=text(tag, "Unit"),
                    kind=_KINDS.get(integer(tag, "Type", 0), "unknown"),
                    group=integer(tag, "Group", 0),
                    size=max(integer(tag, "Size", 0), 0),
                )
            )
    return tuple(columns)


def decode_column(
    data: bytes, column: RecordedColumn | None, frames: int
) -> npt.NDArray[np.float64]:
    r"""Return the values of a numeric column as float64.

    The size of an item follows from the bytes and the number of values, since some
    files store ``Z`` as float32 (FORMAT oddity 29).

    Parameters
    ----------
    data
        Payload of the column's chunk.
    column
        Its description, None if the file has none.
    frames
        Number of values to expect where the description does not say.

    Raises
    ------
    CorruptChunk
        If the bytes are no whole number of values.

    Examples
    --------
    >>> decode_column(b"\x00\x00\x80?" * 3, None, 3)
    array([1., 1., 1.])
    """
    size = column.size if column is not None and column.size else frames
    item = len(data) // size if size and len(data) % size == 0 else 0
    if item not in (4, 8):
        # a column cut or longer than said: 8 bytes are the rule
        item = 4 if len(data) % 8 else 8
    if len(data) % item:
        raise CorruptChunk(f"{len(data)} bytes are no whole number of values")
    if column is not None and column.kind == "string":
        raise CorruptChunk(f"column {column.id} holds texts, not numbers")
    whole = column is not None and column.kind == "int"
    dtype = f"<{'i' if whole else 'f'}{item}"
    with np.errstate(all="ignore"):  # NaN is as good in 8 bytes as in 4
        return np.frombuffer(data, dtype).astype(np.float64)


def encode_column(values: npt.NDArray[Any], name: str) -> tuple[ColumnKind, bytes]:
    r"""Return kind and payload of a recorded column: the inverse of reading one.

    Whole numbers are stored as int32, others as float64, texts in slots of 512 bytes.

    Parameters
    ----------
    values
        One a frame.
    name
        ID of the column, for messages.

    Raises
    ------
    ValueError
        If a value does not fit.

    Examples
    --------
    >>> encode_column(np.array([1, 2]), "PFS_STATUS")
    ('int', b'\x01\x00\x00\x00\x02\x00\x00\x00')
    """
    if values.dtype.kind in "iub":
        span = (int(values.min()), int(values.max())) if values.size else (0, 0)
        if not -(2**31) <= span[0] <= span[1] < 2**31:
            raise ValueError(f"column {name} has numbers that do not fit into int32")
        return "int", values.astype("<i4").tobytes()
    if values.dtype.kind == "f":
        return "float", values.astype("<f8").tobytes()
    if values.dtype.kind not in "UO" or not all(
        isinstance(value, str) for value in values.tolist()
    ):
        raise ValueError(
            f"column {name} holds {values.dtype} values, not numbers or texts"
        )
    slots = []
    for text_value in values.tolist():
        if "\0" in text_value:
            raise ValueError(f"column {name} has a text with NUL: {text_value!r}")
        encoded = (text_value + "\0").encode("utf-16-le")
        if len(encoded) > TEXT_SLOT_NBYTES:
            raise ValueError(f"column {name} has a text of over 255 characters")
        slots.append(encoded.ljust(TEXT_SLOT_NBYTES, b"\0"))
    return "string", b"".join(slots)


def decode_times(data: bytes) -> npt.NDArray[np.float64]:
    """Return the times of ``AcqTimesCache``, float64 milliseconds.

    Raises
    ------
    CorruptChunk
        If the bytes are no whole number of values.
    """
    if len(data) % 8:
        raise CorruptChunk(f"{len(data)} bytes are no whole number of times")
    return np.frombuffer(data, "<f8").astype(np.float64)
