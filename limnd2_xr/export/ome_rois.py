"""ROIs of an OME document, in pixels of the exported images.

OME counts pixels from the corner of the image, as `roi_geometry` does. What was cut off
or skipped along Y and X moves and scales the shapes; ROIs that lie outside of what is
left, or belong to other positions, are not part of the selection.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.regions_of_interest import rois_of
from limnd2_xr.errors import UnsupportedFeature, warn_user
from limnd2_xr.export.plane_values import plane_seconds
from limnd2_xr.export.xml_text import xml_text
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.model.roi_geometry import key_frame_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from ome_types import model as m

    from limnd2_xr.arrays.image_roi import ImageRoi
    from limnd2_xr.arrays.origin import Origin
    from limnd2_xr.export.export_image import ExportImage, SinglePosition

__all__ = ["OmeRois", "ome_rois"]

_PATHS: Final = ("line", "polyline", "spiral")
_MASKS: Final = ("raster", "ring")


@dataclass(frozen=True, slots=True, kw_only=True)
class OmeRois:
    """ROIs of a document, and which images refer to them."""

    rois: tuple[m.ROI, ...] = ()
    by_image: dict[int, list[str]]
    """IDs of the ROIs of each image, by its number."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """From pixels of the file to those of the export, along one axis."""

    first: int
    step: int
    length: int

    def moved(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring places to the export: centres of pixels to centres of pixels."""
        return (places - self.first - 0.5) / self.step + 0.5

    @property
    def indices(self) -> NDArray[np.int64]:
        return self.first + self.step * np.arange(self.length)


def ome_rois(source: ExportImage, positions: Sequence[SinglePosition]) -> OmeRois:
    """ROIs of the file behind the image, where they are on what was selected.

    Parameters
    ----------
    source
        What is exported.
    positions
        All of it.

    Warns
    -----
    Nd2Warning
        If ROIs are left out: their geometry is not known or no longer fits the image.
    """
    origin = source.origin
    if origin is None:
        return OmeRois(by_image={})
    with FrameStore.open(origin.spec, on_damage="ignore") as store:
        found = rois_of(store)
    if not found:
        return OmeRois(by_image={})
    axes = _axes(origin)
    if axes is None:
        warn_user(
            f"{len(found)} ROIs are left out: rows or columns of the image are not those of "
            f"{origin.spec.name} at an even distance"
        )
        return OmeRois(by_image={})
    rois: list[m.ROI] = []
    by_image: dict[int, list[str]] = {}
    lost = []
    for item in found:
        images = _images(item, origin, positions)
        if not images:
            continue
        try:
            for numbers, shapes in _shapes_by_image(item, axes, source, images):
                roi = _roi(item, f"ROI:{len(rois)}", shapes)
                if roi is None:
                    continue
                rois.append(roi)
                for number in numbers:
                    by_image.setdefault(number, []).append(roi.id)
        except (UnsupportedFeature, ValueError) as error:
            lost.append(str(error))
    if lost:
        warn_user(f"{len(lost)} ROIs are left out: {'; '.join(lost[:3])}")
    return OmeRois(rois=tuple(rois), by_image=by_image)


def _axes(origin: Origin) -> tuple[_Axis, _Axis] | None:
    """How X and Y of the image lie in the file; None if that is not known or uneven."""
    found = []
    for dim in ("X", "Y"):
        picked = origin.known.picked.get(dim)
        if picked is None:
            return None
        steps = np.diff(picked)
        if len(steps) and (steps[0] == 0 or (steps != steps[0]).any()):
            return None
        step = int(steps[0]) if len(steps) else 1
        found.append(_Axis(int(picked[0]), step, len(picked)))
    return found[0], found[1]


def _images(
    item: ImageRoi, origin: Origin, positions: Sequence[SinglePosition]
) -> list[SinglePosition]:
    """Return the images that a ROI belongs to."""
    picked = origin.known.picked.get("P")
    if item.roi.position is None or picked is None:
        return list(positions)
    wanted = item.roi.position
    return [p for p in positions if picked[p.index.get("P", 0)] == wanted]


def _shapes_by_image(
    item: ImageRoi,
    axes: tuple[_Axis, _Axis],
    source: ExportImage,
    images: list[SinglePosition],
) -> Iterator[tuple[list[int], list[Any]]]:
    """Yield shapes and the images that have them: one set, unless the ROI moves."""
    if len(item.roi.key_frames) < 2:
        shape = _shape(item, axes, None)
        yield [p.number for p in images], [] if shape is None else [shape]
        return
    for position in images:
        shapes = []
        for t, time_s in enumerate(_times(source, position)):
            shape = _shape(item, axes, time_s * 1000.0 if time_s is not None else None)
            if shape is not None:
                if "T" in position.image.dims:
                    shape.the_t = t
                shapes.append(shape)
        yield [position.number], shapes


def _times(source: ExportImage, position: SinglePosition) -> list[float | None]:
    """When the first plane of each time point was taken."""
    count = int(position.image.sizes.get("T", 1))
    seconds = plane_seconds(position.image, source.acquisition_start)
    if seconds is None:
        return [None] * count
    if "T" in source.plane_dims:
        seconds = np.moveaxis(seconds, source.plane_dims.index("T"), 0)
    first = seconds.reshape(count, -1)[:, 0]
    return [float(value) if np.isfinite(value) else None for value in first]


def _roi(item: ImageRoi, id_: str, shapes: list[Any]) -> m.ROI | None:
    from ome_types import model as m

    if not shapes:
        return None
    for number, shape in enumerate(shapes):
        shape.id = f"Shape:{id_.removeprefix('ROI:')}:{number}"
        shape.text = xml_text(item.roi.label) or None
        shape.stroke_color = m.Color(item.roi.color)
        shape.locked = item.roi.locked or None
    kinds: dict[str, list[Any]] = {}
    for shape in shapes:
        kinds.setdefault(f"{type(shape).__name__.lower()}s", []).append(shape)
    told = item.roi.interpretation
    return m.ROI(
        id=id_,
        name=xml_text(item.roi.label) or None,
        description=None if told == "standard" else str(told),
        union=m.ROI.Union(**kinds),
    )


@np.errstate(all="ignore")
def _shape(item: ImageRoi, axes: tuple[_Axis, _Axis], time_ms: float | None) -> Any:
    """Return a shape of OME; None where there is none at that moment, or outside."""
    from ome_types import model as m

    roi = item.roi
    frame = key_frame_at(roi, time_ms)
    if frame is None:
        return None
    x, y = axes
    time_s = None if time_ms is None else time_ms / 1000.0
    if roi.shape in _MASKS:
        return _mask(item.to_mask(time_s)[np.ix_(y.indices, x.indices)])
    outline = item.to_polygon(time_s)
    if not len(outline):
        return None
    moved = np.column_stack((x.moved(outline[:, 0]), y.moved(outline[:, 1])))
    low, high = moved.min(axis=0), moved.max(axis=0)
    if (high < 0).any() or low[0] > x.length or low[1] > y.length:
        return None
    if roi.shape == "point":
        return m.Point(x=float(moved[0, 0]), y=float(moved[0, 1]))
    if roi.shape in {"rectangle", "square"} and frame.rotation == 0:
        width, height = (high - low).tolist()
        return m.Rectangle(x=float(low[0]), y=float(low[1]), width=width, height=height)
    if roi.shape in {"ellipse", "circle"} and frame.rotation == 0:
        scale = abs(1 / x.step), abs(1 / y.step)
        center = (
            x.moved(np.array((1 + frame.center_x) * item.width / 2)),
            y.moved(np.array((1 + frame.center_y) * item.height / 2)),
        )
        return m.Ellipse(
            x=float(center[0]),
            y=float(center[1]),
            radius_x=abs(frame.size_x) * item.width / 4 * scale[0],
            radius_y=abs(frame.size_y) * item.height / 4 * scale[1],
        )
    if roi.shape in _PATHS and len(moved) == 2:
        (x1, y1), (x2, y2) = moved.tolist()
        return m.Line(x1=x1, y1=y1, x2=x2, y2=y2)
    points = " ".join(f"{px:.10g},{py:.10g}" for px, py in moved.tolist())
    if roi.shape in _PATHS:
        return m.Polyline(points=points)
    return m.Polygon(points=points)


def _mask(pixels: NDArray[np.bool_]) -> Any:
    """Return the box around pixels, a bit each, or None without any."""
    from ome_types import model as m

    rows, columns = (
        np.flatnonzero(pixels.any(axis=1)),
        np.flatnonzero(pixels.any(axis=0)),
    )
    if not rows.size:
        return None
    box = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    packed = np.packbits(box.ravel()).tobytes()
    return m.Mask(
        x=float(columns[0]),
        y=float(rows[0]),
        width=float(box.shape[1]),
        height=float(box.shape[0]),
        bin_data=m.BinData(
            value=base64.b64encode(packed), big_endian=True, length=len(packed)
        ),
    )
