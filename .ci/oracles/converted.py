"""Files that this package converted: a sequence of TIFF, OME-TIFF, netCDF, OME-Zarr."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from written import image, in_wells, save_truth

from limnd2_xr import convert_to_nd2

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr

PLANE = {"Y": 200, "X": 260}
PER_FRAME = ["time", "acquired", "stage_x", "stage_y", "stage_z"]
STEP = 0.7


def write_all(folder: Path) -> dict[Path, xr.DataArray]:
    """Convert each; return by path what should be in it."""
    inputs = folder / "to_convert"
    inputs.mkdir()
    found = {}
    for make in (_sequence, _ome_tiff, _netcdf, _ome_zarr):
        path = folder / f"converted{make.__name__}.nd2"
        found[path] = make(inputs, path)
        save_truth(path, found[path])
    return found


def _sequence(inputs: Path, path: Path) -> xr.DataArray:
    import tifffile

    array = image({"T": 2, "Z": 3, "C": 2, **PLANE}).drop_vars(PER_FRAME)
    for t, z, c in np.ndindex(2, 3, 2):
        name = f"t{t + 9}_z{z}_{array['C'].values[c]}.tif"
        tifffile.imwrite(inputs / name, array.values[t, z, c])
    convert_to_nd2(
        f"{inputs}/t{{T}}_z{{Z}}_{{C}}.tif",
        path,
        time_step=20,
        z_step=STEP,
        pixel_size=0.325,
        emission=array["emission_wavelength"].values.tolist(),
        objective="Plan Apo 20x",
        compression="zlib",
        on_loss="raise",
    )
    # Nothing else tells when a frame was taken.
    times = np.broadcast_to(array["T"].values[:, None], (2, 3))
    return array.assign_coords(time=(("T", "Z"), times, {"units": "s"}))


def _ome_tiff(inputs: Path, path: Path) -> xr.DataArray:
    import tifffile

    array = image({"T": 3, "Z": 2, "C": 2, **PLANE}).drop_vars("acquired")
    frames = [(t, z) for t in range(3) for z in range(2) for _ in range(2)]
    planes = {
        "DeltaT": [float(array["time"][t, z]) for t, z in frames],
        "DeltaTUnit": ["s"] * len(frames),
    }
    for axis in "XYZ":
        values = array[f"stage_{axis.lower()}"]
        planes[f"Position{axis}"] = [float(values[t, z]) for t, z in frames]
        planes[f"Position{axis}Unit"] = ["µm"] * len(frames)
    metadata = {
        "axes": "TZCYX",
        "PhysicalSizeX": 0.325,
        "PhysicalSizeY": 0.325,
        "PhysicalSizeZ": STEP,
        "TimeIncrement": 20.0,
        "Channel": {
            "Name": array["C"].values.tolist(),
            "EmissionWavelength": array["emission_wavelength"].values.tolist(),
        },
        "Plane": planes,
    }
    source = inputs / "a.ome.tif"
    tifffile.imwrite(
        source, array.values, metadata=metadata, photometric="minisblack", tile=(64, 64)
    )
    convert_to_nd2(source, path, on_loss="raise")
    return array


def _netcdf(inputs: Path, path: Path) -> xr.DataArray:
    array = in_wells(image({"T": 2, "P": 4, "C": 2, **PLANE}))
    array.rename("image").to_netcdf(inputs / "a.nc", engine="h5netcdf")
    convert_to_nd2(inputs / "a.nc", path, on_loss="raise")
    return array


def _ome_zarr(inputs: Path, path: Path) -> xr.DataArray:
    import zarr

    array = image({"Z": 5, "C": 3, **PLANE}, "uint8")
    told = array.drop_vars([*PER_FRAME, "emission_wavelength"])
    group = zarr.open_group(inputs / "a.zarr", mode="w", zarr_format=3)
    pixels = array.transpose("C", "Z", "Y", "X").values
    group.create_array("0", data=pixels, chunks=(1, 2, 100, 130))
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [
                    {"name": "c", "type": "channel"},
                    *(
                        {"name": name, "type": "space", "unit": "micrometer"}
                        for name in "zyx"
                    ),
                ],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": [1.0, STEP, 0.325, 0.325]}
                        ],
                    }
                ],
            }
        ],
        "omero": {"channels": [{"label": name} for name in array["C"].values.tolist()]},
    }
    convert_to_nd2(inputs / "a.zarr", path, on_loss="raise")
    return told
