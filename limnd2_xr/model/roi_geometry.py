"""ROIs in pixels of the image: outlines and masks (FORMAT 10.4).

Stored coordinates are halves of the image's width and height about its centre, Y down
[2S]. A box is turned after it was converted to pixels [2S], by degrees (a real file has
3.0 [1S]) from X towards Y, clockwise as seen [G]. Nodes of a Bezier shape are taken for
points that a smooth closed curve runs through [G]. Between two key frames everything
moves evenly; before the first and after the last one, and towards one at which the ROI
is switched off, it stays [G].

Outlines are in the coordinates of `polygons`: the image reaches from (0, 0) to (width,
height). Subtract 0.5 for programs that count from the centre of the first pixel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.errors import UnsupportedFeature, warn_user
from limnd2_xr.model import polygons as shapes

if TYPE_CHECKING:
    import numpy.typing as npt

    from limnd2_xr.model.rois import Roi, RoiKeyFrame

__all__ = ["key_frame_at", "mask", "polygon", "polygons"]

_BOXES: Final = ("rectangle", "square")
_ROUND: Final = ("ellipse", "circle", "ring")
_PATHS: Final = ("line", "polyline", "spiral")
_MAX_PIXELS: Final = 1e9
_ROUND_ERROR: Final = 0.05  # pixels between an ellipse and its polygon


@np.errstate(all="ignore")
def polygon(
    roi: Roi, width: int, height: int, time_ms: float | None = None
) -> npt.NDArray[np.float64]:
    """Outline of a ROI: vertices x, y in pixels, float64 of shape (n, 2).

    Closed shapes do not repeat their first vertex. A line or polyline gives its path, a
    point itself, a ring its outer edge (`polygons` gives the inner one, too). Ellipses
    deviate by less than 0.05 pixels.

    Parameters
    ----------
    roi
        The ROI.
    width, height
        Size of the image in pixels.
    time_ms
        Moment, for one that moves; None for its first key frame.

    Returns
    -------
    ndarray
        Empty where the ROI is switched off or has no key frame.

    Raises
    ------
    ValueError
        If coordinates are not finite or absurdly large.
    UnsupportedFeature
        If the shape is not known, or lies in pixels rather than in coordinates
        (raster).

    Examples
    --------
    >>> from limnd2_xr.model.rois import Roi, RoiKeyFrame
    >>> frame = RoiKeyFrame(center_x=0.5, size_x=0.5, size_y=1.0)
    >>> roi = Roi(id=1, shape="rectangle", key_frames=(frame,))
    >>> polygon(roi, 80, 60).tolist()
    [[50.0, 15.0], [70.0, 15.0], [70.0, 45.0], [50.0, 45.0]]
    """
    frame = _visible(roi, width, height, time_ms)
    if frame is None:
        return np.empty((0, 2))
    if roi.shape == "raster":
        raise UnsupportedFeature(
            f"ROI {roi.id} is a raster: its outline follows from its pixels, which "
            f"`polygons(..., labels=)` needs"
        )
    return _placed(roi, frame, _offsets(roi, frame, width, height), width, height)


@np.errstate(all="ignore")
def polygons(
    roi: Roi,
    width: int,
    height: int,
    time_ms: float | None = None,
    *,
    labels: npt.NDArray[np.integer] | None = None,
) -> list[npt.NDArray[np.float64]]:
    """All outlines of a ROI, holes among them (even-odd rule), see `polygon`.

    Parameters
    ----------
    roi, width, height, time_ms
        As for `polygon`.
    labels
        Decoded ``RoiRleGlobal_v1``: the pixels of raster ROIs by their numbers, shape
        (height, width).

    Returns
    -------
    list of ndarray
        Each of shape (n, 2).

    Examples
    --------
    >>> from limnd2_xr.model.rois import Roi, RoiKeyFrame
    >>> frame = RoiKeyFrame(size_x=1.0, size_y=1.0, inner_size=(0.5, 0.5))
    >>> len(polygons(Roi(id=1, shape="ring", key_frames=(frame,)), 80, 60))
    2
    """
    if roi.shape == "raster":
        return shapes.traced(mask(roi, width, height, time_ms, labels=labels))
    outer = polygon(roi, width, height, time_ms)
    frame = _visible(roi, width, height, time_ms)
    if roi.shape != "ring" or frame is None:
        return [outer] if len(outer) else []
    hole = _hole(roi, frame)
    if hole is None:
        return [outer]
    return [outer, _placed(roi, hole, _round(hole, width, height), width, height)]


@np.errstate(all="ignore")
def mask(
    roi: Roi,
    width: int,
    height: int,
    time_ms: float | None = None,
    *,
    labels: npt.NDArray[np.integer] | None = None,
) -> npt.NDArray[np.bool_]:
    """Pixels of a ROI: bool of shape (height, width).

    Those whose centres lie inside, all that a line or polyline passes, the one in which
    a point lies. What lies outside the image is cut.

    Parameters
    ----------
    roi, width, height, time_ms, labels
        As for `polygons`.

    Raises
    ------
    ValueError
        If coordinates are not finite or absurdly large, or `labels` is of another size.
    UnsupportedFeature
        If the shape is not known, or a raster comes without `labels`.

    Warns
    -----
    Nd2Warning
        If the hole of a ring is not known: all of it is taken.

    Examples
    --------
    >>> from limnd2_xr.model.rois import Roi, RoiKeyFrame
    >>> frame = RoiKeyFrame(size_x=1.0, size_y=1.0)
    >>> mask(Roi(id=1, shape="rectangle", key_frames=(frame,)), 4, 4).astype(int)
    array([[0, 0, 0, 0],
           [0, 1, 1, 0],
           [0, 1, 1, 0],
           [0, 0, 0, 0]])
    """
    frame = _visible(roi, width, height, time_ms)
    if roi.shape == "raster" and (frame is not None or not roi.key_frames):
        return _raster(roi, width, height, labels)
    if frame is None:
        return np.zeros((height, width), np.bool_)
    if roi.shape in _ROUND:
        found = _ellipse(roi, frame, width, height)
        hole = _hole(roi, frame) if roi.shape == "ring" else None
        return found if hole is None else found & ~_ellipse(roi, hole, width, height)
    outline = polygon(roi, width, height, time_ms)
    if not len(outline):
        return np.zeros((height, width), np.bool_)
    if roi.shape == "point" or roi.shape in _PATHS:
        return shapes.drawn(outline, width, height)
    return shapes.filled([outline], width, height)


def key_frame_at(roi: Roi, time_ms: float | None = None) -> RoiKeyFrame | None:
    """Where a ROI is at a moment; None where it is switched off or has no key frame.

    Parameters
    ----------
    roi
        The ROI.
    time_ms
        Moment in the clock of the frames; None for the first key frame.

    Examples
    --------
    >>> from limnd2_xr.model.rois import Roi, RoiKeyFrame
    >>> frames = RoiKeyFrame(), RoiKeyFrame(time_ms=10.0, center_x=1.0)
    >>> key_frame_at(Roi(id=1, key_frames=frames), 2.5).center_x
    0.25
    """
    frames = sorted(roi.key_frames, key=lambda frame: frame.time_ms)
    if not frames:
        return None
    passed = 1 if time_ms is None else sum(f.time_ms <= time_ms for f in frames)
    last = frames[max(passed - 1, 0)]
    if not last.enabled:
        return None
    if time_ms is None or passed in (0, len(frames)) or not frames[passed].enabled:
        return last
    following = frames[passed]
    share = (time_ms - last.time_ms) / (following.time_ms - last.time_ms)
    return _between(last, following, share, time_ms)


def _between(
    a: RoiKeyFrame, b: RoiKeyFrame, share: float, time_ms: float
) -> RoiKeyFrame:
    def mixed(left: float, right: float) -> float:
        return left + (right - left) * share

    def mixed_pair(
        left: tuple[float, float], right: tuple[float, float]
    ) -> tuple[float, float]:
        return mixed(left[0], right[0]), mixed(left[1], right[1])

    points, hole = a.points, a.inner_size
    if len(points) == len(b.points):
        points = tuple(map(mixed_pair, points, b.points))
    if hole is not None and b.inner_size is not None:
        hole = mixed_pair(hole, b.inner_size)
    return replace(
        a,
        time_ms=time_ms,
        center_x=mixed(a.center_x, b.center_x),
        center_y=mixed(a.center_y, b.center_y),
        center_z=mixed(a.center_z, b.center_z),
        rotation=mixed(a.rotation, b.rotation),
        size_x=mixed(a.size_x, b.size_x),
        size_y=mixed(a.size_y, b.size_y),
        size_z=mixed(a.size_z, b.size_z),
        extruded_z=mixed(a.extruded_z, b.extruded_z),
        inner_size=hole,
        points=points,
    )


def _visible(
    roi: Roi, width: int, height: int, time_ms: float | None
) -> RoiKeyFrame | None:
    if width < 1 or height < 1:
        raise ValueError(f"an image of {width} x {height} pixels has no ROIs")
    return key_frame_at(roi, time_ms)


def _offsets(
    roi: Roi, frame: RoiKeyFrame, width: int, height: int
) -> npt.NDArray[np.float64]:
    """Vertices relative to the centre, in pixels, before the ROI is turned."""
    x, y = frame.size_x * width / 4, frame.size_y * height / 4
    nodes = np.array(frame.points, np.float64).reshape(-1, 2)
    nodes *= (width / 2, height / 2)
    if roi.shape == "point":
        return np.zeros((1, 2))
    if roi.shape in _BOXES:
        return np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
    if roi.shape in _ROUND:
        return _round(frame, width, height)
    if roi.shape == "bezier":
        return _smooth(_checked(roi, nodes))
    if roi.shape == "line" and not len(nodes):
        return np.array([[-x, -y], [x, y]])
    if roi.shape in ("polygon", "polyline", "line") or (
        roi.shape == "spiral" and len(nodes)
    ):
        return nodes
    raise UnsupportedFeature(f"ROI {roi.id}: the geometry of {roi.shape!r} is unknown")


def _placed(
    roi: Roi,
    frame: RoiKeyFrame,
    offsets: npt.NDArray[np.float64],
    width: int,
    height: int,
) -> npt.NDArray[np.float64]:
    """Turn vertices and move them to the centre."""
    angle = np.radians(_checked(roi, np.array(frame.rotation)))
    cos, sin = np.cos(angle), np.sin(angle)
    turned = offsets @ np.array([[cos, sin], [-sin, cos]])
    if frame.rotation == 0:
        turned = offsets
    return _checked(roi, turned + _center(frame, width, height))


def _center(frame: RoiKeyFrame, width: int, height: int) -> npt.NDArray[np.float64]:
    center = (1 + frame.center_x) * width / 2, (1 + frame.center_y) * height / 2
    return np.array(center)


def _checked(roi: Roi, pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if not (np.abs(pixels) <= _MAX_PIXELS).all():  # NaN is not, either
        raise ValueError(f"ROI {roi.id}: its coordinates are not finite, or too large")
    return pixels


def _round(frame: RoiKeyFrame, width: int, height: int) -> npt.NDArray[np.float64]:
    radii = np.abs([frame.size_x * width / 4, frame.size_y * height / 4])
    largest = min(float(radii.max()), _MAX_PIXELS)
    n = 16
    if largest > 1:
        n = max(n, int(np.ceil(np.pi / np.arccos(1 - _ROUND_ERROR / largest))))
    angles = np.arange(min(n, 4096)) * (2 * np.pi / min(n, 4096))
    return np.column_stack((np.cos(angles) * radii[0], np.sin(angles) * radii[1]))


def _ellipse(
    roi: Roi, frame: RoiKeyFrame, width: int, height: int
) -> npt.NDArray[np.bool_]:
    size = np.array([frame.size_x * width / 4, frame.size_y * height / 4])
    a, b = np.abs(_checked(roi, size)).tolist()
    x, y = _checked(roi, _center(frame, width, height)).tolist()
    degrees = float(_checked(roi, np.array(frame.rotation)))
    return shapes.ellipse((x, y), (a, b), degrees, width, height)


def _hole(roi: Roi, frame: RoiKeyFrame) -> RoiKeyFrame | None:
    if frame.inner_size is None:
        warn_user(f"the hole of ring ROI {roi.id} is not known; all of it is taken")
        return None
    return replace(frame, size_x=frame.inner_size[0], size_y=frame.inner_size[1])


def _smooth(nodes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return points along the closed curve through some nodes (Catmull-Rom)."""
    if len(nodes) < 3:
        return nodes
    after, second = np.roll(nodes, -1, axis=0), np.roll(nodes, -2, axis=0)
    before = np.roll(nodes, 1, axis=0)
    chord = float(np.hypot(*(after - nodes).T).max())
    t = np.arange(n := int(np.clip(np.ceil(2 * np.sqrt(chord)), 4, 64))) / n
    t = t[:, np.newaxis]
    first = nodes + (after - before) / 6
    last = after - (second - nodes) / 6
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    parts = (nodes, first, last, after)
    curve = sum(
        w * part[:, np.newaxis, :] for w, part in zip(weights, parts, strict=True)
    )
    return np.asarray(curve).reshape(-1, 2)


def _raster(
    roi: Roi, width: int, height: int, labels: npt.NDArray[np.integer] | None
) -> npt.NDArray[np.bool_]:
    if labels is None:
        raise UnsupportedFeature(
            f"ROI {roi.id} is a raster: its pixels are in RoiRleGlobal_v1, give `labels`"
        )
    if labels.shape != (height, width):
        raise ValueError(
            f"ROI {roi.id}: labels of shape {labels.shape} for an image of "
            f"{height} rows and {width} columns"
        )
    return np.asarray(labels == roi.id)
