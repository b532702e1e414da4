"""``limnd2.metadata``: channels, calibration, objective and settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from limnd2_xr.compat.limnd2.picture_colors import calculateColor
from limnd2_xr.compat.limnd2.picture_enums import (
    AxisDescription,
    OpticalFilterNature,
    OpticalFilterPlacement,
    OpticalFilterSpectType,
    OpticalSpectrumPointType,
    PicturePlaneModality,
    PicturePlaneModalityFlags,
    Representation,
    TimeSourceType,
)
from limnd2_xr.compat.limnd2.picture_planes import (
    CameraSetting,
    DeviceSetting,
    FluorescentProbe,
    ObjectiveSetting,
    OpticalFilter,
    OpticalFilterPath,
    OpticalSpectrum,
    OpticalSpectrumPoint,
    PictureMetadataPicturePlanes,
    PicturePlaneDesc,
    SampleSettings,
    SampleSettingsOC,
)
from limnd2_xr.compat.limnd2.stored_struct import StoredStruct, record, struct
from limnd2_xr.variants.tree import LvType

__all__ = [
    "AxisDescription",
    "CameraSetting",
    "DeviceSetting",
    "FluorescentProbe",
    "ObjectiveSetting",
    "OpticalFilter",
    "OpticalFilterNature",
    "OpticalFilterPath",
    "OpticalFilterPlacement",
    "OpticalFilterSpectType",
    "OpticalSpectrum",
    "OpticalSpectrumPoint",
    "OpticalSpectrumPointType",
    "PictureMetadata",
    "PictureMetadataPicturePlanes",
    "PicturePlaneDesc",
    "PicturePlaneModality",
    "PicturePlaneModalityFlags",
    "Representation",
    "SampleSettings",
    "SampleSettingsOC",
    "TimeSourceType",
    "calculateColor",
]

_BOOL, _I32, _U32 = LvType.BOOL, LvType.INT32, LvType.UINT32
_F64, _TEXT = LvType.DOUBLE, LvType.STRING


@dataclass(frozen=True, kw_only=True)
class PictureMetadata(StoredStruct):
    """What the file says of its first frame; positions in µm."""

    wrapper: ClassVar[str] = "SLxPictureMetadata"
    absent: ClassVar[frozenset[str]] = frozenset(
        {"pPhysicalVar", "baOpticalPathsCorrections"}
    )

    dTimeAbsolute: float = record(_F64, 0.0)
    dTimeMSec: float = record(_F64, 0.0)
    eTimeSource: int = record(_I32, TimeSourceType.etsSW, TimeSourceType)
    dXPos: float = record(_F64, 0.0)
    dYPos: float = record(_F64, 0.0)
    uiRow: int = record(_U32, 0)
    uiCol: int = record(_U32, 0)
    dZPos: float = record(_F64, 0.0)
    bZPosAbsolute: bool = record(_BOOL, default=False)
    dAngle: float = record(_F64, 0.0)
    sPicturePlanes: PictureMetadataPicturePlanes | None = struct(
        PictureMetadataPicturePlanes
    )
    dTemperK: float = record(_F64, 293.0)
    dCalibration: float = record(_F64, -1.0)
    dAspect: float = record(_F64, -1.0)
    dCalibPrecision: float = record(_F64, -1.0)
    bCalibrated: bool = record(_BOOL, default=False)
    wsObjectiveName: str = record(_TEXT, "")
    dObjectiveMag: float = record(_F64, -1.0)
    dObjectiveNA: float = record(_F64, -1.0)
    dRefractIndex1: float = record(_F64, -1.0)
    dRefractIndex2: float = record(_F64, -1.0)
    dZoom: float = record(_F64, -1.0)
    uiPhysicalVarCount: int = record(_U32, 0)
    wsCustomData: str = record(_TEXT, "")
    ePictureXAxis: int = record(_I32, AxisDescription.eaxdX, AxisDescription)
    ePictureYAxis: int = record(_I32, AxisDescription.eaxdY, AxisDescription)
    dTimeAxisCalibration: float = record(_F64, -1.0)
    dZAxisCalibration: float = record(_F64, -1.0)
    dStgLgCT11: float = record(_F64, 1.0)
    dStgLgCT21: float = record(_F64, 0.0)
    dStgLgCT12: float = record(_F64, 0.0)
    dStgLgCT22: float = record(_F64, 1.0)

    @property
    def _planes(self) -> PictureMetadataPicturePlanes:
        return self.sPicturePlanes or PictureMetadataPicturePlanes()

    @property
    def valid(self) -> bool:
        """Whether it says of every component which plane it belongs to."""
        return self._planes.valid

    @property
    def isRgb(self) -> bool:
        """Whether the picture is one plane of three components."""
        planes = self._planes.sPlaneNew
        return len(planes) == 1 and planes[0].uiCompCount == 3

    @property
    def channels(self) -> list[PicturePlaneDesc]:
        """The planes."""
        return self._planes.sPlaneNew

    @property
    def channelNames(self) -> list[str]:
        """Names of the planes; those of three components are ``"RGB"``."""
        return [
            "RGB" if plane.uiCompCount == 3 else plane.sDescription
            for plane in self.channels
        ]

    @property
    def componentNames(self) -> list[str]:
        """Names of the components, in the order in which they are stored."""
        names: list[str] = []
        for plane in self.channels:
            is_rgb = plane.uiCompCount == 3
            names += ["Blue", "Green", "Red"] if is_rgb else [plane.sDescription]
        return names

    @property
    def componentColors(self) -> list[tuple[float, float, float]]:
        """Colours of the components, 0 to 1, in the order in which they are stored."""
        colors: list[tuple[float, float, float]] = []
        for plane in self.channels:
            if plane.uiCompCount == 3:
                colors += [(0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)]
            else:
                colors.append(plane.colorAsClampedTuple)
        return colors

    def makeValid(
        self, comps: int, *, is_rgb: bool = False, **plane_settings: Any
    ) -> PictureMetadata:
        """Return metadata with planes for a number of components.

        Parameters
        ----------
        comps
            Components of a frame.
        is_rgb
            Make one plane of them all, if any have to be made.
        plane_settings
            Fields of planes that have to be made.
        """
        planes = self._planes.makeValid(comps, is_rgb=is_rgb, **plane_settings)
        if planes is self.sPicturePlanes:
            return self
        return replace(self, sPicturePlanes=planes)

    def sampleSettings(
        self, plane: PicturePlaneDesc | int = 0
    ) -> SampleSettings | None:
        """Return what a plane was taken with; None if there is no such plane."""
        if isinstance(plane, int):
            if not -len(self.channels) <= plane < len(self.channels):
                return None
            plane = self.channels[plane]
        return self._planes.settings_of(plane)

    def cameraName(self, plane: PicturePlaneDesc | int = 0) -> str:
        """Return the camera of a plane; ``""`` if it is not known."""
        return str(self._setting(plane, "cameraName", ""))

    def microscopeName(self, plane: PicturePlaneDesc | int = 0) -> str:
        """Return the microscope of a plane; ``""`` if it is not known."""
        return str(self._setting(plane, "microscopeName", ""))

    def opticalConfigurations(self, plane: PicturePlaneDesc | int = 0) -> list[str]:
        """Return the optical configurations of a plane."""
        return list(self._setting(plane, "opticalConfigurations", []))

    def objectiveName(self, plane: PicturePlaneDesc | int = 0) -> str:
        """Return the objective of a plane, else that of the picture."""
        return self._setting(plane, "objectiveName", "") or self.wsObjectiveName

    def objectiveMagnification(self, plane: PicturePlaneDesc | int = 0) -> float:
        """Return the magnification of a plane, else that of the picture; -1: unknown."""
        return self._positive(plane, "objectiveMagnification", self.dObjectiveMag)

    def objectiveNumericAperture(self, plane: PicturePlaneDesc | int = 0) -> float:
        """Return the aperture of a plane, else that of the picture; -1: unknown."""
        return self._positive(plane, "objectiveNumericAperture", self.dObjectiveNA)

    def refractiveIndex(self, plane: PicturePlaneDesc | int = 0) -> float:
        """Return the refractive index of a plane, else that of the picture; -1: unknown."""
        return self._positive(plane, "refractiveIndex", self.dRefractIndex1)

    def _setting(self, plane: PicturePlaneDesc | int, name: str, default: Any) -> Any:
        settings = self.sampleSettings(plane)
        return getattr(settings, name) if settings is not None else default

    def _positive(
        self, plane: PicturePlaneDesc | int, name: str, otherwise: float
    ) -> float:
        found: float = self._setting(plane, name, -1.0)
        return found if found > 0 else otherwise
