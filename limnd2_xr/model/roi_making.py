"""ROIs from pixels: the inverse of `roi_geometry` (FORMAT 10.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import index
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, TypedDict

import numpy as np

from limnd2_xr.model.rois import Roi, RoiKeyFrame

if TYPE_CHECKING:
    import numpy.typing as npt

    from limnd2_xr.model.rois import RoiInterpretation, RoiShape

__all__ = ["RoiOptions", "RoiWindow", "box_roi", "node_roi"]

_FEWEST: Final[dict[RoiShape, int]] = {"polygon": 3, "bezier": 3, "line": 2}
_NODES: Final = 2
"""Least number of nodes of other shapes."""


class RoiOptions(TypedDict, total=False):
    """What else can be said of a ROI that is made."""

    id: SupportsIndex
    """Number; 0, which stands for a free one, if it is not given."""
    label: str
    """Name."""
    color: str
    """Colour of the outline, ``#rrggbb``; red if it is not given."""
    position: SupportsIndex | None
    """Index along P of the stage position that it belongs to; None for all."""
    interpretation: RoiInterpretation
    """What it is for; ``"standard"`` if it is not given."""
    stimulation_group: int
    """Group of stimulated ROIs."""
    locked: bool
    """Whether it is protected against changes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoiWindow:
    """Part of an image that becomes an image of its own.

    Examples
    --------
    >>> roi = box_roi("point", (50, 20), (0, 0), (80, 60))
    >>> part = RoiWindow(left=40, top=0, width=20, height=60, old_size=(80, 60))
    >>> part.moved(roi).key_frames[0].center_x  # the centre of the part
    0.0
    """

    left: int
    """First column."""
    top: int
    """First row."""
    width: int
    """Columns."""
    height: int
    """Rows."""
    old_size: tuple[int, int]
    """Width and height of the whole image."""

    def moved(self, roi: Roi) -> Roi:
        """Return a ROI that lies on the same pixels of the part, or beside it.

        Parameters
        ----------
        roi
            On the whole image.
        """
        if (self.width, self.height) == self.old_size:
            return roi
        frames = tuple(map(self._moved_frame, roi.key_frames))
        return replace(roi, key_frames=frames)

    def _moved_frame(self, frame: RoiKeyFrame) -> RoiKeyFrame:
        by_x, by_y = self.old_size[0] / self.width, self.old_size[1] / self.height
        hole = frame.inner_size
        return replace(
            frame,
            center_x=(1 + frame.center_x) * by_x - 2 * self.left / self.width - 1,
            center_y=(1 + frame.center_y) * by_y - 2 * self.top / self.height - 1,
            size_x=frame.size_x * by_x,
            size_y=frame.size_y * by_y,
            inner_size=None if hole is None else (hole[0] * by_x, hole[1] * by_y),
            points=tuple((x * by_x, y * by_y) for x, y in frame.points),
        )


def box_roi(
    shape: RoiShape,
    center: tuple[float, float],
    size: tuple[float, float],
    image: tuple[int, int],
    *,
    rotation: float = 0.0,
    options: RoiOptions | None = None,
) -> Roi:
    """Make a ROI that its box describes: a rectangle, an ellipse, a point.

    Parameters
    ----------
    shape
        What it looks like.
    center
        X and Y in pixels.
    size
        Width and height of the box in pixels, before it is turned.
    image
        Width and height of the image.
    rotation
        Angle about the centre in degrees, from X towards Y.
    options
        What else is said of it.

    Examples
    --------
    >>> box_roi("circle", (40, 30), (20, 20), (80, 60)).key_frames[0].size_x
    0.5
    """
    values = _finite([center, size, (rotation, 0.0)], shape)
    half = _half(image)
    (x, y), (width, height) = values[0] / half - 1.0, values[1] / half
    frame = RoiKeyFrame(
        center_x=float(x),
        center_y=float(y),
        rotation=float(rotation),
        size_x=float(width),
        size_y=float(height),
    )
    return _roi(shape, frame, options)


def node_roi(
    shape: RoiShape,
    nodes: npt.ArrayLike,
    image: tuple[int, int],
    *,
    options: RoiOptions | None = None,
) -> Roi:
    """Make a ROI that its nodes describe: a polygon, a polyline, a Bezier shape.

    Its centre is that of the box around the nodes.

    Parameters
    ----------
    shape
        What it looks like.
    nodes
        X and Y of each in pixels, of shape (n, 2).
    image, options
        As for `box_roi`.

    Raises
    ------
    ValueError
        If there are too few nodes, or they are no pairs of finite numbers.

    Examples
    --------
    >>> roi = node_roi("polygon", [(10, 10), (30, 10), (30, 20)], (80, 60))
    >>> roi.key_frames[0].points[0]
    (-0.25, -0.16666666666666666)
    """
    found = _finite(nodes, shape)
    fewest = _FEWEST.get(shape, _NODES)
    if len(found) < fewest:
        raise ValueError(f"a {shape} has {fewest} nodes or more, not {len(found)}")
    half = _half(image)
    low, high = found.min(axis=0), found.max(axis=0)
    center = (low + high) / 2
    points = (found - center) / half
    x, y = (center / half - 1.0).tolist()
    width, height = ((high - low) / half).tolist()
    frame = RoiKeyFrame(
        center_x=x,
        center_y=y,
        size_x=width,
        size_y=height,
        points=tuple((px, py) for px, py in points.tolist()),
    )
    return _roi(shape, frame, options)


def _roi(shape: RoiShape, frame: RoiKeyFrame, options: RoiOptions | None) -> Roi:
    given: dict[str, Any] = dict(options or {})
    position = given.get("position")
    if position is not None:
        given["position"] = index(position)
    given["id"] = index(given.get("id", 0))
    given.setdefault("scope", "global" if position is None else "position")
    return Roi(shape=shape, key_frames=(frame,), **given)


def _half(image: tuple[int, int]) -> npt.NDArray[np.float64]:
    if min(image) < 1:
        raise ValueError(f"an image of {image[0]} x {image[1]} pixels has no ROIs")
    return np.array(image, np.float64) / 2


def _finite(nodes: npt.ArrayLike, shape: str) -> npt.NDArray[np.float64]:
    found = np.asarray(nodes, np.float64)
    if found.ndim != 2 or found.shape[1] != 2:
        raise ValueError(
            f"nodes of a {shape} have the shape (n, 2), x and y of each, not {found.shape}"
        )
    if not np.isfinite(found).all():
        raise ValueError(f"a {shape} with coordinates that are not finite")
    return found
