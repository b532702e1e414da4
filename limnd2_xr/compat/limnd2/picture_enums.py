"""Enumerations of ``limnd2.metadata``."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

__all__ = [
    "AxisDescription",
    "OpticalFilterNature",
    "OpticalFilterPlacement",
    "OpticalFilterSpectType",
    "OpticalSpectrumPointType",
    "PicturePlaneModality",
    "PicturePlaneModalityFlags",
    "Representation",
    "TimeSourceType",
]


class TimeSourceType(IntEnum):
    """Clock that times are from."""

    etsSW = 0
    etsNIDAQ = 1


class AxisDescription(IntEnum):
    """What an axis of a picture is."""

    eaxdX = 0
    eaxdY = 1
    eaxdT = 2
    eaxdZ = 3
    eaxdPoint = 4


class Representation(IntEnum):
    """What the planes of a picture stand for."""

    eRepDefault = 0
    eRepHDR = 2


class OpticalFilterPlacement(IntEnum):
    """Where a filter is in the light path."""

    eOfpNoFilter = 0
    eOfpExcitation = 1
    eOfpEmission = 2
    eOfpFilterTurret = 3
    eOfpLamp = 4
    eOfnCameraChip = 5
    eOfpUserOverride = 6


class OpticalFilterNature(IntEnum):
    """Colours that a filter is for."""

    eOfnGeneric = 0
    eOfnRGB = 1
    eOfnRed = 2
    eOfnGreen = 4
    eOfnBlue = 8


class OpticalFilterSpectType(IntEnum):
    """What a filter lets through."""

    eOftBandpass = 1
    eOftNarrowBandpass = 2
    eOftLowpass = 3
    eOftHighpass = 4
    eOftBarrier = 5
    eOftMultiplepass = 6
    eOftFull = 7
    eOftEmpty = 8


class OpticalSpectrumPointType(IntEnum):
    """What a point of a spectrum is."""

    eSptInvalid = 0
    eSptPoint = 1
    eSptRaisingEdge = 2
    eSptFallingEdge = 3
    eSptPeak = 4
    eSptRange = 5


class PicturePlaneModality(IntEnum):
    """Modality codes of files of version 2."""

    eModWidefieldFluo = 0
    eModBrightfield = 1
    eModLaserScanConfocal = 2
    eModSpinDiskConfocal = 3
    eModSweptFieldConfocal = 4
    eModMultiPhotonFluo = 5
    eModPhaseContrast = 6
    eModDIContrast = 7
    eModSpectralConfocal = 8
    eModVAASConfocal = 9
    eModVAASConfocalIF = 10
    eModVAASConfocalNF = 11
    eModDSDConfocal = 12


class PicturePlaneModalityFlags(IntFlag):
    """How a plane was taken: light, contrast, hardware, detector."""

    modUnknown = 0
    modFluorescence = 0x1
    modBrightfield = 0x2
    modDarkfield = 0x4
    modNAMC = 0x8
    modPhaseContrast = 0x10
    modDIContrast = 0x20
    modRCM = 0x40
    modVCS = 0x80
    modCamera = 0x100
    modLaserScanConfocal = 0x200
    modSpinDiskConfocal = 0x400
    modSweptFieldConfocalSlit = 0x800
    modSweptFieldConfocalPinholes = 0x1000
    modDSDConfocal = 0x2000
    modSIM = 0x4000
    modISIM = 0x8000
    modMultiPhotonFluo = 0x1_0000
    modTIRF = 0x2_0000
    modLiveSR = 0x4_0000
    modLightSheet = 0x8_0000
    modPMT = 0x10_0000
    modSpectral = 0x20_0000
    modVAAS_IF = 0x40_0000
    modVAAS_NF = 0x80_0000
    modTransmitDetector = 0x100_0000
    modNonDescannedDetector = 0x200_0000
    modVirtualFilter = 0x400_0000
    modGaAsP = 0x800_0000
    modRemainder = 0x1000_0000
    modAUX = 0x2000_0000
    modSora = 0x4000_0000
    modCustomDescChannel = 0x8000_0000
    modSTED = 0x1_0000_0000
    modGalvano = 0x2_0000_0000
    modResonant = 0x4_0000_0000
    modAX = 0x8_0000_0000
    modStorm = 0x10_0000_0000
    modDeepSIM = 0x20_0000_0000
    modNSPARCDetector = 0x40_0000_0000
    modPMT_IRGaAsP = 0x80_0000_0000
    modPMT_GaAs = 0x100_0000_0000

    modMaskLight = modFluorescence | modBrightfield | modDarkfield
    modMaskContrast = modNAMC | modPhaseContrast | modDIContrast
    modMaskDetector = (
        modCamera
        | modPMT
        | modGaAsP
        | modAUX
        | modTransmitDetector
        | modNonDescannedDetector
        | modNSPARCDetector
        | modPMT_IRGaAsP
        | modPMT_GaAs
    )
    modMaskAcqHWType = (
        modRCM
        | modLaserScanConfocal
        | modSpinDiskConfocal
        | modSweptFieldConfocalSlit
        | modSweptFieldConfocalPinholes
        | modDSDConfocal
        | modSIM
        | modISIM
        | modMultiPhotonFluo
        | modTIRF
        | modLiveSR
        | modLightSheet
        | modSora
        | modSTED
        | modStorm
        | modDeepSIM
    )

    @staticmethod
    def from_modality(modality: int) -> PicturePlaneModalityFlags:
        """Return the flags that stand for a code of version 2."""
        from limnd2_xr.model.modality import mask_of_old_code

        return PicturePlaneModalityFlags(mask_of_old_code(int(modality)))

    @staticmethod
    def from_modality_string(text: str) -> PicturePlaneModalityFlags:
        """Return the flags of a modality that is named.

        Parameters
        ----------
        text
            A key of `modality_string_map` (case, spaces, ``-`` and ``,`` do not matter)
            or of `modality_OME_map`.

        Raises
        ------
        ValueError
            If there is no such modality.
        """
        if text in _OME:
            return _OME[text]
        known = {_plain(name): flags for name, flags in _NAMED.items()}
        found = known.get(_plain(text))
        if found is None:
            raise ValueError(
                f"modality {text!r} is not known; known are {', '.join(_NAMED)} and, of "
                f"OME, {', '.join(_OME)}"
            )
        return found

    @staticmethod
    def to_str_list(flags: int) -> list[str]:
        """Return the names of the flags, without ``mod``."""
        return [
            flag.name.removeprefix("mod")
            for flag in PicturePlaneModalityFlags
            if flags & flag and flag.name is not None and "Mask" not in flag.name
        ]

    @staticmethod
    def modality_list() -> list[str]:
        """Return the names that `from_modality_string` knows."""
        return list(_NAMED)

    @staticmethod
    def modality_string_map() -> dict[str, PicturePlaneModalityFlags]:
        """Return flags by the name of a modality."""
        return dict(_NAMED)

    @staticmethod
    def modality_OME_map() -> dict[str, PicturePlaneModalityFlags]:
        """Return flags by what OME calls a modality."""
        return dict(_OME)


def _plain(text: str) -> str:
    return "".join(c for c in text.lower() if c not in " -,")


_F = PicturePlaneModalityFlags
_WIDEFIELD = _F.modFluorescence | _F.modCamera
_BRIGHT = _F.modBrightfield | _F.modCamera
_CONFOCAL = _F.modFluorescence | _F.modLaserScanConfocal

_NAMED: Final = {
    "Unknown": _F.modUnknown,
    "Undefined": _F.modUnknown,
    "Wide-field": _WIDEFIELD,
    "Brightfield": _BRIGHT,
    "Phase": _BRIGHT | _F.modPhaseContrast,
    "DIC": _BRIGHT | _F.modDIContrast,
    "DarkField": _F.modDarkfield | _F.modCamera,
    "TIRF": _WIDEFIELD | _F.modTIRF,
    "Confocal, Fluo": _CONFOCAL,
    "Confocal, Trans": (
        _F.modBrightfield | _F.modLaserScanConfocal | _F.modTransmitDetector
    ),
    "Multi-photon": _CONFOCAL | _F.modMultiPhotonFluo,
    "SFC pinhole": _F.modFluorescence | _F.modSweptFieldConfocalPinholes,
    "SFC slit": _F.modFluorescence | _F.modSweptFieldConfocalSlit,
    "Spinning Disc": _F.modFluorescence | _F.modSpinDiskConfocal,
    "DSD": _F.modFluorescence | _F.modDSDConfocal,
    "NSIM": _F.modFluorescence | _F.modSIM,
    "iSim": _F.modFluorescence | _F.modISIM,
    "RCM": _F.modFluorescence | _F.modRCM,
    "CSU W1-SoRa": _F.modFluorescence | _F.modSora,
    "NSPARC": _CONFOCAL | _F.modNSPARCDetector,
}
_OME: Final = {
    "LaserScanningConfocalMicroscopy": _NAMED["Confocal, Fluo"],
    "SpinningDiskConfocal": _NAMED["Spinning Disc"],
    "SlitScanConfocal": _NAMED["SFC slit"],
    "RescanningConfocal": _NAMED["RCM"],
    "WideField": _NAMED["Wide-field"],
    "Brightfield": _NAMED["Brightfield"],
    "Darkfield": _NAMED["DarkField"],
    "Phase": _NAMED["Phase"],
    "DIC": _NAMED["DIC"],
    "MC": _BRIGHT | _F.modNAMC,
    "MultiPhotonMicroscopy": _NAMED["Multi-photon"],
    "SpectralImaging": _CONFOCAL | _F.modSpectral,
    "TIRF": _NAMED["TIRF"],
    "StructuredIllumination": _NAMED["NSIM"],
    "iSIM": _NAMED["iSim"],
    "Fluorescence": _NAMED["Wide-field"],
}
