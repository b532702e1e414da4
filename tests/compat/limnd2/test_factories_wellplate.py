"""`WellplateFactory`: wells of frames."""

from __future__ import annotations

from typing import Any

import pytest

from limnd2_xr.compat.limnd2.wellplate_factory import WellplateFactory


def test_wells_of_frames_by_name_and_by_place() -> None:
    factory = WellplateFactory(rows=8, columns=12, plateIndex=2, plateUuid="u")
    factory.addItem(seqIndex=3, well="B03")
    factory.addItem(seqIndex=0, well=(7, 11))
    factory.addItem(seqIndex=1, wellRowIndex=1, wellColIndex=2)
    factory.addItem(seqIndex=2, wellName="a1", plateUuid="v", wellIndex=9)
    info = factory.createWellplateFrameInfo()
    assert [
        (w.seqIndex, w.wellName, w.wellRowIndex, w.wellColIndex, w.wellIndex)
        for w in info
    ] == [
        (0, "H12", 7, 11, 1),
        (1, "B3", 1, 2, 0),
        (2, "a1", 0, 0, 9),
        (3, "B3", 1, 2, 0),
    ]
    assert [(w.plateIndex, w.plateUuid) for w in info] == [
        (2, "u"),
        (2, "u"),
        (2, "v"),
        (2, "u"),
    ]
    unsorted = factory.createWellplateFrameInfo(sort_by_seq=False)
    assert [w.seqIndex for w in unsorted] == [3, 0, 1, 2]
    assert info.nwells == 3


def test_frames_of_wells_may_alternate() -> None:
    factory = WellplateFactory()
    factory.addWell("A1", seqStart=0, frameCount=3, seqStep=2)
    items = factory.addWell("A2", seqStart=5, frameCount=3, seqStep=-2)
    assert [item.seqIndex for item in items] == [5, 3, 1]
    assert "".join(w.wellName[-1] for w in factory.create()[1]) == "121212"


def test_naming_follows_the_size() -> None:
    factory = WellplateFactory(name="p", rows=8, columns=12)
    assert factory.createWellplateDesc().rowNaming == "A-H"
    desc, _ = factory.setPlate(rows=16, columns=24)()
    assert (desc.rowNaming, desc.columnNaming, desc.name) == ("A-P", "1-24", "p")
    desc = factory.setPlate(rowNaming="letter").createWellplateDesc()
    assert (desc.rowNaming, desc.columnNaming) == ("letter", "1-24")


@pytest.mark.parametrize(
    "item",
    [
        {"well": "A0"},
        {"well": "3B"},
        {"well": "I1"},
        {"well": (0, 12)},
        {"well": (-1, 0)},
        {"well": "A1", "wellColIndex": 3},
        {"wellRowIndex": 1},
        {},
        {"well": "A1", "seqIndex": 7},
        {"well": "A1", "seqIndex": -1},
    ],
)
def test_wells_that_there_are_not(item: dict[str, Any]) -> None:
    factory = WellplateFactory(rows=8, columns=12)
    factory.addItem(seqIndex=7, well="A1")
    with pytest.raises(ValueError, match=r"well|seqIndex"):
        factory.addItem(**{"seqIndex": 0, **item})
    assert len(factory.items) == 1


def test_settings_that_mean_nothing() -> None:
    factory = WellplateFactory(rows=8, columns=12)
    factory.addItem(seqIndex=0, well="H12")
    with pytest.raises(ValueError, match="no well in row 7"):
        factory.setPlate(rows=4)
    with pytest.raises(ValueError, match="-1 rows"):
        factory.setPlate(rows=-1)
    with pytest.raises(ValueError, match="seqStep is 0"):
        factory.addWell("A1", seqStart=1, seqStep=0)
    with pytest.raises(ValueError, match="frameCount is 0"):
        factory.addWell("A1", seqStart=1, frameCount=0)
    with pytest.raises(TypeError, match="size"):
        factory.setPlate(size=3)
    assert factory.createWellplateDesc().rows == 8
