from __future__ import annotations

import pytest

from limnd2_xr.model.modality import (
    describe_modality,
    mask_of_old_code,
    modality_flags,
)


@pytest.mark.parametrize(
    ("mask", "flags"),
    [
        (257, ("fluorescence", "camera")),
        (134218241, ("fluorescence", "laserScanConfocal", "gaasp")),
        (1049089, ("fluorescence", "laserScanConfocal", "pmt")),
        (2, ("brightfield",)),
        (1025, ("fluorescence", "spinningDiskConfocal")),
        (0x10, ("phaseContrast",)),
        (0x100_0000_0000, ("pmtGaAs",)),
    ],
)
def test_flags_of_masks_met_in_files(mask: int, flags: tuple[str, ...]) -> None:
    assert modality_flags(mask) == flags


@pytest.mark.parametrize("mask", [0, 1 << 60])
def test_no_known_bit_is_fluorescence_or_for_colour_brightfield(mask: int) -> None:
    assert modality_flags(mask) == ("fluorescence",)
    assert modality_flags(mask, 3) == ("brightfield",)


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (257, "fluorescence"),
        (1025, "fluorescence, spinning disk"),
        (0x100, "camera"),
        (0x22, "brightfield, DIC"),
        (0x2_0101, "fluorescence, TIRF"),
    ],
)
def test_readable_text(mask: int, text: str) -> None:
    assert describe_modality(modality_flags(mask)) == text


def test_unknown_flag_names_are_told_as_they_are() -> None:
    assert describe_modality(("new",)) == "new"
    assert describe_modality(()) == ""


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "fluorescence"),
        (1, "brightfield"),
        (2, "fluorescence, laser scanning confocal"),
        (3, "fluorescence, spinning disk"),
        (4, "fluorescence, swept field slit"),
        (5, "fluorescence, laser scanning confocal, multiphoton"),
        (6, "brightfield, phase contrast"),
        (7, "brightfield, DIC"),
        (8, "fluorescence, laser scanning confocal, spectral"),
        (9, "fluorescence, laser scanning confocal, VAAS NF"),
        (10, "fluorescence, laser scanning confocal, VAAS IF"),
        (11, "fluorescence, laser scanning confocal, VAAS NF"),
        (12, "fluorescence, DSD"),
        (13, "fluorescence"),
        (-1, "fluorescence"),
    ],
)
def test_codes_of_old_files(code: int, text: str) -> None:
    assert describe_modality(modality_flags(mask_of_old_code(code))) == text
