"""Objects of a mask: where they are and how large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["objects_of"]


def objects_of(labels: NDArray[np.uint32]) -> dict[int, dict[str, Any]]:
    """Return box, pixels, first pixel and centre of each object, by its id.

    Parameters
    ----------
    labels
        Of shape (Y, X); 0 is no object.

    Examples
    --------
    >>> objects_of(np.array([[0, 7, 7], [0, 0, 7]], "u4"))[7]["bb"]
    (1, 0, 2, 1)
    """
    y, x = np.nonzero(labels)
    ids, first, which, pixels = np.unique(
        labels[y, x], return_index=True, return_inverse=True, return_counts=True
    )
    count = len(ids)
    left, top = np.full(count, labels.shape[1]), np.full(count, labels.shape[0])
    right, bottom = np.zeros(count, np.intp), np.zeros(count, np.intp)
    np.minimum.at(left, which, x)
    np.minimum.at(top, which, y)
    np.maximum.at(right, which, x)
    np.maximum.at(bottom, which, y)
    center_x = np.bincount(which, x, count) / np.maximum(pixels, 1)
    center_y = np.bincount(which, y, count) / np.maximum(pixels, 1)
    return {
        int(id_): {
            "bb": (int(left[i]), int(top[i]), int(right[i]), int(bottom[i])),
            "seed": (int(x[first[i]]), int(y[first[i]])),
            "pixels": int(pixels[i]),
            "center": (float(center_x[i]), float(center_y[i])),
        }
        for i, id_ in enumerate(ids)
    }
