"""``limnd2.custom_data``: recorded columns, and the form of a laboratory."""

from __future__ import annotations

from collections import UserList
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.model.custom_description import ITEM_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from limnd2_xr.model.custom_description import CustomDescription as Form
    from limnd2_xr.model.custom_description import DescriptionItem
    from limnd2_xr.model.records import RecordedColumn

__all__ = [
    "CustomDescription",
    "CustomDescriptionItem",
    "CustomDescriptionItemType",
    "RecordedData",
    "RecordedDataItem",
    "RecordedDataType",
]

_FIRST: Final = (
    "INDEX",
    "ACQTIME",
    "X",
    "Y",
    "Z",
    "Z1",
    "Z2",
    "PFS_OFFSET",
    "PFS_STATUS",
)


class RecordedDataType(IntEnum):
    """What the values of a column are."""

    eUnknown = 0
    eString = 1
    eInt = 2
    eDouble = 3


_TYPES: Final = {
    "string": RecordedDataType.eString,
    "int": RecordedDataType.eInt,
    "float": RecordedDataType.eDouble,
}


@dataclass(frozen=True, kw_only=True)
class RecordedDataItem:
    """One column, with a value for each frame."""

    ID: str
    Desc: str = ""
    Unit: str = ""
    Type: int = RecordedDataType.eUnknown
    Group: int = 0
    Size: int = 0
    Data: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        with suppress(ValueError):
            object.__setattr__(self, "Type", RecordedDataType(self.Type))

    @property
    def data(self) -> NDArray[Any]:
        """The values; of dtype object for integers and texts."""
        values = np.asarray(self.Data)
        return values.astype(object) if values.dtype.kind in "iuU" else values


class RecordedData(UserList[RecordedDataItem]):
    """All columns.

    Examples
    --------
    >>> columns = RecordedData([RecordedDataItem(ID="X", Data=[1.0, 2.0])])
    >>> columns.findById("X"), columns.findById("Y"), columns.rowCount
    (0, -1, 2)
    """

    @classmethod
    def of(
        cls,
        described: Iterable[RecordedColumn],
        values: Mapping[str, NDArray[Any]],
        times_ms: NDArray[np.float64],
    ) -> RecordedData:
        """Return the columns of a file, behind the number and the time of each frame.

        Parameters
        ----------
        described
            Columns that the file describes.
        values
            Those that it has values of, by ID.
        times_ms
            Time of each frame, NaN where it is not known. There is no column of times
            if none is.
        """
        count = len(times_ms)
        numbers = np.arange(1, count + 1)
        columns = cls(
            [
                RecordedDataItem(
                    ID="INDEX",
                    Desc="Index",
                    Type=RecordedDataType.eInt,
                    Size=count,
                    Data=numbers,
                )
            ]
        )
        if not np.isnan(times_ms).all():
            columns.append(
                RecordedDataItem(
                    ID="ACQTIME",
                    Desc="Acquisition Time",
                    Unit="h:m:s.ms",
                    Type=RecordedDataType.eString,
                    Size=count,
                    Data=np.array([_time_text(time) for time in times_ms.tolist()]),
                )
            )
        for column in described:
            if column.id in values and columns.findById(column.id) < 0:
                columns.append(
                    RecordedDataItem(
                        ID=column.id,
                        Desc=column.description,
                        Unit=column.unit,
                        Type=_TYPES.get(column.kind, RecordedDataType.eUnknown),
                        Group=column.group,
                        Size=column.size,
                        Data=values[column.id],
                    )
                )
        columns.sort()
        return columns

    def findById(self, id: str) -> int:  # noqa: A002 - limnd2's name
        """Return the place of a column; -1 if there is none."""
        return next((at for at, item in enumerate(self.data) if id == item.ID), -1)

    @property
    def rowCount(self) -> int:
        """Rows of the longest column; 0 without columns."""
        return max((len(item.data) for item in self.data), default=0)

    def sort(self, *args: Any, **kwargs: Any) -> None:
        """Put number, time and stage first, or sort as lists do if arguments are given."""
        if args or kwargs:
            self.data.sort(*args, **kwargs)
            return
        places = {name: at for at, name in enumerate(_FIRST)}
        self.data.sort(key=lambda item: places.get(item.ID, len(places)))


def _time_text(milliseconds: float) -> str:
    """Return ``h:mm:ss.ms``; ``""`` for NaN."""
    if not np.isfinite(milliseconds):
        return ""
    seconds, rest = divmod(int(milliseconds), 1000)
    return f"{timedelta(seconds=seconds)}.{rest:03}"


class CustomDescriptionItemType(IntEnum):
    """What an item of a form asks for."""

    Unknown = 0
    Check = 1
    Number = 2
    Text = 3
    Selection = 4
    LongText = 5
    Date = 6


@dataclass(frozen=True, kw_only=True)
class CustomDescriptionItem:
    """One question of a form, and its answer."""

    type: int = CustomDescriptionItemType.Unknown
    id: int = 0
    name: str = ""
    desc: str = ""
    isEmpty: bool = False
    isDefaultEmpty: bool = False
    isMandatory: bool = False
    isEnabled: bool = True
    checked: bool | None = None
    value: float | None = None
    unit: str = ""
    format: int = 0
    digits: int = 0
    text: str | None = None
    selected: int | None = None
    labels: list[str] = field(default_factory=list)
    date: str | None = None
    valueAsText: str = ""

    @classmethod
    def of(cls, item: DescriptionItem) -> CustomDescriptionItem:
        """Return an item of a form of this package."""
        kind = item.kind
        answer = item.answer
        number = answer if isinstance(answer, (int, float)) else None
        return cls(
            type=ITEM_KINDS.index(kind) if isinstance(kind, str) else kind,
            id=item.id,
            name=item.name,
            desc=item.description,
            isEmpty=item.is_empty,
            isDefaultEmpty=item.is_empty_default,
            isMandatory=item.is_mandatory,
            isEnabled=item.is_enabled,
            checked=bool(number) if kind == "check" and number is not None else None,
            value=number if kind == "number" else None,
            unit=item.unit,
            format=item.date_format if kind == "date" else item.number_format,
            digits=item.places,
            text=answer if isinstance(answer, str) else None,
            selected=int(number)
            if kind == "selection" and number is not None
            else None,
            labels=list(item.labels),
            date=item.shown if kind == "date" else None,
            valueAsText=item.shown,
        )


class CustomDescription(UserList[CustomDescriptionItem]):
    """A form and its answers.

    Parameters
    ----------
    items
        Its items.
    name
        Its name.
    """

    def __init__(
        self, items: Iterable[CustomDescriptionItem] = (), name: str = ""
    ) -> None:
        super().__init__(items)
        self.name = name

    @classmethod
    def of(cls, form: Form) -> CustomDescription:
        """Return a form of this package."""
        return cls(map(CustomDescriptionItem.of, form.items), form.name)
