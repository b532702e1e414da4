"""Regions of interest that users drew (FORMAT 10.4).

Geometry is kept as stored: in halves of the image's width and height, the origin at its
centre and Y downward. `roi_geometry` turns it into pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar, get_args

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.fields import as_real, flag, integer, real
from limnd2_xr.model.spelling import bare_level, exact_text, numbered_levels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.variants.tree import Level

__all__ = [
    "INTERPRETATIONS",
    "MAX_POSITIONS",
    "ROI_CHUNK",
    "ROI_STRUCT",
    "SCOPES",
    "SHAPES",
    "Roi",
    "RoiInterpretation",
    "RoiKeyFrame",
    "RoiScope",
    "RoiShape",
    "parse_rois",
    "stored_rois",
]

ROI_CHUNK: Final = "CustomData|RoiMetadata_v1!"
"""Chunk of the ROIs."""
ROI_STRUCT: Final = "RoiMetadata_v1"
"""Name of the one record in it."""

RoiShape: TypeAlias = Literal[
    "any",
    "raster",
    "point",
    "rectangle",
    "ellipse",
    "polygon",
    "bezier",
    "line",
    "polyline",
    "circle",
    "square",
    "ring",
    "spiral",
]
"""What a ROI looks like."""
RoiInterpretation: TypeAlias = Literal[
    "any", "standard", "background", "reference", "stimulation"
]
"""What a ROI is for."""
RoiScope: TypeAlias = Literal["any", "global", "position"]
"""Whether a ROI belongs to all stage positions or to one."""

SHAPES: Final[tuple[RoiShape, ...]] = get_args(RoiShape)
"""Shapes by their stored code."""
INTERPRETATIONS: Final[tuple[RoiInterpretation, ...]] = get_args(RoiInterpretation)
"""Interpretations by their stored code."""
SCOPES: Final[tuple[RoiScope, ...]] = get_args(RoiScope)
"""Scopes by their stored code."""

_T = TypeVar("_T")
_GLOBAL: Final = "Global_"
_POSITIONS: Final = "2PerMPoint_"
MAX_POSITIONS: Final = 1 << 20
"""Stage positions that ROIs may belong to; far more than any file has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoiKeyFrame:
    """Where a ROI is from one moment on.

    Lengths along X are in halves of the image's width, along Y in halves of its height.
    """

    time_ms: float = 0.0
    """Moment, in the clock of the frames."""
    enabled: bool = True
    """Whether the ROI is there at all."""
    center_x: float = 0.0
    """Centre, -1 at the left edge of the image to 1 at the right one."""
    center_y: float = 0.0
    """Centre, -1 at the top to 1 at the bottom."""
    center_z: float = 0.0
    """Centre along Z; its unit is not known."""
    rotation: float = 0.0
    """Angle about the centre in degrees (seen in one file: 3.0)."""
    size_x: float = 0.0
    """Width of the box before it is rotated."""
    size_y: float = 0.0
    """Height of the box before it is rotated."""
    size_z: float = 0.0
    """Depth of the box; its unit is not known."""
    inner_size: tuple[float, float] | None = None
    """Width and height of a ring's hole. Where NIS-Elements stores them is not known,
    so this is None in its files; this package keeps them in a field of its own."""
    extruded_z: float = 0.0
    """Depth of an extruded outline; its unit is not known."""
    points: tuple[tuple[float, float], ...] = ()
    """Outline or nodes: X and Y as offsets from the centre."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Roi:
    """One region of interest.

    Codes that are not known stay numbers.

    Examples
    --------
    >>> roi = Roi(id=1, shape="circle", key_frames=(RoiKeyFrame(size_x=0.5),))
    >>> roi.scope, roi.color, roi.interpretation
    ('global', '#ff0000', 'standard')
    """

    id: int
    """Number of the ROI, unique within its file as far as is known."""
    guid: str = ""
    """Globally unique name, ``""`` if it has none."""
    label: str = ""
    """Name that the user gave."""
    shape: RoiShape | int = "any"
    """What it looks like."""
    interpretation: RoiInterpretation | int = "standard"
    """What it is for."""
    color: str = "#ff0000"
    """Colour of the outline, ``#rrggbb``."""
    scope: RoiScope | int = "global"
    """Whether it belongs to all stage positions or to one, as the ROI itself says."""
    position: int | None = None
    """Number of the stage position in whose list it stands; None in the common list."""
    stimulation_group: int = 0
    """Group of stimulated ROIs."""
    locked: bool = False
    """Whether it is protected against changes."""
    key_frames: tuple[RoiKeyFrame, ...] = ()
    """Where it is: one for a ROI that stays, several for one that moves."""
    cookie: int = 0
    """Number within the program that drew it."""
    app_data: int = 0
    """Whatever the program keeps with it."""
    multi_frame: bool = False
    """As stored; its meaning is not known."""
    component_count: int = 2
    """As stored; its meaning is not known."""
    bits_per_component: int = 16
    """As stored; its meaning is not known."""
    autodetected: bool = False
    """Whether the program found it rather than the user."""
    gradient_stimulation: bool = False
    """Whether it is stimulated with a gradient."""
    gradient_bits: int = 0
    """Bit depth of the gradient."""
    gradient_low: float = 0.0
    """Lower end of the gradient."""
    gradient_high: float = 0.0
    """Upper end of the gradient."""


def parse_rois(level: Level) -> tuple[Roi, ...]:
    """ROIs of a decoded ``RoiMetadata_v1``: the common ones, then position by position.

    Type prefixes of names do not count (FORMAT 10.4: most are not known) [1S, G].

    Parameters
    ----------
    level
        The struct itself or the root that holds it.

    Raises
    ------
    CorruptChunk
        If a list lacks a ROI that it counts, or a field has the wrong type.

    Examples
    --------
    >>> from limnd2_xr.model.roi_tree import rois_tree
    >>> parse_rois(rois_tree([Roi(id=7, shape="point", position=2)]))[0].position
    2
    """
    return tuple(_roi(stored, position) for position, stored in stored_rois(level))


def stored_rois(level: Level) -> Iterator[tuple[int | None, Level]]:
    """Position and struct of each ROI, in the order of `parse_rois`.

    Parameters
    ----------
    level
        The struct itself or the root that holds it.

    Raises
    ------
    CorruptChunk
        If a list lacks a ROI that it counts.
    """
    inner = level.level(ROI_STRUCT)
    content = bare_level(level if inner is None else inner)
    for stored in _listed(content, _GLOBAL):
        yield None, stored
    places = dict(numbered_levels(content, _POSITIONS))
    size = integer(content, f"{_POSITIONS}Size", max(places, default=-1) + 1)
    if max(places, default=0) >= MAX_POSITIONS:
        raise CorruptChunk(f"ROIs of position {max(places)}")
    for position in sorted(places):
        if position < size:
            for stored in _listed(bare_level(places[position]), ""):
                yield position, stored


def _listed(level: Level, stem: str) -> list[Level]:
    """Items of one vector, which counts them in a field of its own."""
    found = dict(numbered_levels(level, stem))
    size = integer(level, f"{stem}Size", len(found))
    items = [found[i] for i in sorted(found) if i < size]
    if len(items) != size:
        raise CorruptChunk(f"counts {size} items in {stem}Size and holds {len(items)}")
    return items


def _roi(stored: Level, position: int | None) -> Roi:
    fields = bare_level(stored)
    info = bare_level(fields.level("Info", create=True))
    scope = "global" if position is None else "position"
    return Roi(
        id=integer(fields, "Id"),
        guid=exact_text(fields, "GUID"),
        label=exact_text(info, "Label"),
        shape=_named(SHAPES, integer(info, "ShapeType", 0)),
        interpretation=_named(INTERPRETATIONS, integer(info, "InterpType", 1)),
        color=_color(integer(info, "Color", 0xFF)),
        scope=_named(SCOPES, integer(info, "Scope", SCOPES.index(scope))),
        position=position,
        stimulation_group=integer(info, "StimulationGroup", 0),
        locked=flag(info, "Locked"),
        key_frames=tuple(map(_key_frame, _listed(fields, "AnimParams_"))),
        cookie=integer(info, "Cookie", 0),
        app_data=integer(info, "AppData", 0),
        multi_frame=flag(info, "MultiFrame"),
        component_count=integer(info, "CompCount", 2),
        bits_per_component=integer(info, "Bpc", 16),
        autodetected=flag(info, "Autodetected"),
        gradient_stimulation=flag(info, "GradientStimulation"),
        gradient_bits=integer(info, "GradientStimulationBitDepth", 0),
        gradient_low=real(info, "GradientStimulationLo", 0.0),
        gradient_high=real(info, "GradientStimulationHi", 0.0),
    )


def _key_frame(stored: Level) -> RoiKeyFrame:
    fields = bare_level(stored)
    box = bare_level(fields.level("BoxShape", create=True))
    hole = fields.level("InnerBoxShape")
    outline = bare_level(fields.level("ExtrudedShape", create=True))
    return RoiKeyFrame(
        time_ms=real(fields, "TimeMs", 0.0),
        enabled=flag(fields, "Enabled", default=True),
        center_x=real(fields, "CenterX", 0.0),
        center_y=real(fields, "CenterY", 0.0),
        center_z=real(fields, "CenterZ", 0.0),
        rotation=real(fields, "RotationZ", 0.0),
        size_x=real(box, "SizeX", 0.0),
        size_y=real(box, "SizeY", 0.0),
        size_z=real(box, "SizeZ", 0.0),
        inner_size=None if hole is None else _size(bare_level(hole)),
        extruded_z=real(outline, "SizeZ", 0.0),
        points=tuple(map(_point, _listed(outline, "BasePoints_"))),
    )


def _size(box: Level) -> tuple[float, float]:
    return real(box, "SizeX", 0.0), real(box, "SizeY", 0.0)


def _point(stored: Level) -> tuple[float, float]:
    """X and Y by their order: their names are not known."""
    if len(stored) < 2:
        raise CorruptChunk("a point of a ROI has no X and Y")
    return as_real(stored.values[0], "X"), as_real(stored.values[1], "Y")


def _named(names: tuple[_T, ...], code: int) -> _T | int:
    return names[code] if 0 <= code < len(names) else code


def _color(stored: int) -> str:
    """``#rrggbb`` of 0x00BBGGRR, as colours are elsewhere (FORMAT 8.3) [G]."""
    red, green, blue = (stored >> shift & 255 for shift in (0, 8, 16))
    return f"#{red:02x}{green:02x}{blue:02x}"
