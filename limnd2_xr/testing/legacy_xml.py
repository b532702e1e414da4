"""Metadata of synthetic files of format 1.0: the XML boxes (FORMAT 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape

import numpy as np

from limnd2_xr.testing.loop_specs import NETimeLoop, Period, PositionLoop, TimeLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.testing.legacy import LegacyLoop, LegacySpec
    from limnd2_xr.testing.specs import ChannelSpec

__all__ = ["metadata_boxes"]

_PROLOG: Final = '<?xml version="1.0" encoding="UTF-8"?>'
_JULIAN_DAY: Final = 2454000.25
_LIST: Final = ' runtype="CLxListVariant"'


def metadata_boxes(spec: LegacySpec) -> Iterator[tuple[str, bytes]]:
    """Yield tag and content of the metadata boxes of a file, in their order.

    Parameters
    ----------
    spec
        Description of the file.
    """
    n = spec.n_frames
    times = spec.times_ms or tuple(5.0 + 1000.0 * i for i in range(n))
    stage = _stage(spec)
    yield (
        "ARTT",
        _document(
            spec,
            "<AdvancedImageAttributes>"
            + _element("uiSignificantBits", spec.bits)
            + _element("uiVirtualComponents", sum(c.components for c in spec.channels))
            + "</AdvancedImageAttributes>",
            root="variant",
        ),
    )
    if spec.loops:
        yield spec.loop_style, _document(spec, _experiment(spec))
    if spec.said != "":
        yield "TINF", _document(spec, _text_info(spec))
    for i in range(n):
        yield "VCAL", _document(spec, _calibration(spec, i))
        yield "VIMD", _document(spec, _picture(spec, i, times[i], stage[i]))


def _document(spec: LegacySpec, content: str, root: str = "") -> bytes:
    if root:
        content = f'<{root} version="1.0">{content}</{root}>'
    return f"{_PROLOG if spec.prolog else ''}{content}".encode()


def _element(name: str, value: Any) -> str:
    """Return one value, or one struct, in the way of variant XML."""
    if isinstance(value, dict):
        inner = "".join(_element(key, item) for key, item in value.items())
        return f"<{name}{_LIST}>{inner}</{name}>"
    kinds = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}
    stored = str(value).lower() if isinstance(value, bool) else str(value)
    return f'<{name} runtype="{kinds[type(value)]}" value={_quoted(stored)}/>'


def _fields(spec: LegacySpec, fields: dict[str, Any]) -> str:
    inner = "".join(_element(name, value) for name, value in fields.items())
    if not spec.wrapped:
        return inner
    return f'<variant version="1.0"><no_name{_LIST}>{inner}</no_name></variant>'


# -- per frame


def _calibration(spec: LegacySpec, frame: int) -> str:
    fields = {
        "dCalibration": spec.calibration_um or -1.0,
        "dAspect": 1.0,
        "sObjective": "Plan Apo 20x",
    }
    content = _fields(spec, fields)
    return f'<CalibrationSeq _SEQUENCE_INDEX="{frame}">{content}</CalibrationSeq>'


def _picture(
    spec: LegacySpec, frame: int, time_ms: float, stage: tuple[float, ...]
) -> str:
    x, y, z = stage
    planes = {f"a{i}": _plane(channel, i) for i, channel in enumerate(spec.channels)}
    fields = {
        "dTimeMSec": float(time_ms),
        "dTimeAbsolute": _JULIAN_DAY,
        "dXPos": x,
        "dYPos": y,
        "dZPos": z,
        "dAngle": 0.0,
        "sPicturePlanes": {
            "uiCount": len(spec.channels),
            "uiCompCount": sum(channel.components for channel in spec.channels),
            "sPlane": planes,
            "sDescription": "",
        },
        "dCalibration": spec.calibration_um or -1.0,
        "dAspect": 1.0,
        "bCalibrated": spec.calibration_um is not None,
        "wsObjectiveName": "Plan Apo 20x",
        "dObjectiveMag": 20.0,
        "dObjectiveNA": 0.75,
        "dRefractIndex1": 1.0,
        "dPinholeRadius": -1.0,
        "dZoom": 1.0,
        "dProjectiveMag": 1.0,
    }
    content = _fields(spec, fields)
    return f'<MetadataSeq _SEQUENCE_INDEX="{frame}">{content}</MetadataSeq>'


def _plane(channel: ChannelSpec, index: int) -> dict[str, Any]:
    return {
        "uiCompCount": channel.components,
        "sOpticalConfigName": channel.name,
        "eModality": 1 if channel.components == 3 else 0,
        "sCameraSetting": {
            "sCameraName": channel.camera,
            "dExposure": channel.exposure_ms,
        },
        "uiColor": channel.stored_color(index),
        "sDescription": channel.name,
        "dAcqTime": 0.0,
    }


def _stage(spec: LegacySpec) -> list[tuple[float, ...]]:
    """Stage position of each frame: of its point and its slice."""
    shape = tuple(loop.length for loop in spec.loops)
    found: list[tuple[float, ...]] = []
    for index in np.ndindex(*shape):
        x, y, z = spec.position_um
        for loop, i in zip(spec.loops, index, strict=True):
            if isinstance(loop, PositionLoop):
                x, y = loop.points[i].x, loop.points[i].y
            elif not isinstance(loop, TimeLoop | NETimeLoop):
                z += i * loop.rise_um
        found.append((x, y, z))
    return found


# -- loops


def _experiment(spec: LegacySpec) -> str:
    nodes = [_node(loop) for loop in spec.loops]
    if spec.loop_style == "AIMD":
        siblings = {f"LoopNo{i:02}": node for i, node in enumerate(nodes)}
        return f'<Metadata version="1.0">{_fields(spec, siblings)}</Metadata>'
    nested: dict[str, Any] = {}
    for node in reversed(nodes):
        nested = {**node, **({"ppNextLevelEx": {"no_name": nested}} if nested else {})}
    inner = _fields(spec, nested)
    return (
        f'<Metadata_V1.2 version="1.0"><vUnknownData{_LIST}></vUnknownData>'
        f"<vMetadata{_LIST}>{inner}</vMetadata></Metadata_V1.2>"
    )


def _node(loop: LegacyLoop) -> dict[str, Any]:
    if isinstance(loop, TimeLoop):
        whole = Period(
            loop.count,
            period_ms=loop.period_ms,
            avg_period_ms=loop.avg_period_ms,
            start_ms=loop.start_ms,
            duration_ms=loop.duration_ms,
        )
        return _loop(8, _periods((whole,)))
    if isinstance(loop, NETimeLoop):
        return _loop(8, _periods(loop.periods))
    if isinstance(loop, PositionLoop):
        return _loop(2, _points(loop))
    up = loop.kind < 4
    low, _, high = loop.limits
    fields = {
        "uiCount": loop.count,
        "dZLow": low if up else high,
        "dZHigh": high if up else low,
        "dZHome": float(
            (loop.count - 1) // 2 if loop.home_um is None else loop.home_um
        ),
        "dZStep": loop.step_um if loop.store_step else 0.0,
        "bAbsolute": False,
        "bTriggeredPiezo": False,
    }
    return _loop(4, fields)


def _loop(code: int, parameters: dict[str, Any]) -> dict[str, Any]:
    return {
        "eType": code,
        "wsApplicationDesc": "",
        "wsUserDesc": "",
        "uLoopPars": parameters,
        "uiRepeatCount": 1,
    }


def _periods(periods: tuple[Period, ...]) -> dict[str, Any]:
    stored = {
        f"item_{i:05}": {
            "uiCount": period.count,
            "dStart": period.start_ms,
            "dPeriod": period.period_ms,
            "dDuration": period.count * period.period_ms
            if period.duration_ms is None
            else period.duration_ms,
            "dMinPeriodDiff": period.period_ms,
            "dMaxPeriodDiff": period.period_ms,
            "dAvgPeriodDiff": period.period_ms
            if period.avg_period_ms is None
            else period.avg_period_ms,
        }
        for i, period in enumerate(periods)
    }
    return {
        "uiCount": sum(period.count for period in periods),
        "uiPeriodCount": len(periods),
        "pPeriod": stored,
    }


def _points(loop: PositionLoop) -> dict[str, Any]:
    """Positions as parallel lists, the last one first."""
    turned = loop.points[::-1]
    lists = {
        "dPosX": [point.x for point in turned],
        "dPosY": [point.y for point in turned],
        "dPosZ": [point.z for point in turned],
        "dPFSOffset": [point.pfs_offset for point in turned],
    }
    columns = {
        name: {f"item_{i:05}": float(value) for i, value in enumerate(values)}
        for name, values in lists.items()
    }
    return {"uiCount": loop.length, "bUseZ": loop.use_z, **columns}


# -- text


def _text_info(spec: LegacySpec) -> str:
    said = spec.said
    if said is None:
        names = {"T": "T", "P": "XY", "Z": "Z"}
        parts = [f"{names[loop.axis]}({loop.length})" for loop in spec.loops]
        if len(spec.channels) > 1:
            parts.append(f"\u03bb({len(spec.channels)})")
        said = " x ".join(parts)
    summary = f"Metadata:\r\nDimensions: {said}\r\nCamera Name: Synthetic\r\n"
    items = {3: "A sample", 4: "A. Author", 5: summary, 9: "19/09/2006  12:00:00"}
    stored = "".join(
        f'<TextInfoItem Index="{i}" Text={_quoted(text)}/>' for i, text in items.items()
    )
    return f"<TextInfo>{stored}</TextInfo>"


_ESCAPED: Final = {"\r": "&#x000d;", "\n": "&#x000a;", '"': "&quot;"}


def _quoted(text: str) -> str:
    """Return the value of an attribute; Bio-Formats knows no other escaped lines."""
    return f'"{escape(text, _ESCAPED)}"'
