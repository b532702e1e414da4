"""A ROI on its image: outlines and masks in pixels, and ROIs made from pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from limnd2_xr.model import roi_geometry
from limnd2_xr.model.roi_making import box_roi, node_roi

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike, NDArray

    from limnd2_xr.model.roi_making import RoiOptions
    from limnd2_xr.model.rois import Roi, RoiShape

__all__ = ["ImageRoi"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRoi:
    """A ROI together with the image that it lies on.

    Its class methods make ROIs from pixels: the image reaches from (0, 0) to (width,
    height), so the centre of the first pixel is (0.5, 0.5). All of them take what
    `RoiOptions` names, too: `label`, `color`, `position` ...

    Examples
    --------
    >>> roi = ImageRoi.polygon(
    ...     [(10, 10), (30, 10), (30, 20)], width=80, height=60, label="cell"
    ... )
    >>> roi.to_polygon().round(9).tolist()
    [[10.0, 10.0], [30.0, 10.0], [30.0, 20.0]]
    """

    roi: Roi
    """What the file says about it."""
    width: int
    """Pixels of a row of the image."""
    height: int
    """Rows of the image."""
    labels: NDArray[np.uint32] | None = field(default=None, repr=False, compare=False)
    """Pixels of all raster ROIs by their numbers, if there are any."""

    @classmethod
    def polygon(
        cls,
        vertices: ArrayLike,
        *,
        width: int,
        height: int,
        **options: Unpack[RoiOptions],
    ) -> ImageRoi:
        """Make a closed shape with straight edges.

        Parameters
        ----------
        vertices
            X and Y of each in pixels, of shape (n, 2); the first is not repeated.
        width, height
            Size of the image in pixels.
        **options
            See `RoiOptions`.

        Raises
        ------
        ValueError
            If there are less than three, or some are not finite.
        """
        roi = node_roi("polygon", vertices, (width, height), options=options)
        return cls(roi=roi, width=width, height=height)

    @classmethod
    def polyline(
        cls,
        vertices: ArrayLike,
        *,
        width: int,
        height: int,
        **options: Unpack[RoiOptions],
    ) -> ImageRoi:
        """Make a path of straight lines; parameters as for `polygon`, two vertices do."""
        roi = node_roi("polyline", vertices, (width, height), options=options)
        return cls(roi=roi, width=width, height=height)

    @classmethod
    def line(
        cls,
        start: tuple[float, float],
        end: tuple[float, float],
        *,
        width: int,
        height: int,
        **options: Unpack[RoiOptions],
    ) -> ImageRoi:
        """Make a straight line from one point, x and y in pixels, to another."""
        roi = node_roi("line", [start, end], (width, height), options=options)
        return cls(roi=roi, width=width, height=height)

    @classmethod
    def point(
        cls,
        x: float,
        y: float,
        *,
        width: int,
        height: int,
        **options: Unpack[RoiOptions],
    ) -> ImageRoi:
        """Make a point, in pixels."""
        image = (width, height)
        roi = box_roi("point", (x, y), (0.0, 0.0), image, options=options)
        return cls(roi=roi, width=width, height=height)

    @classmethod
    def rectangle(
        cls,
        center: tuple[float, float],
        size: tuple[float, float],
        *,
        width: int,
        height: int,
        rotation: float = 0.0,
        **options: Unpack[RoiOptions],
    ) -> ImageRoi:
        """Make a rectangle.

        Parameters
        ----------
        center
            X and Y in pixels.
        size
            Width and height in pixels, before it is turned.
        width, height
            Size of the image in pixels.
        rotation
            Angle about the centre in degrees, clockwise as seen.
        **options
            See `RoiOptions`.

        Raises
        ------
        ValueError
            If a number is not finite.

        Examples
        --------
        >>> roi = ImageRoi.rectangle((2, 1), (4, 2), width=8, height=4)
        >>> roi.to_polygon().tolist()
        [[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [0.0, 2.0]]
        """
        image = (width, height)
        roi = box_roi(
            "rectangle", center, size, image, rotation=rotation, options=options
        )
        return cls(roi=roi, width=width, height=height)

    @classmethod
    def ellipse(
        cls,
        center: tuple[float, float],
        size: tuple[float, float],
        *,
        width: int,
        height: int,
        rotation: float = 0.0,
        **options: Unpack[RoiOptions],
    ) -> ImageRoi:
        """Make an ellipse in a rectangle, see `rectangle`; a circle if it is a square."""
        shape: RoiShape = "circle" if size[0] == size[1] else "ellipse"
        image = (width, height)
        roi = box_roi(shape, center, size, image, rotation=rotation, options=options)
        return cls(roi=roi, width=width, height=height)

    @classmethod
    def raster(cls, mask: ArrayLike, *, id: int, **options: Any) -> ImageRoi:  # noqa: A002
        """Make a ROI of the pixels of a mask.

        Parameters
        ----------
        mask
            True where the ROI is, of shape (Y, X).
        id
            Number, 1 or more: another one for each such ROI of a file. They must not
            overlap.
        **options
            See `RoiOptions`.

        Raises
        ------
        ValueError
            If the mask has another shape, or the number is below 1.

        Examples
        --------
        >>> ImageRoi.raster([[True, False]], id=3).to_mask()
        array([[ True, False]])
        """
        pixels = np.asarray(mask, np.bool_)
        if pixels.ndim != 2 or id < 1:
            raise ValueError(
                f"a raster ROI has a mask over Y and X, and a number from 1 on; these are "
                f"of shape {pixels.shape} and {id}"
            )
        height, width = pixels.shape
        whole = (width, height)
        given = cast("RoiOptions", {**options, "id": id})
        center = (width / 2, height / 2)
        return cls(
            roi=box_roi("raster", center, whole, whole, options=given),
            width=width,
            height=height,
            labels=pixels * np.uint32(id),
        )

    @property
    def id(self) -> int:
        """Number of the ROI; 0 for one that gets a number when it is written."""
        return self.roi.id

    @property
    def label(self) -> str:
        """Name that the user gave."""
        return self.roi.label

    def to_polygon(self, time_s: float | None = None) -> NDArray[np.float64]:
        """Outline in pixels: vertices x, y, of shape (n, 2); y counts downwards.

        Parameters
        ----------
        time_s
            Moment, for one that moves; None for its first place.
        """
        outlines = self.to_polygons(time_s)
        return outlines[0] if outlines else np.empty((0, 2))

    def to_polygons(self, time_s: float | None = None) -> list[NDArray[np.float64]]:
        """All outlines in pixels, holes among them (even-odd rule).

        Parameters
        ----------
        time_s
            As for `to_polygon`.
        """
        return roi_geometry.polygons(
            self.roi, self.width, self.height, _ms(time_s), labels=self.labels
        )

    def to_mask(self, time_s: float | None = None) -> NDArray[np.bool_]:
        """Pixels whose centres lie inside: bool of shape (Y, X).

        Parameters
        ----------
        time_s
            As for `to_polygon`.
        """
        return roi_geometry.mask(
            self.roi, self.width, self.height, _ms(time_s), labels=self.labels
        )


def _ms(time_s: float | None) -> float | None:
    return None if time_s is None else time_s * 1000.0
