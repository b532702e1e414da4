"""Pixels of synthetic frames: every frame different, cheap to make, compressible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.testing.specs import SyntheticSpec

__all__ = ["frames"]


def frames(spec: SyntheticSpec, indices: NDArray[np.int64]) -> NDArray[np.generic]:
    """Pixels as stored of the frames at the given sequence indices.

    Parameters
    ----------
    spec
        Description of the file.
    indices
        Sequence indices.

    Returns
    -------
    numpy.ndarray
        Shape (n, height, width, components), in the little-endian dtype of `spec`. A
        gradient that moves from frame to frame with noise on top, within the
        significant bits; zero where a frame is missing.

    Raises
    ------
    ValueError
        If the function `spec.pixels` returns another shape or dtype.

    Examples
    --------
    >>> from limnd2_xr.testing.loop_specs import TimeLoop
    >>> from limnd2_xr.testing.specs import SyntheticSpec
    >>> spec = SyntheticSpec(loops=(TimeLoop(2),), width=5, height=4)
    >>> frames(spec, np.arange(2)).shape
    (2, 4, 5, 1)
    """
    shape = (spec.height, spec.width, spec.n_components)
    dtype = spec.stored_dtype
    if spec.pixels is None:
        out = _pattern(spec, indices, shape)
    else:
        out = np.empty((len(indices), *shape), dtype)
        for k, i in enumerate(indices.tolist()):
            frame = np.asarray(spec.pixels(i))
            if frame.shape != shape or frame.dtype.newbyteorder("<") != dtype:
                raise ValueError(
                    f"pixels({i}) has shape {frame.shape} and dtype {frame.dtype}"
                    f" instead of {shape} and {dtype}"
                )
            out[k] = frame
    if spec.missing:
        out[np.isin(indices, list(spec.missing))] = 0
    return out


def _pattern(
    spec: SyntheticSpec, indices: NDArray[np.int64], shape: tuple[int, int, int]
) -> NDArray[np.generic]:
    height, width, components = shape
    rng = np.random.default_rng(spec.seed)
    noise = rng.integers(0, 1 << 32, shape, np.uint32)
    y, x, c = np.ogrid[:height, :width, :components]
    gradient = (3 * x + 5 * y + 1009 * c).astype(np.uint32)
    i = indices.astype(np.uint32)[:, None, None, None]
    # Multiplying mixes the frame number into the noise; its top five bits are added.
    speckle = (noise * (2 * i + 1) + i * np.uint32(0x9E3779B1)) >> np.uint32(27)
    level = gradient + np.uint32(257) * i + speckle
    dtype = spec.stored_dtype
    if dtype.kind == "f":
        # Few enough bits that every float dtype holds the values exactly.
        quarters: NDArray[np.generic] = (level % np.uint32(2048)) * np.float32(0.25)
        return quarters.astype(dtype)
    bits = spec.n_significant_bits - (dtype.kind == "i")
    masked: NDArray[np.generic] = level & np.uint32((1 << min(bits, 32)) - 1)
    return masked.astype(dtype)
