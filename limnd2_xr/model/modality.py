"""Imaging modality of a channel: stored bits to names (FORMAT 8.5, 8.6)."""

from __future__ import annotations

from typing import Final

__all__ = [
    "describe_modality",
    "flags_of_description",
    "known_bits",
    "mask_of_flags",
    "mask_of_old_code",
    "modality_flags",
]

_BITS: Final[dict[int, tuple[str, str]]] = {
    0x1: ("fluorescence", "fluorescence"),
    0x2: ("brightfield", "brightfield"),
    0x4: ("darkfield", "darkfield"),
    0x8: ("namc", "NAMC"),
    0x10: ("phaseContrast", "phase contrast"),
    0x20: ("diContrast", "DIC"),
    0x40: ("RCM", "RCM"),
    0x80: ("VCS", "VCS"),
    0x100: ("camera", "camera"),
    0x200: ("laserScanConfocal", "laser scanning confocal"),
    0x400: ("spinningDiskConfocal", "spinning disk"),
    0x800: ("sweptFieldConfocalSlit", "swept field slit"),
    0x1000: ("sweptFieldConfocalPinhole", "swept field pinhole"),
    0x2000: ("dsdConfocal", "DSD"),
    0x4000: ("SIM", "SIM"),
    0x8000: ("iSIM", "iSIM"),
    0x1_0000: ("multiphoton", "multiphoton"),
    0x2_0000: ("TIRF", "TIRF"),
    0x4_0000: ("liveSR", "LiveSR"),
    0x8_0000: ("lightSheet", "light sheet"),
    0x10_0000: ("pmt", "PMT"),
    0x20_0000: ("spectral", "spectral"),
    0x40_0000: ("vaasIF", "VAAS IF"),
    0x80_0000: ("vaasNF", "VAAS NF"),
    0x100_0000: ("transmitDetector", "transmit detector"),
    0x200_0000: ("nonDescannedDetector", "non-descanned detector"),
    0x400_0000: ("virtualFilter", "virtual filter"),
    0x800_0000: ("gaasp", "GaAsP"),
    0x1000_0000: ("remainder", "remainder"),
    0x2000_0000: ("aux", "AUX"),
    0x4000_0000: ("sora", "SoRa"),
    0x8000_0000: ("customDescription", "custom description"),
    0x1_0000_0000: ("sted", "STED"),
    0x2_0000_0000: ("galvano", "galvano"),
    0x4_0000_0000: ("resonant", "resonant"),
    0x8_0000_0000: ("ax", "AX"),
    0x10_0000_0000: ("storm", "STORM"),
    0x20_0000_0000: ("deepSIM", "DeepSIM"),
    0x40_0000_0000: ("nsparc", "NSPARC"),
    0x80_0000_0000: ("pmtIRGaAsP", "PMT IR-GaAsP"),
    0x100_0000_0000: ("pmtGaAs", "PMT GaAs"),
}
_READABLE: Final = dict(_BITS.values())
_FLAG_BITS: Final = {flag: bit for bit, (flag, _) in _BITS.items()}

_OLD_CODES: Final = {
    0: 0x101,
    1: 0x102,
    2: 0x201,
    3: 0x401,
    4: 0x801,
    5: 0x1_0201,
    6: 0x12,
    7: 0x22,
    8: 0x20_0201,
    9: 0x80_0201,
    10: 0x40_0201,
    11: 0x80_0201,
    12: 0x2001,
}


def modality_flags(mask: int, component_count: int = 1) -> tuple[str, ...]:
    """Names of the bits of ``uiModalityMask``, as the vendor's SDK spells them.

    Parameters
    ----------
    mask
        The stored bits; unknown ones are passed over.
    component_count
        Components of the channel: without any known bit, three mean brightfield and
        one means fluorescence.

    Examples
    --------
    >>> modality_flags(0x401)
    ('fluorescence', 'spinningDiskConfocal')
    """
    found = tuple(name for bit, (name, _) in _BITS.items() if mask & bit)
    return found or (("brightfield",) if component_count == 3 else ("fluorescence",))


def describe_modality(flags: tuple[str, ...]) -> str:
    """Return one readable text for flag names.

    That a camera took the picture is told only where nothing else is known.

    Examples
    --------
    >>> describe_modality(("fluorescence", "camera", "spinningDiskConfocal"))
    'fluorescence, spinning disk'
    """
    told = [name for name in flags if name != "camera"] or list(flags)
    return ", ".join(_READABLE.get(name, name) for name in told)


def flags_of_description(text: str) -> tuple[str, ...]:
    """Return the flag names of a readable text, as `describe_modality` makes it.

    Raises
    ------
    ValueError
        If a part of the text is not known.

    Examples
    --------
    >>> flags_of_description("fluorescence, spinning disk")
    ('fluorescence', 'spinningDiskConfocal')
    """
    names = {readable.lower(): name for name, readable in _READABLE.items()}
    names |= {name.lower(): name for name in _READABLE}
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part.lower() not in names:
            known = ", ".join(_READABLE.values())
            raise ValueError(f"modality {part!r} is not known; known are {known}")
        found.append(names[part.lower()])
    return tuple(found)


def mask_of_flags(flags: tuple[str, ...]) -> int:
    """Bits of ``uiModalityMask`` that stand for flag names.

    Raises
    ------
    ValueError
        If a name is none of the SDK's.

    Examples
    --------
    >>> hex(mask_of_flags(("spinningDiskConfocal", "fluorescence")))
    '0x401'
    """
    mask = 0
    for flag in flags:
        if flag not in _FLAG_BITS:
            known = ", ".join(_FLAG_BITS)
            raise ValueError(f"modality flag {flag!r} has no bit; known are {known}")
        mask |= _FLAG_BITS[flag]
    return mask


def known_bits() -> int:
    """Return all bits of ``uiModalityMask`` that have a name."""
    return sum(_BITS)


def mask_of_old_code(code: int) -> int:
    """Bits that stand for an ``eModality`` code of format 2.x (FORMAT 8.6).

    Unknown codes are widefield fluorescence. 9 (VAAS) is taken as the vendor's SDK and
    nd2 take it; 12 (DSD) is fluorescence too, as the vendor's Python package has it.

    Examples
    --------
    >>> hex(mask_of_old_code(3))
    '0x401'
    """
    return _OLD_CODES.get(code, 0x101)
