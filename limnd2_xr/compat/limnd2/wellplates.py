"""Well plates: what the plate is like, and in which well each frame was taken."""

from __future__ import annotations

import json
from collections import UserList
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from limnd2_xr.model.frame_wells import (
    FrameWell,
    decode_frame_wells,
    encode_frame_wells,
)
from limnd2_xr.model.plates import Plate, parse_plate, plate_tree
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["WellplateDesc", "WellplateFrameInfo", "WellplateFrameInfoItem"]


@dataclass(kw_only=True)
class WellplateDesc:
    """The plate."""

    name: str = ""
    rows: int = 0
    columns: int = 0
    rowNaming: str = ""
    columnNaming: str = ""

    @property
    def plate(self) -> Plate:
        """The plate in the terms of this package."""
        return Plate(
            name=self.name,
            rows=self.rows,
            columns=self.columns,
            row_naming=self.rowNaming,
            column_naming=self.columnNaming,
        )

    @classmethod
    def from_lv(cls, data: bytes | memoryview) -> WellplateDesc:
        """Return the plate that a chunk describes.

        Parameters
        ----------
        data
            Payload of chunk ``CustomData|WellPlateDesc_0!``.
        """
        plate = parse_plate(decode(data))
        return cls(
            name=plate.name,
            rows=plate.rows,
            columns=plate.columns,
            rowNaming=plate.row_naming,
            columnNaming=plate.column_naming,
        )

    def to_lv(self) -> bytes:
        """Return the payload of chunk ``CustomData|WellPlateDesc_0!``."""
        return encode(plate_tree(self.plate))


@dataclass(init=False)
class WellplateFrameInfoItem:
    """The well of one frame; unknown arguments are passed over."""

    plateIndex: int
    plateUuid: str
    seqIndex: int
    wellIndex: int
    wellName: str
    wellColIndex: int
    wellRowIndex: int

    def __init__(
        self,
        *,
        plateIndex: int = 0,
        plateUuid: str = "",
        seqIndex: int = 0,
        wellIndex: int = 0,
        wellName: str = "",
        wellColIndex: int = 0,
        wellRowIndex: int = 0,
        wellCompactName: str = "",
        **_unknown: Any,
    ) -> None:
        self.plateIndex = plateIndex
        self.plateUuid = plateUuid
        self.seqIndex = seqIndex
        self.wellIndex = wellIndex
        self.wellName = wellName or wellCompactName
        self.wellColIndex = wellColIndex
        self.wellRowIndex = wellRowIndex

    @property
    def wellCompactName(self) -> str:
        """Name of the well."""
        return self.wellName

    @property
    def well(self) -> FrameWell:
        """The well in the terms of this package."""
        return FrameWell(
            frame=self.seqIndex,
            name=self.wellName,
            row=self.wellRowIndex,
            column=self.wellColIndex,
            well_index=self.wellIndex,
            compact_name=self.wellName,
            plate_index=self.plateIndex,
            plate_uuid=self.plateUuid,
        )

    @classmethod
    def of(cls, item: Any) -> WellplateFrameInfoItem:
        """Return an item of a mapping, or of anything with the same attributes."""
        if isinstance(item, cls):
            return item
        if isinstance(item, dict):
            return cls(**item)
        names = (*(field.name for field in fields(cls)), "wellCompactName")
        return cls(
            **{name: getattr(item, name) for name in names if hasattr(item, name)}
        )


class WellplateFrameInfo(UserList[WellplateFrameInfoItem]):
    """The well of each frame.

    Parameters
    ----------
    items
        `WellplateFrameInfoItem`, dicts, or objects with the same attributes.

    Examples
    --------
    >>> info = WellplateFrameInfo([{"seqIndex": 0, "wellName": "B3", "wellIndex": 0}])
    >>> info.nwells, WellplateFrameInfo.from_json(info.to_json()) == info
    (1, True)
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(map(WellplateFrameInfoItem.of, items))

    @property
    def nwells(self) -> int:
        """How many wells there are."""
        return len({(item.plateIndex, item.wellIndex) for item in self.data})

    @staticmethod
    def from_json(data: bytes | str | list[dict[str, Any]]) -> WellplateFrameInfo:
        """Return what a chunk says, or its JSON, or the list in that.

        Parameters
        ----------
        data
            Payload of chunk ``CustomData|WellPlateFrameInfoZJSON!``, or what is in it.
        """
        if isinstance(data, list):
            return WellplateFrameInfo(data)
        if isinstance(data, str):
            data = data.encode()
        return WellplateFrameInfo(
            WellplateFrameInfoItem(
                plateIndex=well.plate_index,
                plateUuid=well.plate_uuid,
                seqIndex=well.frame,
                wellIndex=well.well_index,
                wellName=well.name or well.compact_name,
                wellColIndex=well.column,
                wellRowIndex=well.row,
            )
            for well in decode_frame_wells(bytes(data))
        )

    def to_json(self) -> str:
        """Return the wells as JSON, as the file has them within a zlib stream."""
        return json.dumps(
            [{**asdict(item), "wellCompactName": item.wellName} for item in self.data]
        )

    def to_chunk(self) -> bytes:
        """Return the payload of chunk ``CustomData|WellPlateFrameInfoZJSON!``."""
        return encode_frame_wells(item.well for item in self.data)
