"""``limnd2.wellplate_factory``: which frames were taken in which wells of what plate."""

from __future__ import annotations

import operator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from limnd2_xr.compat.limnd2.wellplates import (
    WellplateDesc,
    WellplateFrameInfo,
    WellplateFrameInfoItem,
)
from limnd2_xr.model.plates import Plate, parse_well, well_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

__all__ = ["WellplateFactory"]

Well: TypeAlias = str | tuple[int, int]


@dataclass(kw_only=True)
class _Settings:
    name: str = ""
    rows: int = 0
    columns: int = 0
    rowNaming: str = ""
    columnNaming: str = ""
    plateIndex: int = 0
    plateUuid: str = ""


class WellplateFactory:
    """Makes the two structures that tell the wells of frames.

    Parameters
    ----------
    name
        Of the plate.
    rows, columns
        Wells that it has; 0 if that is not said.
    rowNaming, columnNaming
        Names of the first and the last, such as ``A-H`` and ``1-12``, which are the
        defaults for the size; ``"letter"`` and ``"number"`` are kept as they are.
    plateIndex, plateUuid
        Number and identifier of the plate, of wells that do not say otherwise.

    Examples
    --------
    >>> factory = WellplateFactory(name="plate", rows=8, columns=12)
    >>> wells = factory.addGrid(["A1", "B03"], framesPerWell=2).create()
    >>> wells[0].rowNaming, [(w.seqIndex, w.wellName) for w in wells[1]]
    ('A-H', [(0, 'A1'), (1, 'A1'), (2, 'B3'), (3, 'B3')])
    """

    def __init__(
        self,
        *,
        name: str = "",
        rows: int = 0,
        columns: int = 0,
        rowNaming: str = "",
        columnNaming: str = "",
        plateIndex: int = 0,
        plateUuid: str = "",
    ) -> None:
        self._plate = _Settings()
        self._items: list[WellplateFrameInfoItem] = []
        self._frames: set[int] = set()
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._next: dict[int, int] = {}
        self.setPlate(
            name=name,
            rows=rows,
            columns=columns,
            rowNaming=rowNaming,
            columnNaming=columnNaming,
            plateIndex=plateIndex,
            plateUuid=plateUuid,
        )

    @property
    def items(self) -> list[WellplateFrameInfoItem]:
        """Wells of frames, in the order in which they were added."""
        return list(self._items)

    def setPlate(self, **settings: Any) -> Self:
        """Change the plate.

        Parameters
        ----------
        **settings
            Arguments of the class.

        Raises
        ------
        TypeError
            If a setting is none.
        ValueError
            If a size is negative, or a well lies outside of the plate.
        """
        plate = _Settings(**{**asdict(self._plate), **settings})
        for what in ("rows", "columns"):
            if operator.index(getattr(plate, what)) < 0:
                raise ValueError(f"a plate of {getattr(plate, what)} {what}")
        for item in self._items:
            _check_inside(plate, item.wellRowIndex, item.wellColIndex)
        self._plate = plate
        return self

    def addItem(
        self,
        *,
        seqIndex: int,
        well: Well | None = None,
        wellName: str | None = None,
        wellRowIndex: int | None = None,
        wellColIndex: int | None = None,
        wellIndex: int | None = None,
        plateIndex: int | None = None,
        plateUuid: str | None = None,
    ) -> WellplateFrameInfoItem:
        """Say in which well a frame was taken.

        Parameters
        ----------
        seqIndex
            Number of the frame.
        well
            ``"A1"``, ``"B03"``, or row and column, counted from 0.
        wellName
            How the well is called; it tells row and column where nothing else does.
        wellRowIndex, wellColIndex
            Row and column, counted from 0.
        wellIndex
            Number of the well; by default in the order of their first frames.
        plateIndex, plateUuid
            Of the plate.

        Raises
        ------
        ValueError
            If no well is given, it is none or lies outside of the plate, or the frame
            is in another one already.
        """
        number = operator.index(seqIndex)
        if number < 0:
            raise ValueError(f"seqIndex is {number}: frames count from 0")
        if number in self._frames:
            raise ValueError(f"frame {number} has a well already")
        row, column = _cell(well, wellName, wellRowIndex, wellColIndex)
        _check_inside(self._plate, row, column)
        plate = self._plate.plateIndex if plateIndex is None else plateIndex
        index = self._index((plate, row, column), wellIndex)
        item = WellplateFrameInfoItem(
            plateIndex=plate,
            plateUuid=self._plate.plateUuid if plateUuid is None else plateUuid,
            seqIndex=number,
            wellIndex=index,
            wellName=wellName or _short_name(row, column),
            wellColIndex=column,
            wellRowIndex=row,
        )
        self._frames.add(number)
        self._items.append(item)
        return item

    def addWell(
        self,
        well: Well,
        *,
        seqStart: int,
        frameCount: int = 1,
        seqStep: int = 1,
        plateIndex: int | None = None,
        plateUuid: str | None = None,
    ) -> list[WellplateFrameInfoItem]:
        """Say that several frames were taken in a well.

        Parameters
        ----------
        well
            As for `addItem`.
        seqStart, frameCount, seqStep
            First frame, how many, and how far from one to the next.
        plateIndex, plateUuid
            Of the plate.

        Raises
        ------
        ValueError
            As for `addItem`; if there are no frames, or the step is 0.
        """
        if not seqStep:
            raise ValueError("seqStep is 0: all frames would be the same")
        if frameCount < 1:
            raise ValueError(f"frameCount is {frameCount}: a well has a frame at least")
        return [
            self.addItem(
                seqIndex=seqStart + i * seqStep,
                well=well,
                plateIndex=plateIndex,
                plateUuid=plateUuid,
            )
            for i in range(frameCount)
        ]

    def addGrid(
        self,
        wells: Iterable[Well],
        *,
        seqStart: int = 0,
        framesPerWell: int = 1,
        seqStep: int = 1,
        plateIndex: int | None = None,
        plateUuid: str | None = None,
    ) -> Self:
        """Say that wells were taken one after another.

        Parameters
        ----------
        wells
            In the order of the frames.
        seqStart, framesPerWell, seqStep
            First frame of the first well, frames of each, and how far from one frame to
            the next.
        plateIndex, plateUuid
            Of the plate.
        """
        start = seqStart
        for well in wells:
            self.addWell(
                well,
                seqStart=start,
                frameCount=framesPerWell,
                seqStep=seqStep,
                plateIndex=plateIndex,
                plateUuid=plateUuid,
            )
            start += framesPerWell * seqStep
        return self

    def createWellplateDesc(self) -> WellplateDesc:
        """Return the plate."""
        plate = self._plate
        named = WellplateDesc(
            name=plate.name,
            rows=plate.rows,
            columns=plate.columns,
            rowNaming=plate.rowNaming,
            columnNaming=plate.columnNaming,
        )
        if plate.rows and plate.columns:
            usual = Plate.of_size(plate.rows, plate.columns)
            named.rowNaming = plate.rowNaming or usual.row_naming
            named.columnNaming = plate.columnNaming or usual.column_naming
        return named

    def createWellplateFrameInfo(
        self, *, sort_by_seq: bool = True
    ) -> WellplateFrameInfo:
        """Return the well of each frame.

        Parameters
        ----------
        sort_by_seq
            By the number of the frame; else as they were added.
        """
        items = self._items
        if sort_by_seq:
            items = sorted(items, key=lambda item: item.seqIndex)
        return WellplateFrameInfo(items)

    def create(self) -> tuple[WellplateDesc, WellplateFrameInfo]:
        """Return both."""
        return self.createWellplateDesc(), self.createWellplateFrameInfo()

    __call__ = create

    def _index(self, well: tuple[int, int, int], given: int | None) -> int:
        """Return the number of a well: the one given, that it has, or the next."""
        plate = well[0]
        known = self._numbers.get(well)
        number = given if given is not None else known
        if number is None:
            number = self._next.get(plate, 0)
        self._numbers.setdefault(well, number)
        self._next[plate] = max(self._next.get(plate, 0), number + 1)
        return number


def _cell(
    well: Well | None, name: str | None, row: int | None, column: int | None
) -> tuple[int, int]:
    """Return row and column from whatever tells them.

    Raises
    ------
    ValueError
        If nothing does, or what does contradicts itself.
    """
    if isinstance(well, str):
        found = parse_well(well)
    elif well is not None:
        found = (operator.index(well[0]), operator.index(well[1]))
    elif row is not None and column is not None:
        found = (operator.index(row), operator.index(column))
    elif name is not None:
        found = parse_well(name)
    else:
        raise ValueError("no well is given: give well, wellName, or row and column")
    told = tuple(
        there if given is None else operator.index(given)
        for given, there in zip((row, column), found, strict=True)
    )
    if told != found:
        raise ValueError(f"well {well!r} is {found}, but row and column say {told}")
    return found


def _check_inside(plate: _Settings, row: int, column: int) -> None:
    size = Plate(rows=plate.rows, columns=plate.columns)
    if not size.has(row, column):
        raise ValueError(
            f"there is no well in row {row} and column {column}, counted from 0, of a "
            f"plate of {plate.rows} x {plate.columns} wells"
        )


def _short_name(row: int, column: int) -> str:
    """Return the name of a well without a leading 0: ``B3``."""
    letters = well_name(row, column).rstrip("0123456789")
    return f"{letters}{column + 1}"
