"""``limnd2.metadata_factory``: picture metadata from what is known of the planes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import numpy as np

from limnd2_xr.compat.limnd2.metadata import PictureMetadata
from limnd2_xr.compat.limnd2.picture_colors import calculateColor
from limnd2_xr.compat.limnd2.picture_enums import (
    PicturePlaneModality,
    PicturePlaneModalityFlags,
)
from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.channel_editing import fresh_picture
from limnd2_xr.model.channels import Channel
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.modality import modality_flags
from limnd2_xr.model.optics import LightPath, Optics
from limnd2_xr.model.picture import Acquisition, julian_day_of

__all__ = ["MetadataFactory", "Plane"]

Modality: TypeAlias = str | PicturePlaneModality | PicturePlaneModalityFlags
Color: TypeAlias = str | tuple[int, int, int]

_UNKNOWN: Final = -1.0
_WHITE: Final = "white"


@dataclass(kw_only=True)
class Plane:
    """What is known of a plane; None where nothing is."""

    name: str | None = None
    modality: Modality | None = None
    """Such as ``"Confocal, Fluo"``, see `PicturePlaneModalityFlags.modality_list`."""
    excitation_wavelength: float | None = None
    """nm"""
    emission_wavelength: float | None = None
    """nm"""
    color: Color | None = None
    """``"blue"``, ``"#0000ff"`` or red, green and blue."""
    objective_magnification: float | None = None
    objective_numerical_aperture: float | None = None
    zoom_magnification: float | None = None
    immersion_refractive_index: float | None = None
    pinhole_diameter: float | None = None
    """µm"""
    camera_name: str | None = None
    microscope_name: str | None = None
    filter_name: str | None = None
    acquisition_time: datetime | None = None
    """Of the first frame; without a zone it is local time."""
    objective_name: str | None = None
    """Not in limnd2, which makes a name of the magnification."""
    exposure_time: float | None = None
    """ms; not in limnd2."""
    component_count: int | None = None
    """Components of the frame: 1, or 3 of RGB; not in limnd2."""


_FIELDS: Final = tuple(entry.name for entry in fields(Plane))


class MetadataFactory:
    """Makes picture metadata of planes.

    Parameters
    ----------
    planes
        `Plane`, or dicts of its fields.
    pixel_calibration
        µm per pixel; -1 or None if it is not known.
    **settings
        Fields of `Plane`, for all planes that do not say otherwise.

    Raises
    ------
    TypeError
        If a setting is no field of `Plane`.

    Examples
    --------
    >>> factory = MetadataFactory(objective_magnification=20, pixel_calibration=0.325)
    >>> plane = factory.addPlane(name="GFP", emission_wavelength=515, color="green")
    >>> plane.modality = "Wide-field"
    >>> metadata = factory.createMetadata()
    >>> metadata.channels[0].emissionWavelengthNm, metadata.objectiveMagnification()
    (515.0, 20.0)
    """

    def __init__(
        self,
        planes: list[Plane | dict[str, Any]] | None = None,
        *,
        pixel_calibration: float | None = _UNKNOWN,
        **settings: Any,
    ) -> None:
        self.pixel_calibration = pixel_calibration
        self.planes: list[Plane] = []
        self._settings = _known(settings)
        for plane in planes or []:
            self.addPlane(plane)

    def addPlane(
        self, plane: Plane | dict[str, Any] | None = None, **settings: Any
    ) -> Plane:
        """Add a plane behind the others.

        Parameters
        ----------
        plane
            What is known of it.
        **settings
            Fields of `Plane`: they come before those of `plane`, and these before those
            of the factory.

        Returns
        -------
        Plane
            It may be changed until the metadata are made.
        """
        given = plane if isinstance(plane, dict) else _fields_of(plane)
        made = Plane(**{**self._settings, **_known(given), **_known(settings)})
        self.planes.append(made)
        return made

    def getChannel(self, key: int | str) -> Plane | None:
        """Return a plane by its number or name; None if there is none.

        Parameters
        ----------
        key
            Number from 0 on, or name.
        """
        if isinstance(key, str):
            return next((plane for plane in self.planes if plane.name == key), None)
        return self.planes[key] if 0 <= key < len(self.planes) else None

    def createMetadata(
        self, *, number_of_channels_fallback: int = 1, is_rgb_fallback: bool = False
    ) -> PictureMetadata:
        """Return metadata of the planes as they are now.

        Parameters
        ----------
        number_of_channels_fallback
            How many planes there are if none was added.
        is_rgb_fallback
            Whether that is one plane of three components.

        Raises
        ------
        ValueError
            If there is no plane, or a value is none that a file can hold.
        """
        planes = self.planes or self._fallback(
            number_of_channels_fallback, is_rgb=is_rgb_fallback
        )
        named = [_named(plane, i) for i, plane in enumerate(planes)]
        channels = tuple(map(_channel, named))
        times = [p.acquisition_time for p in named if p.acquisition_time is not None]
        jd = min(map(_julian_day, times)) if times else None
        document = Nd2Document(
            attributes=_attributes(sum(c.component_count for c in channels)),
            channels=channels,
            optics=self._optics(channels),
            acquisition=Acquisition(frame0_jd=jd),
        )
        made = PictureMetadata.from_var(fresh_picture(document))
        return _with_zooms(made, named)

    __call__ = createMetadata

    def _fallback(self, count: int, *, is_rgb: bool) -> list[Plane]:
        if is_rgb:
            rgb = Plane(name="RGB", modality="Brightfield", component_count=3)
            return [_over(self._settings, rgb)]
        if count < 1:
            raise ValueError(
                f"Metadata factory created invalid metadata: there are {count} planes"
            )
        if count == 1:
            names = [Plane(name="Mono", modality="Wide-field", color="gray")]
        else:
            numbers = range(1, count + 1)
            names = [Plane(name=f"Channel {i}", modality="Wide-field") for i in numbers]
        return [_over(self._settings, plane) for plane in names]

    def _optics(self, channels: tuple[Channel, ...]) -> Optics:
        size = self.pixel_calibration
        if size == _UNKNOWN or size is None:
            size = None
        elif not (math.isfinite(size) and size > 0):
            raise ValueError(
                f"pixel_calibration is {size}: give µm per pixel, or -1 if it is not known"
            )
        paths = [channel.light_path for channel in channels]
        common = {
            entry.name: value
            for entry in fields(LightPath)
            if len({getattr(path, entry.name) for path in paths}) == 1
            and (value := getattr(paths[0], entry.name)) is not None
        }
        return Optics(pixel_size_um=None if size is None else float(size), **common)


def _known(settings: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(settings) - set(_FIELDS))
    if unknown:
        raise TypeError(
            f"a plane has no {', '.join(unknown)}; it has {', '.join(_FIELDS)}"
        )
    return {name: value for name, value in settings.items() if value is not None}


def _fields_of(plane: Plane | None) -> dict[str, Any]:
    return {} if plane is None else {name: getattr(plane, name) for name in _FIELDS}


def _over(settings: dict[str, Any], plane: Plane) -> Plane:
    """Return an invented plane with what is known of all planes."""
    return replace(plane, **settings)


def _named(plane: Plane, index: int) -> Plane:
    return (
        plane if plane.name is not None else replace(plane, name=f"Channel {index + 1}")
    )


def _channel(plane: Plane) -> Channel:
    magnification = _positive(plane, "objective_magnification")
    objective = plane.objective_name
    if objective is None:
        objective = f"{magnification:g}x" if magnification is not None else ""
    exposure = _positive(plane, "exposure_time")
    count = plane.component_count or 1
    if count not in {1, 3}:
        raise ValueError(f"plane {plane.name!r} has {count} components, not 1 or 3")
    color = calculateColor(plane.color if plane.color is not None else _WHITE)
    red, green, blue = color & 0xFF, color >> 8 & 0xFF, color >> 16
    mask = _mask(plane.modality)
    return Channel(
        name=str(plane.name),
        component_count=count,
        color=f"#{red:02x}{green:02x}{blue:02x}",
        emission_nm=_positive(plane, "emission_wavelength"),
        excitation_nm=_positive(plane, "excitation_wavelength"),
        modality_flags=modality_flags(mask) if mask else (),
        exposure_s=None if exposure is None else exposure / 1000,
        pinhole_um=_positive(plane, "pinhole_diameter"),
        filters=(plane.filter_name,) if plane.filter_name else (),
        light_path=LightPath(
            objective=objective,
            magnification=magnification,
            numerical_aperture=_positive(plane, "objective_numerical_aperture"),
            refractive_index=_positive(plane, "immersion_refractive_index"),
            zoom=_positive(plane, "zoom_magnification"),
            camera=plane.camera_name or "",
            microscope=plane.microscope_name or "",
        ),
    )


def _positive(plane: Plane, name: str) -> float | None:
    """Return a number of a plane; None where it is not known: None, -1 or 0."""
    given = getattr(plane, name)
    if given is None or given in {0, _UNKNOWN}:
        return None
    number = float(given)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} of plane {plane.name!r} is {given}: not above 0")
    return number


def _mask(modality: Modality | None) -> int:
    if modality is None:
        return 0
    if isinstance(modality, PicturePlaneModality):
        return int(PicturePlaneModalityFlags.from_modality(modality))
    if isinstance(modality, str):
        return int(PicturePlaneModalityFlags.from_modality_string(modality))
    return int(modality)


def _julian_day(moment: datetime) -> float:
    return julian_day_of(
        np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
    )


def _attributes(components: int) -> Attributes:
    """Return attributes of any frame: of them the number of components counts alone."""
    return Attributes(
        width=1,
        height=1,
        components=components,
        bits_in_memory=8,
        bits_significant=8,
        row_nbytes=-(-components // 4) * 4,
        sequence_count=1,
    )


def _with_zooms(metadata: PictureMetadata, planes: list[Plane]) -> PictureMetadata:
    """Put zooms that differ where those of single planes are."""
    zooms = [_positive(plane, "zoom_magnification") for plane in planes]
    stored = metadata.sPicturePlanes
    if stored is None or len(set(zooms)) == 1:
        return metadata
    settings = [
        replace(one, dRelayLensZoom=_UNKNOWN if zoom is None else zoom)
        for one, zoom in zip(stored.sSampleSetting, zooms, strict=True)
    ]
    return replace(metadata, sPicturePlanes=replace(stored, sSampleSetting=settings))
