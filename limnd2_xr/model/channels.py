"""Channels: the picture planes of a frame (FORMAT 8.2-8.9).

A channel owns one component of the frame, or three where it is RGB. The components of
a frame are those of its channels, in order; an RGB channel stores blue, green, red.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.fields import integer, levels_by_number, positive, text, unwrap
from limnd2_xr.model.modality import (
    describe_modality,
    mask_of_old_code,
    modality_flags,
)
from limnd2_xr.model.optics import (
    LightPath,
    plane_light_path,
    sample_setting,
    sample_settings,
    stored_planes,
)
from limnd2_xr.model.wavelengths import wavelengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limnd2_xr.model.attributes import Attributes
    from limnd2_xr.variants.tree import Level

__all__ = [
    "Channel",
    "channel_names",
    "default_channels",
    "parse_channel",
    "parse_channels",
    "plane_numbers",
    "samples_per_channel",
    "uniform_channels",
    "unique_names",
]

_MAX_CHANNELS: Final = 0x1_0000
_FAST_MODE: Final = 1
_RGB_STORED: Final = ("B", "G", "R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """One channel of a frame; what is not known is None or empty.

    Examples
    --------
    >>> Channel(name="DAPI", color="#0033ff", emission_nm=450.0).is_rgb
    False
    """

    name: str = ""
    """Name as stored; may be empty."""
    component_count: int = 1
    """Components of the frame that belong to it: 1, or 3 where it is RGB."""
    color: str = "#ffffff"
    """Display colour, ``#rrggbb``."""
    emission_nm: float | None = None
    """Emission wavelength; never given for RGB, where one number means nothing."""
    excitation_nm: float | None = None
    """Excitation wavelength; never given for RGB."""
    modality: str = ""
    """How the picture was taken, readable, e.g. ``fluorescence, spinning disk``."""
    modality_flags: tuple[str, ...] = ()
    """The same as the flag names of the vendor's SDK."""
    exposure_s: float | None = None
    """Exposure time."""
    binning: str | None = None
    """Camera binning, X by Y, e.g. ``2x2``."""
    pinhole_um: float | None = None
    """Diameter of the confocal pinhole."""
    light_path: LightPath = field(default_factory=LightPath)
    """Objective, camera and zoom of this channel."""
    probe: str = ""
    """Name of the fluorescent probe."""
    filters: tuple[str, ...] = ()
    """Names of the filters in the light path."""
    optical_configuration: str = ""
    """Name of the optical configuration that it was taken with."""

    @property
    def is_rgb(self) -> bool:
        """Whether it has three components, stored blue, green, red."""
        return self.component_count == 3

    @property
    def camera(self) -> str:
        """Name of the camera or detector unit."""
        return self.light_path.camera

    @property
    def magnification(self) -> float | None:
        """Magnification of the objective."""
        return self.light_path.magnification

    @property
    def numerical_aperture(self) -> float | None:
        """Numerical aperture of the objective."""
        return self.light_path.numerical_aperture

    @property
    def refractive_index(self) -> float | None:
        """Refractive index of the immersion medium."""
        return self.light_path.refractive_index

    @property
    def zoom(self) -> float | None:
        """Zoom magnification."""
        return self.light_path.zoom


def parse_channels(
    picture: Level, attributes: Attributes, optics_text: str = ""
) -> tuple[Channel, ...]:
    """Channels of decoded picture metadata, fitted to the components of the frame.

    Where the planes do not add up to the components of the frame, the frame is right
    (FORMAT oddity 19): planes keep their names if each can have the same number of
    components, 1 or 3; else `default_channels` stand in. A mix of mono and RGB planes
    is split, see `uniform_channels`.

    Parameters
    ----------
    picture
        Decoded ``SLxPictureMetadata``.
    attributes
        Attributes of the file: they say how many components a frame has.
    optics_text
        What the text info says about the optics.

    Raises
    ------
    CorruptChunk
        If a field has the wrong type.
    """
    planes = picture.level("sPicturePlanes", create=True)
    settings = sample_settings(planes)
    found = [
        parse_channel(plane, sample_setting(settings, plane), picture, i, optics_text)
        for i, plane in enumerate(stored_planes(planes))
    ]
    counts = _fitted([c.component_count for c in found], attributes.components)
    if counts is None:
        return default_channels(attributes)
    return uniform_channels(
        [
            channel
            if channel.component_count == count
            else replace(channel, component_count=count)
            for channel, count in zip(found, counts, strict=True)
        ]
    )


def plane_numbers(picture: Level, attributes: Attributes) -> tuple[int, ...] | None:
    """Return the number of the plane that each channel of `parse_channels` comes from.

    None where `default_channels` stand in for planes.

    Parameters
    ----------
    picture
        Decoded ``SLxPictureMetadata``.
    attributes
        Attributes of the file.
    """
    planes = stored_planes(picture.level("sPicturePlanes", create=True))
    stored = [integer(plane, "uiCompCount", 1) for plane in planes]
    counts = _fitted(stored, attributes.components)
    if counts is None:
        return None
    whole = 3 if all(count == 3 for count in counts) else 1
    return tuple(
        i
        for i, count in enumerate(counts)
        for _ in range(1 if count == whole else count)
    )


def default_channels(attributes: Attributes) -> tuple[Channel, ...]:
    """Channels for a frame about which nothing else is known.

    As the vendor's software has it: ``Mono`` for one component, one ``RGB`` channel
    for three of 8 bits, else ``Channel_0``, ``Channel_1`` ... (FORMAT oddity 19).

    Raises
    ------
    CorruptChunk
        If there are more than 65536 components.
    """
    components = attributes.components
    if components > _MAX_CHANNELS:
        raise CorruptChunk(f"field uiComp is {components}: not plausible")
    if components == 1:
        return (Channel(name="Mono"),)
    if components == 3 and attributes.bits_in_memory == 8:
        return (Channel(name="RGB", component_count=3),)
    return tuple(Channel(name=f"Channel_{i}") for i in range(components))


def samples_per_channel(channels: Sequence[Channel]) -> int:
    """Components of every channel in an array: 3 if all are RGB, else 1.

    Examples
    --------
    >>> samples_per_channel([Channel(component_count=3)] * 2)
    3
    >>> samples_per_channel([Channel(component_count=3), Channel()])
    1
    """
    return 3 if channels and all(channel.is_rgb for channel in channels) else 1


def uniform_channels(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """Return channels as an array can hold them: all with as many components.

    All RGB or all mono stay as they are. In a mix every RGB channel becomes three,
    in stored order ``name_B``, ``name_G``, ``name_R``, so that channel number and
    component number agree.

    Examples
    --------
    >>> mixed = [Channel(name="HE", component_count=3), Channel(name="DAPI")]
    >>> [channel.name for channel in uniform_channels(mixed)]
    ['HE_B', 'HE_G', 'HE_R', 'DAPI']
    """
    samples = samples_per_channel(channels)
    split: list[Channel] = []
    for i, channel in enumerate(channels):
        count = channel.component_count
        if count == samples:
            split.append(channel)
            continue
        ends = _RGB_STORED if count == 3 else tuple(str(k) for k in range(count))
        stem = channel.name or f"Channel_{i}"
        split.extend(
            replace(channel, name=f"{stem}_{end}", component_count=1) for end in ends
        )
    return tuple(split)


def channel_names(channels: Sequence[Channel]) -> list[str]:
    """Return a unique label for each channel, for the coordinate of an array.

    A channel without a name is called ``Channel_i``; if it is the only one it stays
    without, as in every other reader.

    Examples
    --------
    >>> channel_names([Channel(name="GFP"), Channel(name="GFP"), Channel()])
    ['GFP', 'GFP_2', 'Channel_2']
    """
    if len(channels) == 1:
        return [channels[0].name]
    return unique_names([c.name or f"Channel_{i}" for i, c in enumerate(channels)])


def unique_names(names: Sequence[str]) -> list[str]:
    """Names with repetitions numbered from 2; no new name meets a given one.

    Examples
    --------
    >>> unique_names(["GFP", "GFP", "GFP_2"])
    ['GFP', 'GFP_3', 'GFP_2']
    """
    taken = set(names)
    seen: set[str] = set()
    numbers: dict[str, int] = {}
    unique = []
    for name in names:
        label = name
        if name in seen:
            number = numbers.get(name, 2)
            while f"{name}_{number}" in taken:
                number += 1
            numbers[name] = number + 1
            label = f"{name}_{number}"
            taken.add(label)
        seen.add(name)
        unique.append(label)
    return unique


def parse_channel(
    plane: Level, setting: Level, picture: Level, index: int, optics_text: str = ""
) -> Channel:
    """Return the channel of one plane.

    Parameters
    ----------
    plane
        Decoded picture plane.
    setting
        Its sample setting; an empty level if there is none.
    picture
        Decoded ``SLxPictureMetadata``.
    index
        Number of the plane.
    optics_text
        What the text info says about the optics.

    Raises
    ------
    CorruptChunk
        If a field has the wrong type.
    """
    path = plane_light_path(picture, plane, setting, optics_text)
    count = integer(plane, "uiCompCount", 1)
    if not 0 <= count <= _MAX_CHANNELS:
        raise CorruptChunk(f"field uiCompCount of plane {index} is {count}")
    if "uiModalityMask" in plane:
        mask = integer(plane, "uiModalityMask", 0)
    elif "eModality" in plane:
        mask = mask_of_old_code(integer(plane, "eModality", 0))
    else:
        mask = 0
    flags = modality_flags(mask, count)
    emission, excitation = wavelengths(plane, index) if count != 3 else (None, None)
    camera = plane.level("sCameraSetting", create=True)
    radius = positive(picture, "dPinholeRadius")
    exposure = positive(setting, "dExposureTime") or positive(camera, "dExposure")
    filter_path = plane.level("pFilterPath", create=True)
    filters = filter_path.level("m_pFilter", create=True)
    return Channel(
        name=text(plane, "sDescription", "sOpticalConfigName"),
        component_count=count,
        color=_color(integer(plane, "uiColor", 0xFFFFFF)),
        emission_nm=emission,
        excitation_nm=excitation,
        modality=describe_modality(flags),
        modality_flags=flags,
        exposure_s=exposure / 1000.0 if exposure is not None else None,
        binning=_binning(setting, camera),
        pinhole_um=positive(plane, "dPinholeDiameter")
        or (2.0 * radius if radius is not None else None),
        light_path=path,
        probe=text(plane.level("pFluorescentProbe", create=True), "m_sName"),
        filters=tuple(
            name
            for item in levels_by_number(filters)
            if (name := text(unwrap(item), "m_sUserName", "m_sName"))
        ),
        optical_configuration=_configuration(plane, setting),
    )


def _color(stored: int) -> str:
    """``#rrggbb`` of 0x00BBGGRR (FORMAT 8.3)."""
    red, green, blue = (stored >> shift & 255 for shift in (0, 8, 16))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _binning(setting: Level, camera: Level) -> str | None:
    stored = setting.level("pCameraSetting", create=True)
    order = ["FormatQuality", "FormatFast"]
    if integer(setting, "uiModeFQ", 0) == _FAST_MODE:
        order.reverse()
    formats = [
        stored.level(name, create=True).level("fmtDesc", create=True) for name in order
    ]
    for level, x_name, y_name in (
        *((level, "dBinningX", "dBinningY") for level in formats),
        (camera, "dCamBinningX", "dCamBinningY"),
    ):
        x, y = positive(level, x_name), positive(level, y_name)
        if x is not None and y is not None:
            return f"{x:g}x{y:g}"
    return None


def _configuration(plane: Level, setting: Level) -> str:
    listed = setting.level("sOpticalConfigs", create=True)
    names = [text(unwrap(item), "sOpticalConfigName") for item in listed.levels()]
    return next(filter(None, names), text(plane, "sOpticalConfigName"))


def _fitted(counts: list[int], components: int) -> list[int] | None:
    """Components of each plane so that they add up; None if they cannot."""
    if counts and sum(counts) == components and all(counts):
        return counts
    for each in (1, 3):
        if counts and each * len(counts) == components:
            return [each] * len(counts)
    return None
