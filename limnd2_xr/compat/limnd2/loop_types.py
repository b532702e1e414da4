"""Enumerations of ``limnd2.experiment``."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

__all__ = ["ExperimentLoopType", "ExperimentType", "ZStackType"]


class ExperimentLoopType(IntEnum):
    """Kinds of loops, as stored."""

    eEtUnknown = 0
    eEtTimeLoop = 1
    eEtXYPosLoop = 2
    eEtXYDiscrLoop = 3
    eEtZStackLoop = 4
    eEtPolarLoop = 5
    eEtSpectLoop = 6
    eEtCustomLoop = 7
    eEtNETimeLoop = 8
    eEtManTimeLoop = 9
    eEtZStackLoopAccurate = 10

    @staticmethod
    def toName(loop_type: int) -> str:
        """Return the letter of a kind, such as ``"t"``."""
        return _words(loop_type).letter

    @staticmethod
    def toLongName(loop_type: int) -> str:
        """Return the name of a kind, such as ``"Z-Stack"``."""
        return _words(loop_type).name

    @staticmethod
    def toShortName(loop_type: int) -> str:
        """Return the short name of a kind, such as ``"XY"``."""
        return _words(loop_type).short


class _Words(NamedTuple):
    letter: str
    name: str
    short: str


_WORDS: Final = {
    0: _Words("?", "Unknown", "?"),
    1: _Words("t", "Time", "T"),
    2: _Words("m", "Multipoint", "XY"),
    3: _Words("m", "Multipoint", "XY"),
    4: _Words("z", "Z-Stack", "Z"),
    5: _Words("!", "Polar", "P"),
    6: _Words("s", "Spectral", "λ"),
    7: _Words("c", "Custom", "C"),
    8: _Words("t", "Time", "T"),
    9: _Words("!", "Time", "T"),
    10: _Words("!", "Z-Stack", "Z"),
}


def _words(loop_type: int) -> _Words:
    return _WORDS.get(int(loop_type), _WORDS[0])


class ExperimentType(IntFlag):
    """What a period of a time loop is for."""

    eEtDefault = 0
    eEtStimulation = 1
    eEtBleaching = 2
    eEtIncubation = 2048
    eEtLiquidHandling = 4096


class ZStackType(IntEnum):
    """How a Z stack was set up."""

    zstBottomToTopFixedTop = 0
    zstBottomToTopFixedBottom = 1
    zstSymmetricRangeFixedHomeBottomToTop = 2
    zstAsymmetricRangeFixedHomeBottomToTop = 3
    zstTopToBottomFixedTop = 4
    zstTopToBottomFixedBottom = 5
    zstSymmetricRangeFixedHomeTopToBottom = 6
    zstAsymmetricRangeFixedHomeTopToBottom = 7
