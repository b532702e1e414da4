"""Metadata of version 2 in the terms of version 3: XML trees as lite variants.

A file of version 2 that is edited is written as version 3. What the model does not know
of it is translated along: each stored field keeps its name and its value, except where
version 3 stores the same in another way (FORMAT appendix A).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from limnd2_xr.model.attributes import PIXEL_TYPE_CODES
from limnd2_xr.model.channel_tree import setting_tree
from limnd2_xr.model.channels import plane_numbers
from limnd2_xr.model.fields import (
    flags,
    integer,
    items_by_number,
    levels_by_number,
    positive,
    text,
    unwrap,
)
from limnd2_xr.model.modality import mask_of_old_code
from limnd2_xr.model.optics import stored_planes
from limnd2_xr.model.picture_tree import camera_rotation
from limnd2_xr.model.tree_building import (
    blob,
    f64,
    i32,
    listed,
    nested,
    numbered,
    string,
    struct,
    u32,
    u64,
)
from limnd2_xr.model.tree_editing import with_fields, without_fields
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.tree_building import Field
    from limnd2_xr.variants.tree import Kind, Value

__all__ = [
    "lite_tree",
    "modern_attributes",
    "modern_experiment",
    "modern_picture",
]

_KINDS: Final[Mapping[Kind, LvType]] = {
    "bool": LvType.BOOL,
    "lx_int32": LvType.INT32,
    "lx_uint32": LvType.UINT32,
    "lx_int64": LvType.INT64,
    "lx_uint64": LvType.UINT64,
    "double": LvType.DOUBLE,
    "float": LvType.DOUBLE,
    "CLxByteArray": LvType.BYTES,
}
_LOOP_NAMES: Final = {
    "sZDevice": "wsZDevice",
    "sInterfaceName": "wsInterfaceName",
    "sCommandBeforeCapture": "wsCommandBeforeCapture",
    "sCommandAfterCapture": "wsCommandAfterCapture",
}
_TOLD_BY_SETTINGS: Final = ("sCameraName", "dExposure", "dCamBinningX", "dCamBinningY")
_XY_LOOP, _SPECTRAL_LOOP, _NE_TIME_LOOP = 2, 6, 8
_POINT_LISTS: Final[Mapping[str, tuple[str, LvType]]] = {
    "dPosX": ("dPosX", LvType.DOUBLE),
    "dPosY": ("dPosY", LvType.DOUBLE),
    "dPosZ": ("dPosZ", LvType.DOUBLE),
    "dPFSOffset": ("dPFSOffset", LvType.DOUBLE),
    "pPosName": ("dPosName", LvType.STRING),
}
_CHANNEL_LISTS: Final[Mapping[str, tuple[str, LvType]]] = {
    "pAutoFocus": ("pAutoFocus", LvType.LEVEL),
    "szCommandAfterCapture": ("wsCommandAfterCapture", LvType.STRING),
    "szCommandBeforeCapture": ("wsCommandBeforeCapture", LvType.STRING),
    "pZStackPos": ("pZStackPos", LvType.INT32),
    "pdOffset": ("pdOffset", LvType.DOUBLE),
}


def lite_tree(level: Level) -> Level:
    """Return an XML tree in terms of the lite variant.

    Items ``no_name`` lose their name, empty placeholders are left out.

    Examples
    --------
    >>> stored = Level()
    >>> stored.add("no_name", "lx_uint32", 3)
    >>> lite_tree(stored).to_plain()
    [3]
    """
    out = Level()
    for name, kind, value in _fields(level):
        if value is None:
            continue
        if isinstance(value, Level):
            stored: tuple[LvType, Value] = LvType.LEVEL, lite_tree(value)
        else:
            stored = _KINDS.get(kind, LvType.STRING), value
        out.add("" if name == "no_name" else name, *stored)
    return out


def modern_attributes(level: Level, document: Nd2Document) -> Level:
    """Content of ``SLxImageAttributes`` for that of a file of version 2."""
    attributes = document.attributes
    content = without_fields(lite_tree(level), "uiBpcInMemory", "uiBpcSignificant")
    return with_fields(
        content,
        i32("uiBpcInMemory", attributes.bits_in_memory),
        i32("uiBpcSignificant", attributes.bits_significant),
        i32("ePixelType", PIXEL_TYPE_CODES[attributes.pixel_type]),
    )


def modern_experiment(level: Level) -> Level:
    """Content of ``SLxExperiment`` for the outermost loop of a file of version 2."""
    return _node(lite_tree(level))


def _node(node: Level) -> Level:
    code = integer(node, "eType", 0)

    def changed(name: str, value: Value) -> Field | None:
        if name == "aMeasProbesBase64" and isinstance(value, bytes):
            return string(name, base64.b64encode(value).decode("ascii"))
        if not isinstance(value, Level):
            return None
        if name == "uLoopPars":
            return nested(name, _parameters(code, unwrap(value)))
        if name == "pItemValid":
            return blob(name, bytes(flags(node, name)))
        return nested(name, _nodes(value)) if name == "ppNextLevelEx" else None

    return _replaced(node, changed)


def _nodes(level: Level) -> Level:
    """Return the list of inner loops, each translated, in its wrapper or without."""

    def changed(name: str, value: Value) -> Field | None:
        if not isinstance(value, Level):
            return None
        inner = _node(value) if "eType" in value else _nodes(value)
        return nested("SLxExperiment" if name else "", inner)

    return _replaced(level, changed)


def _parameters(code: int, level: Level) -> Level:
    level = struct(
        *(
            (_LOOP_NAMES.get(name, name), kind, value)
            for name, kind, value in _fields(level)
        )
    )
    if code == _XY_LOOP and "Points" not in level and "dPosX" in level:
        points = _structs(level, _POINT_LISTS)
        level = without_fields(level, *_POINT_LISTS)
        return with_fields(level, nested("Points", listed(points)))
    if code == _NE_TIME_LOOP:
        return _periods(level)
    return _spectral(level) if code == _SPECTRAL_LOOP else level


def _periods(level: Level) -> Level:
    def changed(name: str, value: Value) -> Field | None:
        if not isinstance(value, Level):
            return None
        if name == "pPeriod":
            items = (_parameters(0, unwrap(item)) for item in levels_by_number(value))
            return nested(name, listed(items))
        if name == "pPeriodValid":
            return blob(name, bytes(flags(level, name)))
        if name == "pSubLoops":
            return nested(name, _nodes_below(value))
        return None

    return _replaced(level, changed)


def _nodes_below(level: Level) -> Level:
    """Return the loops of each period of a paused acquisition (FORMAT 7.5)."""

    def changed(name: str, value: Value) -> Field | None:
        if not isinstance(value, Level):
            return None
        below = _nodes if name == "ppNextLevelEx" else _nodes_below
        return nested(name, below(value))

    return _replaced(level, changed)


def _spectral(level: Level) -> Level:
    points = _structs(level, _CHANNEL_LISTS) if "Points" not in level else []
    if points:
        level = without_fields(level, *_CHANNEL_LISTS)
        level = with_fields(level, nested("Points", listed(points)))
    planes = level.level("pPlaneDesc")
    if planes is None or "pPlanes" in level:
        return level
    stored = [_plane(unwrap(plane)) for plane in levels_by_number(planes)]
    content = struct(
        u32("uiCount", integer(level, "uiCount", len(stored))),
        u32("uiCompCount", sum(integer(plane, "uiCompCount", 1) for plane in stored)),
        nested("sPlaneNew", numbered("a", stored)),
    )
    return with_fields(without_fields(level, "pPlaneDesc"), nested("pPlanes", content))


def _structs(level: Level, lists: Mapping[str, tuple[str, LvType]]) -> list[Level]:
    """Return one struct an item of lists that belong together."""
    columns = {name: items_by_number(level.level(name, create=True)) for name in lists}
    numbers = sorted({number for column in columns.values() for number in column})
    return [
        struct(
            *(
                (*stored, columns[name][i])
                for name, stored in lists.items()
                if i in columns[name]
            )
        )
        for i in numbers
    ]


def modern_picture(level: Level, document: Nd2Document) -> Level:
    """Content of ``SLxPictureMetadata`` for that of a file of version 2.

    What planes tell themselves of camera, pinhole and configuration moves to where
    version 3 has it, so that it is told once.
    """
    picture = lite_tree(level)
    if "uiCol" in picture and "uiCon20(L" not in picture:
        picture = struct(
            *(
                ("uiCon20(L" if name == "uiCol" else name, kind, value)
                for name, kind, value in _fields(picture)
            )
        )
    planes = picture.level("sPicturePlanes")
    if planes is None:
        return picture
    radius = positive(picture, "dPinholeRadius")
    stored = [_plane(plane, radius) for plane in stored_planes(planes)]
    numbers = plane_numbers(picture, document.attributes)
    if planes.level("sSampleSetting") is None and numbers is not None:
        rotation = camera_rotation(document.optics)
        settings = [
            setting_tree(document.channels[numbers.index(i)], rotation)
            for i in range(len(stored))
        ]
        stored = [
            with_fields(plane, u32("uiSampleIndex", i))
            for i, plane in enumerate(stored)
        ]
        planes = with_fields(
            planes,
            u32("uiSampleCount", len(settings)),
            nested("sSampleSetting", numbered("a", settings)),
        )
    content = nested("sPlaneNew", numbered("a", stored))
    planes = _replaced(
        planes, lambda name, _: content if name in ("sPlane", "sPlaneNew") else None
    )
    picture = without_fields(picture, "dPinholeRadius")
    return with_fields(picture, nested("sPicturePlanes", planes))


def _plane(plane: Level, pinhole_radius: float | None = None) -> Level:
    def changed(name: str, value: Value) -> Field | None:
        if name == "eModality" and "uiModalityMask" not in plane:
            return u64("uiModalityMask", mask_of_old_code(integer(plane, name)))
        if name == "sCameraSetting" and isinstance(value, Level):
            return nested(name, without_fields(value, *_TOLD_BY_SETTINGS))
        return nested(name, _spectra(value)) if isinstance(value, Level) else None

    out = _replaced(plane, changed)
    if not text(out, "sDescription") and "sOpticalConfigName" in out:
        out = with_fields(out, string("sDescription", text(out, "sOpticalConfigName")))
    out = without_fields(out, "sOpticalConfigName")
    if pinhole_radius is not None and positive(out, "dPinholeDiameter") is None:
        out = with_fields(out, f64("dPinholeDiameter", 2 * pinhole_radius))
    return out


def _spectra(level: Level) -> Level:
    """Return filters and probes with wavelengths as version 3 stores them."""

    def changed(name: str, value: Value) -> Field | None:
        if name == "uiWavelength" and positive(level, "dWavelength") is None:
            return f64("dWavelength", integer(level, name))
        return nested(name, _spectra(value)) if isinstance(value, Level) else None

    return _replaced(level, changed)


def _replaced(level: Level, changed: Callable[[str, Value], Field | None]) -> Level:
    """Return a level with the fields that a function returns for those that it has."""
    return struct(
        *(
            changed(name, value) or (name, kind, value)
            for name, kind, value in _fields(level)
        )
    )


def _fields(level: Level) -> Iterable[Field]:
    return zip(level.names, level.kinds, level.values, strict=True)
