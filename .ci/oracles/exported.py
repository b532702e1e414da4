"""Samples exported as OME-TIFF: Bio-Formats has to read the same pixels and metadata."""

# ruff: noqa: S603

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPORTS: dict[str, dict[str, Any]] = {
    "real/confocal_t3_z10_c2": {},
    "real/fluo_c4": {"compression": "zlib", "pyramid": 2, "tile": 64},
    "real/rgb8": {"compression": "lzw", "tile": 128},
    "real/timelapse_t53": {"compression": "zstd", "tile": 64, "bigtiff": True},
    "real/zstack_z11": {"pyramid": 1, "tile": None},
    "made/a3_z_3c_12bit": {"compression": "jpeg2000", "tile": 32},
    "made/c_rgb_u8": {"tile": 32, "pyramid": 1},
    "made/d_f32_single": {"compression": "zlib", "tile": 64},
    "made/f_t_xy_z": {"compression": "zlib", "tile": None},
    "made/r12_t_f32_2c": {},
}
"""Samples and how each is written."""
TYPES = {"float32": "float"}
AT_ONCE = 2


def check(samples: Path, folder: Path) -> bool:
    """Export samples, compare what Bio-Formats reads, print what differs.

    Returns
    -------
    bool
        Whether anything does.
    """
    folder.mkdir()

    def one(item: tuple[str, dict[str, Any]]) -> list[str]:
        name, options = item
        return list(_differences(samples / f"{name}.nd2", folder, options))

    failed = False
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name, found in zip(EXPORTS, pool.map(one, EXPORTS.items()), strict=True):
            for text in found:
                print(f"OME-TIFF DISAGREES {name}: {text}")  # noqa: T201
            failed |= bool(found)
    print(f"{len(EXPORTS)} OME-TIFF files read by Bio-Formats")  # noqa: T201
    return failed


def _differences(path: Path, folder: Path, options: dict[str, Any]) -> Iterator[str]:
    target = folder / f"{path.stem}.ome.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with xr.open_dataset(path, engine="nd2") as ds:
            ds.nd2.to_ome_tiff(target, **options)
            image = ds["image"].load()
    positions = image.expand_dims("P") if "P" not in image.dims else image
    series = _read(target)["series"]
    # Smaller copies are series of their own there, each after its image.
    levels = 1 + options.get("pyramid", 0)
    if len(series) != positions.sizes["P"] * levels:
        yield f"{len(series)} series"
        return
    for number in range(positions.sizes["P"]):
        whole, *copies = series[number * levels : (number + 1) * levels]
        yield from _compare(whole, positions.isel(P=number))
        for level, copy in enumerate(copies, 1):
            wanted = whole["X"] >> level, whole["Y"] >> level
            if (copy["X"], copy["Y"]) != wanted:
                yield f"copy {level} is {copy['X']} x {copy['Y']}, not {wanted}"


def _compare(series: dict[str, Any], image: xr.DataArray) -> Iterator[str]:
    """Say what one series has otherwise than one position of an image."""
    one = {"T": 1, "Z": 1, "S": 1, **dict(image.sizes)}
    told = {
        "X": one["X"],
        "Y": one["Y"],
        "Z": one["Z"],
        "T": one["T"],
        "C": one["C"] * one["S"],
        "pixelType": TYPES.get(image.dtype.name, image.dtype.name),
        "physX": image.attrs.get("pixel_size_um"),
        "physZ": image.attrs.get("z_step_um"),
    }
    for key, value in told.items():
        if not _same(series[key], value):
            yield f"{key} is {series[key]}, not {value}"
    names = [str(name) for name in image["C"].values]
    if [channel["name"] for channel in series["channels"]] != names:
        yield f"channels are {series['channels']}"
    for channel, nm in zip(
        series["channels"], image["emission_wavelength"].values, strict=True
    ):
        um = channel["em"]
        if not _same(um and um * 1000, None if np.isnan(nm) else float(nm)):
            yield f"emission is {um} um, not {nm} nm"
    for plane in series["planes"]:
        yield from _compare_plane(plane, image, interleaved=series["interleaved"])


def _compare_plane(
    plane: dict[str, Any], image: xr.DataArray, *, interleaved: bool
) -> Iterator[str]:
    at = {dim: plane[dim.lower()] for dim in ("T", "Z", "C") if dim in image.dims}
    found = image.isel(at)
    pixels = found.transpose(
        *(["Y", "X", "S"] if interleaved else ["S", "Y", "X"])
        if "S" in image.dims
        else ["Y", "X"]
    ).values
    little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    if hashlib.sha256(little.tobytes()).hexdigest() != plane["sha"]:
        yield f"plane {at}: other pixels ({plane['err']})"
    missing = bool(found["missing"]) if "missing" in found.coords else False
    expected = {
        "deltaT": float(found["time"]),
        "exp": float(found["exposure_time"]),
        **{f"pos {axis}": float(found[f"stage_{axis}"]) for axis in "xyz"},
    }
    read = {
        "deltaT": plane["deltaT"],
        "exp": plane["exp"],
        **{f"pos {axis}": v for axis, v in zip("xyz", plane["pos"], strict=True)},
    }
    for key, value in expected.items():
        wanted = None if missing or math.isnan(value) else value
        if not _same(read[key], wanted):
            yield f"plane {at}: {key} is {read[key]}, not {wanted}"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)
    return bool(a == b)


def _read(path: Path) -> dict[str, Any]:
    """Return what Bio-Formats makes of a file."""
    installed = Path(
        os.environ.get("ND2_ORACLES") or Path.home() / ".cache" / "nd2-oracles"
    )
    folder = installed / "bf"
    jar = folder / "bioformats_package.jar"
    done = subprocess.run(
        [
            *("java", "-Xmx2g", "-cp", f"{jar}{os.pathsep}{folder}", "BfDump"),
            *(str(path), "-", "auto"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout.startswith("{"):
        return {"series": [], "error": done.stderr[-300:]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found
