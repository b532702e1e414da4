"""Files that the drop-in for limnd2 wrote: the vendor's walk-through, streams, additions."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from limnd2_xr.compat import limnd2

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "limnd2_writer.py"
HEIGHT, WIDTH = 201, 264


def write_all(folder: Path) -> list[Path]:
    """Write each with its pixels beside it; return the paths."""
    paths = []
    for make in (_example, _stream, _lossless, _added):
        path = folder / f"limnd2{make.__name__}.nd2"
        frames = make(path)
        truth: dict[str, Any] = {str(i): frame for i, frame in enumerate(frames)}
        np.savez(path.with_suffix(".truth.npz"), **truth)
        paths.append(path)
    return paths


def _example(path: Path) -> list[Any]:
    names = runpy.run_path(str(EXAMPLE))
    names["write"](str(path))
    return [names["create_random_noise"](i) for i in range(names["SEQUENCE_COUNT"])]


def _stream(path: Path) -> list[Any]:
    names = runpy.run_path(str(EXAMPLE))
    names["stream"](str(path))
    return [names["create_random_noise"](i) for i in range(names["SEQUENCE_COUNT"])]


def _frames(count: int, components: int, dtype: str) -> list[Any]:
    rng = np.random.default_rng(count)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramp = (x + y) % 100
    noise = rng.integers(0, 100, (count, HEIGHT, WIDTH, components))
    return list((noise + ramp[:, :, None]).astype(dtype))


def _lossless(path: Path) -> list[Any]:
    """Positions with times, written backwards and compressed."""
    frames = _frames(4, 3, "uint8")
    made = limnd2.ImageAttributes.create(HEIGHT, WIDTH, 3, 8, 4)
    lossless = limnd2.ImageAttributesCompression.ictLossLess
    points = {"xcoords": [0, 100, 200, 300], "ycoords": [5, 6, 7, 8]}
    with limnd2.Nd2Writer(path) as writer:
        writer.imageAttributes = replace(made, eCompression=lossless)
        for number in (1, 3, 2, 0):
            writer.setImage(number, frames[number], acqtime=number * 1500.0)
        writer.experiment = limnd2.ExperimentFactory(m=points)()
        planes = [{"name": name, "emission_wavelength": 500} for name in "ABC"]
        writer.pictureMetadata = limnd2.MetadataFactory(
            planes, pixel_calibration=0.5, objective_magnification=20
        )()
    return frames


def _added(path: Path) -> list[Any]:
    """Frames added to a file.

    None is replaced: Bio-Formats counts copies of frames that the map does not list.
    """
    frames = _frames(4, 2, "uint16")
    made = limnd2.ImageAttributes.create(HEIGHT, WIDTH, 2, 12, 2)
    with limnd2.Nd2Writer(path) as writer:
        writer.imageAttributes = made
        for number in range(2):
            writer.setImage(number, frames[number], acqtime=number * 20.0)
    with limnd2.Nd2Writer(path, append=True) as writer:
        writer.imageAttributes = replace(made, uiSequenceCount=4)
        for number in (3, 2):
            writer.setImage(number, frames[number], acqtime=number * 20.0)
        writer.experiment = limnd2.ExperimentFactory(z={"count": 4, "step": 0.5})()
    return frames
