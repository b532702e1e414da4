"""Regions of interest of the model as structures of nd2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limnd2_xr.compat.nd2 import structures as nd2
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.rois import (
    INTERPRETATIONS,
    ROI_CHUNK,
    SCOPES,
    SHAPES,
    parse_rois,
)
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from limnd2_xr.frames.store import FrameStore
    from limnd2_xr.model.rois import Roi, RoiKeyFrame

__all__ = ["rois_of"]


def rois_of(store: FrameStore) -> dict[int, nd2.ROI]:
    """Return the ROIs of an open file by their id.

    Raises
    ------
    ValueError
        If they are damaged.
    """
    if ROI_CHUNK not in store.state.chunks:
        return {}
    try:
        found = parse_rois(decode(store.read_chunk(ROI_CHUNK)))
    except CorruptChunk as error:
        raise error.located(path=store.source_name, chunk=ROI_CHUNK) from error
    return {roi.id: _roi(roi) for roi in found}


def _roi(roi: Roi) -> nd2.ROI:
    red, green, blue = bytes.fromhex(roi.color.removeprefix("#"))
    info = nd2.RoiInfo(
        shapeType=nd2.RoiShapeType(_code(SHAPES, roi.shape)),
        interpType=nd2.InterpType(_code(INTERPRETATIONS, roi.interpretation)),
        cookie=roi.cookie,
        color=red | green << 8 | blue << 16,
        label=roi.label,
        stimulationGroup=roi.stimulation_group,
        scope=nd2.ScopeType(_code(SCOPES, roi.scope)),
        appData=roi.app_data,
        multiFrame=roi.multi_frame,
        locked=roi.locked,
        compCount=roi.component_count,
        bpc=roi.bits_per_component,
        autodetected=roi.autodetected,
        gradientStimulation=roi.gradient_stimulation,
        gradientStimulationBitDepth=roi.gradient_bits,
        gradientStimulationLo=roi.gradient_low,
        gradientStimulationHi=roi.gradient_high,
    )
    return nd2.ROI(roi.id, info, roi.guid, list(map(_anim_param, roi.key_frames)))


def _code(names: tuple[Any, ...], value: str | int) -> int:
    return value if isinstance(value, int) else names.index(value)


def _anim_param(frame: RoiKeyFrame) -> nd2.AnimParam:
    return nd2.AnimParam(
        timeMs=frame.time_ms,
        enabled=frame.enabled,
        centerX=frame.center_x,
        centerY=frame.center_y,
        centerZ=frame.center_z,
        rotationZ=frame.rotation,
        boxShape=nd2.BoxShape(frame.size_x, frame.size_y, frame.size_z),
        extrudedShape=nd2.ExtrudedShape(
            frame.extruded_z, [nd2.XYPoint(*point) for point in frame.points]
        ),
    )
