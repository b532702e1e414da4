"""A small synthetic experiment: cells that divide their time between two channels.

Nuclei drift and breathe, a spot of GFP circles in each; photon noise on top. Frames are
computed when they are asked for, so the scene takes no memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Scene", "experiment"]

START = np.datetime64("2026-05-04T08:30:00", "ns")
PERIOD_S = 30.0
EXPOSURE_S = (0.05, 0.2)
Z_STEP_UM = 0.8
PIXEL_UM = 0.325


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is where at which time."""

    sizes: dict[str, int] = field(
        default_factory=lambda: {"T": 8, "P": 2, "Z": 5, "C": 2, "Y": 256, "X": 256}
    )
    """Length of each dim."""
    cells: int = 14
    """Cells in each field of view."""
    seed: int = 20
    """Of positions and noise."""

    def frame(self, t: int, p: int, z: int) -> NDArray[np.uint16]:
        """One frame: both channels of one time, position and slice.

        Returns
        -------
        ndarray of uint16
            Of shape (C, Y, X), 12 significant bits.
        """
        n = self.sizes
        light = np.full((n["C"], n["Y"], n["X"]), 90.0, dtype=np.float32)
        rows = np.arange(n["Y"], dtype=np.float32)[:, None]
        columns = np.arange(n["X"], dtype=np.float32)[None, :]
        depth = (z - (n["Z"] - 1) / 2) * Z_STEP_UM
        rng = np.random.default_rng([self.seed, p])
        for _ in range(self.cells):
            y, x = rng.uniform(0.1, 0.9, 2) * (n["Y"], n["X"])
            height, size = rng.uniform(-1, 1), rng.uniform(8, 14)
            angle, bright = rng.uniform(0, 2 * np.pi), rng.uniform(600, 1500)
            y += t * 2.0 * np.sin(angle)
            x += t * 2.0 * np.cos(angle)
            blur = 1 + ((depth - height) / 1.5) ** 2
            size *= 1 + 0.08 * np.sin(t + angle)
            at = (y, x, size * np.sqrt(blur), bright / blur)
            light[0] += _spot(rows, columns, *at)
            turn = angle + 0.6 * t
            spot_y, spot_x = (
                y + 0.5 * size * np.sin(turn),
                x + 0.5 * size * np.cos(turn),
            )
            at = (spot_y, spot_x, 3.0 * np.sqrt(blur), 2200 / blur)
            light[1] += 0.12 * _spot(rows, columns, y, x, size, bright)
            light[1] += _spot(rows, columns, *at)
        noise = np.random.default_rng([self.seed, t, p, z])
        return np.minimum(noise.poisson(light), 4095).astype(np.uint16)

    def times_s(self) -> NDArray[np.float64]:
        """When each frame was taken, seconds since the start, of shape (T, P, Z)."""
        t, p, z = (self.sizes[dim] for dim in "TPZ")
        step = sum(EXPOSURE_S) + 0.02
        order = np.arange(p * z).reshape(p, z) * step
        late = np.random.default_rng(self.seed).uniform(0, 0.3, t).round(3)
        nominal = np.arange(t) * PERIOD_S
        return (nominal + late)[:, None, None] + order[None]


def experiment(scene: Scene) -> xr.DataArray:
    """Return a scene as a lazy array with everything that a microscope records.

    Parameters
    ----------
    scene
        What is shown.
    """
    import dask.array

    sizes = scene.sizes
    loops = tuple(sizes[dim] for dim in "TPZ")
    data = dask.array.map_blocks(
        _block,
        scene=scene,
        chunks=(*((1,) * n for n in loops), *((sizes[dim],) for dim in "CYX")),
        dtype=np.uint16,
        meta=np.empty((0,) * 6, np.uint16),
    )
    times = scene.times_s()
    z = (np.arange(sizes["Z"]) - sizes["Z"] // 2) * Z_STEP_UM
    x0, y0 = np.array([1200.0, 4850.0]), np.array([-640.0, -655.0])
    count = sizes["P"]
    over = ("T", "P", "Z")
    coords = {
        "T": ("T", np.arange(sizes["T"]) * PERIOD_S, {"units": "s"}),
        "P": ("P", [f"well {letter}1" for letter in "ABCDEFGH"[:count]]),
        "Z": ("Z", z, {"units": "um"}),
        "C": ("C", ["DAPI", "GFP"]),
        "Y": ("Y", np.arange(sizes["Y"]) * PIXEL_UM, {"units": "um"}),
        "X": ("X", np.arange(sizes["X"]) * PIXEL_UM, {"units": "um"}),
        "time": (over, times, {"units": "s"}),
        "acquired": (over, START + (times * 1e9).astype("timedelta64[ns]")),
        "stage_x": (over, np.broadcast_to(x0[:count, None], loops), {"units": "um"}),
        "stage_y": (over, np.broadcast_to(y0[:count, None], loops), {"units": "um"}),
        "stage_z": (over, np.broadcast_to(3000.0 + z, loops), {"units": "um"}),
        "position_x": ("P", x0[:count], {"units": "um"}),
        "position_y": ("P", y0[:count], {"units": "um"}),
        "color": ("C", ["#3d6bff", "#3dff6b"]),
        "excitation_wavelength": ("C", [395.0, 470.0], {"units": "nm"}),
        "emission_wavelength": ("C", [450.0, 515.0], {"units": "nm"}),
        "exposure_time": ("C", list(EXPOSURE_S), {"units": "s"}),
        "modality": ("C", ["fluorescence, spinning disk"] * 2),
    }
    attrs = {
        "objective": "Plan Apo 20x",
        "magnification": 20.0,
        "numerical_aperture": 0.75,
        "refractive_index": 1.0,
        "significant_bits": 12,
        "description": "Synthetic cells: drifting nuclei and circling GFP spots",
    }
    return xr.DataArray(data, coords, dims=("T", "P", "Z", "C", "Y", "X"), attrs=attrs)


def _spot(
    rows: NDArray[np.float32],
    columns: NDArray[np.float32],
    y: float,
    x: float,
    size: float,
    bright: float,
) -> NDArray[np.float32]:
    across = np.exp(-(((rows - np.float32(y)) / np.float32(size)) ** 2))
    along = np.exp(-(((columns - np.float32(x)) / np.float32(size)) ** 2))
    spot: NDArray[np.float32] = np.float32(bright) * across * along
    return spot


def _block(scene: Scene, block_id: tuple[int, ...]) -> NDArray[np.uint16]:
    t, p, z = block_id[:3]
    return scene.frame(t, p, z)[None, None, None]
