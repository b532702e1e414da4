"""Planes of a picture, and the settings that they were taken with, as stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from limnd2_xr.compat.limnd2.picture_colors import WHITE
from limnd2_xr.compat.limnd2.picture_enums import (
    OpticalFilterNature,
    OpticalFilterPlacement,
    OpticalFilterSpectType,
    OpticalSpectrumPointType,
    PicturePlaneModalityFlags,
    Representation,
)
from limnd2_xr.compat.limnd2.stored_struct import StoredStruct, record, struct, structs
from limnd2_xr.model.wavelengths import wavelengths
from limnd2_xr.variants.tree import LvType

if TYPE_CHECKING:
    from limnd2_xr.variants.tree import Level

__all__ = [
    "CameraSetting",
    "DeviceSetting",
    "FluorescentProbe",
    "ObjectiveSetting",
    "OpticalFilter",
    "OpticalFilterPath",
    "OpticalSpectrum",
    "OpticalSpectrumPoint",
    "PictureMetadataPicturePlanes",
    "PicturePlaneDesc",
    "SampleSettings",
    "SampleSettingsOC",
]

_I32, _U32, _U64 = LvType.INT32, LvType.UINT32, LvType.UINT64
_F64, _BOOL, _TEXT = LvType.DOUBLE, LvType.BOOL, LvType.STRING
_F = PicturePlaneModalityFlags


@dataclass(frozen=True, kw_only=True)
class OpticalSpectrumPoint(StoredStruct):
    """A point of a spectrum; nm."""

    eType: int = record(_U32, 0, OpticalSpectrumPointType)
    dWavelength: float = record(_F64, 0.0)
    dTValue: float = record(_F64, 0.0)


@dataclass(frozen=True, kw_only=True)
class OpticalSpectrum(StoredStruct):
    """What passes at which wavelength."""

    uiCount: int = record(_U32, 0)
    pPoint: list[OpticalSpectrumPoint] = structs(OpticalSpectrumPoint, "Point{}")
    bPoints: bool = record(_BOOL, default=False)


@dataclass(frozen=True, kw_only=True)
class FluorescentProbe(StoredStruct):
    """The dye of a plane."""

    m_sName: str = record(_TEXT, "")
    m_uiColor: int = record(_U32, WHITE)
    m_ExcitationSpectrum: OpticalSpectrum | None = struct(OpticalSpectrum)
    m_EmissionSpectrum: OpticalSpectrum | None = struct(OpticalSpectrum)


@dataclass(frozen=True, kw_only=True)
class OpticalFilter(StoredStruct):
    """A filter in the light path."""

    m_sName: str = record(_TEXT, "")
    m_sUserName: str = record(_TEXT, "")
    m_ePlacement: int = record(_U32, 0, OpticalFilterPlacement)
    m_eNature: int = record(_U32, 0, OpticalFilterNature)
    m_eSpctType: int = record(_U32, 0, OpticalFilterSpectType)
    m_uiColor: int = record(_U32, WHITE)
    m_ExcitationSpectrum: OpticalSpectrum | None = struct(OpticalSpectrum)
    m_EmissionSpectrum: OpticalSpectrum | None = struct(OpticalSpectrum)
    m_MirrorSpectrum: OpticalSpectrum | None = struct(OpticalSpectrum)


@dataclass(frozen=True, kw_only=True)
class OpticalFilterPath(StoredStruct):
    """The filters of a plane."""

    m_sDescr: str = record(_TEXT, "")
    m_uiCount: int = record(_U32, 0)
    m_pFilter: list[OpticalFilter] = structs(OpticalFilter)


@dataclass(frozen=True, kw_only=True)
class PicturePlaneDesc(StoredStruct):
    """A plane: one channel, or the three components of a colour image."""

    uiCompCount: int = record(_U32, 1)
    uiSampleIndex: int = record(_U32, 0)
    uiModalityMask: int = record(_U64, 0)
    pFluorescentProbe: FluorescentProbe | None = struct(FluorescentProbe)
    pFilterPath: OpticalFilterPath | None = struct(OpticalFilterPath)
    dLampVoltage: float = record(_F64, 0.0)
    dFadingCorr: float = record(_F64, 0.0)
    uiColor: int = record(_U32, WHITE)
    sDescription: str = record(_TEXT, "")
    dAcqTime: float = record(_F64, 0.0)
    dPinholeDiameter: float = record(_F64, -1.0)
    iChannelSeriesIndex: int = record(_I32, -1)
    iCapturedPlaneIndex: int = record(_I32, 0)
    dObjCalibration1to1: float = record(_F64, -1.0)

    index: int = 0
    """Which plane of the picture it is."""

    @property
    def sizeObjFullChip_cx(self) -> int:
        """Width of the whole chip in pixels; 0 where that is not stored."""
        return int(self.get("sizeObjFullChip.cx", 0))

    @property
    def sizeObjFullChip_cy(self) -> int:
        """Height of the whole chip in pixels; 0 where that is not stored."""
        return int(self.get("sizeObjFullChip.cy", 0))

    @property
    def emissionWavelengthNm(self) -> float:
        """Emission, nm; 0 if it is not known."""
        return wavelengths(self.to_tree(), self.index)[0] or 0.0

    @property
    def excitationWavelengthNm(self) -> float:
        """Excitation, nm; 0 if it is not known."""
        return wavelengths(self.to_tree(), self.index)[1] or 0.0

    @property
    def isFluorescence(self) -> bool:
        """Whether fluorescence was taken."""
        return bool(self.uiModalityMask & _F.modFluorescence)

    @property
    def isBrightfield(self) -> bool:
        """Whether it is a brightfield image."""
        return bool(self.uiModalityMask & _F.modBrightfield)

    @property
    def isDarkfield(self) -> bool:
        """Whether it is a darkfield image."""
        return bool(self.uiModalityMask & _F.modDarkfield)

    @property
    def isContrast(self) -> bool:
        """Whether it is a phase, DIC or modulation contrast image."""
        return bool(self.uiModalityMask & _F.modMaskContrast)

    @property
    def modalityList(self) -> list[str]:
        """Names of the modality's flags."""
        return PicturePlaneModalityFlags.to_str_list(self.uiModalityMask)

    @property
    def colorAsTuple(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        color = self.uiColor
        return color & 0xFF, color >> 8 & 0xFF, color >> 16 & 0xFF

    @property
    def colorAsClampedTuple(self) -> tuple[float, float, float]:
        """Red, green and blue, 0 to 1."""
        red, green, blue = self.colorAsTuple
        return red / 255, green / 255, blue / 255

    @property
    def colorAsHtmlString(self) -> str:
        """Colour as ``#rrggbb``."""
        return "#{:02x}{:02x}{:02x}".format(*self.colorAsTuple)


@dataclass(frozen=True, kw_only=True)
class CameraSetting(StoredStruct):
    """The camera, with all its properties by their stored names."""

    CameraUniqueName: str = record(_TEXT, "")
    CameraUserName: str = record(_TEXT, "")
    CameraFamilyName: str = record(_TEXT, "")


@dataclass(frozen=True, kw_only=True)
class DeviceSetting(StoredStruct):
    """The microscope and its devices, by their stored names."""

    m_sMicroscopeFullName: str = record(_TEXT, "")
    m_sMicroscopeShortName: str = record(_TEXT, "")
    m_sMicroscopePhysFullName: str = record(_TEXT, "")


@dataclass(frozen=True, kw_only=True)
class ObjectiveSetting(StoredStruct):
    """The objective."""

    wsObjectiveName: str = record(_TEXT, "")
    wsObjectiveCode: str = record(_TEXT, "")
    dObjectiveMag: float = record(_F64, -1.0)
    dObjectiveNA: float = record(_F64, -1.0)
    dRefractIndex: float = record(_F64, -1.0)


@dataclass(frozen=True, kw_only=True)
class SampleSettingsOC(StoredStruct):
    """An optical configuration."""

    uiOCTypeKey: int = record(_U32, 0)
    sOpticalConfigName: str = record(_TEXT, "")


@dataclass(frozen=True, kw_only=True)
class SampleSettings(StoredStruct):
    """What one or more planes were taken with; exposure in ms."""

    pCameraSetting: CameraSetting | None = struct(CameraSetting)
    pDeviceSetting: DeviceSetting | None = struct(DeviceSetting)
    pObjectiveSetting: ObjectiveSetting | None = struct(ObjectiveSetting)
    uiOpticalConfigs: int = record(_U32, 0)
    sOpticalConfigs: list[SampleSettingsOC] = structs(SampleSettingsOC)
    sSpecSettings: str = record(_TEXT, "")
    dExposureTime: float = record(_F64, 0.0)
    uiModeFQ: int = record(_U32, 0)
    dScalingToIntensity: float = record(_F64, 0.0)
    dRelayLensZoom: float = record(_F64, -1.0)
    dObjectiveToPinholeZoom: float = record(_F64, -1.0)

    absent: ClassVar[frozenset[str]] = frozenset(
        {
            "baScanArea",
            "matCameraToStage",
            "dZOffset",
            "dCalibration1To1",
            "dCameraCalibrationZoom",
        }
    )

    @property
    def cameraName(self) -> str:
        """Name of the camera; ``""`` if it is not known."""
        camera = self.pCameraSetting
        if camera is None:
            return ""
        return camera.CameraUserName or camera.CameraFamilyName

    @property
    def microscopeName(self) -> str:
        """Name of the microscope; ``""`` if it is not known."""
        device = self.pDeviceSetting
        return device.m_sMicroscopeFullName if device is not None else ""

    @property
    def objectiveName(self) -> str:
        """Name of the objective; ``""`` if it is not known."""
        return str(self._objective("wsObjectiveName", ""))

    @property
    def objectiveCode(self) -> str:
        """Order code of the objective; ``""`` if it is not known."""
        return str(self._objective("wsObjectiveCode", ""))

    @property
    def objectiveMagnification(self) -> float:
        """Magnification of the objective; 0 if no objective is stored."""
        return float(self._objective("dObjectiveMag", 0.0))

    @property
    def objectiveNumericAperture(self) -> float:
        """Numerical aperture of the objective; 0 if no objective is stored."""
        return float(self._objective("dObjectiveNA", 0.0))

    @property
    def refractiveIndex(self) -> float:
        """Refractive index of the immersion; 0 if no objective is stored."""
        return float(self._objective("dRefractIndex", 0.0))

    @property
    def opticalConfigurations(self) -> list[str]:
        """Names of the optical configurations."""
        return [config.sOpticalConfigName for config in self.sOpticalConfigs]

    def _objective(self, name: str, default: Any) -> Any:
        setting = self.pObjectiveSetting
        return getattr(setting, name) if setting is not None else default


@dataclass(frozen=True, kw_only=True)
class PictureMetadataPicturePlanes(StoredStruct):
    """All planes of a picture, and the settings that they share."""

    uiCount: int = record(_U32, 0)
    uiCompCount: int = record(_U32, 0)
    sPlaneNew: list[PicturePlaneDesc] = structs(PicturePlaneDesc, "a{}")
    uiSampleCount: int = record(_U32, 0)
    sSampleSetting: list[SampleSettings] = structs(SampleSettings, "a{}")
    sDescription: str = record(_TEXT, "")
    eRepresentation: int = record(_U32, 0, Representation)

    def __post_init__(self, _stored: Level | None) -> None:
        super().__post_init__(_stored)
        numbered = [
            plane if plane.index == i else replace(plane, index=i)
            for i, plane in enumerate(self.sPlaneNew)
        ]
        object.__setattr__(self, "sPlaneNew", numbered)

    @property
    def valid(self) -> bool:
        """Whether there are planes, and their components are as many as announced."""
        components = sum(plane.uiCompCount for plane in self.sPlaneNew)
        return bool(self.sPlaneNew) and components == self.uiCompCount

    def settings_of(self, plane: PicturePlaneDesc) -> SampleSettings | None:
        """Return what a plane was taken with; None where that is not stored."""
        settings = self.sSampleSetting
        number = plane.uiSampleIndex
        if number >= len(settings):
            number = 0
        return settings[number] if settings else None

    def makeValid(
        self, comps: int, *, is_rgb: bool = False, **plane_settings: Any
    ) -> PictureMetadataPicturePlanes:
        """Return planes for a number of components: these if they fit, else new ones.

        Parameters
        ----------
        comps
            Components of a frame.
        is_rgb
            Make one plane of them all.
        plane_settings
            Fields of new planes.
        """
        if self.valid and self.uiCompCount == comps:
            return self
        names = [f"Channel_{number}" for number in range(comps)]
        modality = _F.modFluorescence
        if is_rgb:
            names, modality = ["RGB"], _F.modBrightfield
        elif comps == 1:
            names = ["Mono"]
        planes = [
            PicturePlaneDesc(
                **{
                    "uiCompCount": comps // len(names),
                    "sDescription": name,
                    "uiModalityMask": int(modality),
                    **plane_settings,
                }
            )
            for name in names
        ]
        return replace(self, uiCount=len(names), uiCompCount=comps, sPlaneNew=planes)
