"""`limnd2-xr demo`: write a small experiment, open it again, measure it, show it."""

# ruff: noqa: TID253  (the command alone needs rich, and imports this when it runs)

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.text import Text

from limnd2_xr.cli.demo_scene import Scene, experiment
from limnd2_xr.errors import Nd2Error

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["demo"]

PICTURE_COLUMNS = 64
"""Columns of the picture; each cell of the terminal shows two pixels."""


def demo(
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT.nd2", help="File to write."),
    ] = Path("demo.nd2"),
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
) -> None:
    """Write a small synthetic experiment as .nd2, open it with xarray and measure it.

    Needs no input. Several time points, two positions, a Z stack and two fluorescence
    channels with moving cells, true times and stage positions.
    """
    scene = Scene()
    image = experiment(scene)
    try:
        seconds = _timed(lambda: image.nd2.write_nd2(out, overwrite=overwrite))
    except FileExistsError:
        sys.stderr.write(f"limnd2-xr: {out}: exists already; --overwrite replaces it\n")
        raise typer.Exit(2) from None
    except (Nd2Error, OSError) as error:
        sys.stderr.write(f"limnd2-xr: {error}\n")
        raise typer.Exit(2) from None
    _show(out, scene, seconds)


def _show(path: Path, scene: Scene, write_s: float) -> None:
    import xarray as xr

    begin = time.perf_counter()
    with xr.open_dataset(path, engine="nd2") as dataset:
        open_s = time.perf_counter() - begin
        print(dataset)
        print()
        image = dataset["image"]
        frames = image.size // (image.sizes["Y"] * image.sizes["X"] * image.sizes["C"])
        megabytes = path.stat().st_size / 1e6
        print(f"wrote {path}: {frames} frames, {megabytes:.1f} MB in {write_s:.2f} s")
        print(f"opened in {1e3 * open_s:.1f} ms, metadata only")
        pixels: list[NDArray[np.uint16]] = []
        last = image.isel(T=-1, P=0)
        project_s = _timed(lambda: pixels.append(last.max("Z").values))
        print(f"one maximum projection over Z: {1e3 * project_s:.1f} ms")
        _tell_signals(image)
        _compare(image, scene)
        print()
        _picture(pixels[0], dataset["color"].values.tolist())


def _tell_signals(image: xr.DataArray) -> None:
    """Print how bright each channel is along time, brightest pixel of each frame."""
    brightest = image.isel(P=0).max(["Z", "Y", "X"]).values
    for name, values in zip(image["C"].values, brightest.T, strict=True):
        print(f"{name} brightest pixel over T: {' '.join(map(str, values.tolist()))}")


def _compare(image: xr.DataArray, scene: Scene) -> None:
    """Read some frames back and compare them with what was computed."""
    sizes = scene.sizes
    checked = [(0, 0, 0), (sizes["T"] - 1, sizes["P"] - 1, sizes["Z"] - 1)]
    for t, p, z in checked:
        found = image.isel(T=t, P=p, Z=z).values
        if not np.array_equal(found, scene.frame(t, p, z)):
            sys.stderr.write(
                f"limnd2-xr: frame T={t}, P={p}, Z={z} reads differently\n"
            )
            raise typer.Exit(1)
    first = image["time"].isel(T=1, P=0, Z=0)
    print(
        f"frames read back equal what was written; T=1 was taken at {float(first):.3f} s"
    )


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _picture(channels: NDArray[np.uint16], colors: list[str]) -> None:
    """Print the channels in their colours, two rows of pixels in each line."""
    step = -(-channels.shape[2] // PICTURE_COLUMNS)
    rows = channels.shape[1] // (2 * step) * 2
    columns = channels.shape[2] // step
    light = np.zeros((rows, columns, 3))
    for pixels, color in zip(channels, colors, strict=True):
        small = pixels[: rows * step, : columns * step].astype(np.float64)
        small = small.reshape(rows, step, columns, step).mean((1, 3))
        low, high = np.percentile(small, (5, 99.8))
        shade = np.clip((small - low) / max(high - low, 1.0), 0, 1)[..., None]
        rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
        light += shade * rgb
    shown = np.minimum(light, 255).astype(int).tolist()
    console = Console(highlight=False, width=max(columns, 80))
    if not console.is_terminal:
        _shades(np.minimum(light, 255).max(-1))
        return
    for upper, lower in zip(shown[::2], shown[1::2], strict=True):
        line = Text()
        for top, bottom in zip(upper, lower, strict=True):
            style = f"rgb({top[0]},{top[1]},{top[2]}) on "
            line.append("\u2580", style + f"rgb({bottom[0]},{bottom[1]},{bottom[2]})")
        console.print(line)


def _shades(light: NDArray[np.float64]) -> None:
    """Print a picture without colours, two rows of pixels in each line."""
    signs = " .:-=+*#%@"
    levels = (light.reshape(-1, 2, light.shape[1]).mean(1) / 256 * len(signs)).astype(
        int
    )
    for row in levels.tolist():
        print("".join(signs[level] for level in row).rstrip())
