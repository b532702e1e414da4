"""Packages that import nd2 run on the drop-in: bioio-nd2 unmodified, and the like."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import nd2
import nd2.structures
import numpy as np
import pytest
import xarray as xr

from limnd2_xr import compat
from limnd2_xr.compat import nd2 as ours
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def run(script: str, *args: str) -> Any:
    """Run a script in a process of its own and return the JSON that it prints."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_install_refuses_and_replaces() -> None:
    with pytest.raises(ValueError, match="there is a drop-in for 'nd2'"):
        compat.install("tifffile")
    with pytest.raises(RuntimeError, match="imported already"):
        compat.install("nd2")
    assert sys.modules["nd2"] is nd2
    try:
        assert compat.install("nd2", force=True) is ours
        assert compat.install("nd2") is ours
        import nd2 as found
        from nd2 import _util, structures

        importlib.import_module("nd2.structures")

        assert found is ours
        assert structures is ours.structures
        assert id(_util.AXIS) == id(ours.AXIS)
        assert sys.modules["nd2.structures"] is ours.structures
        assert ours.structures.__spec__.name == ours.structures.__name__
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("nd2._parse")
    finally:
        compat.uninstall("nd2")
    assert sys.modules["nd2"] is nd2
    assert sys.modules["nd2.structures"] is nd2.structures
    compat.uninstall("nd2")


def loaded(script: str, path: str) -> Any:
    """Run a script in this process, as plug-ins are loaded, and return its `found`."""
    names: dict[str, Any] = {"path": path}
    try:
        exec(textwrap.dedent(script), names)  # noqa: S102
    finally:
        compat.uninstall("nd2")
    return names["found"]


COMMAND = """
    import runpy, sys, unittest.mock
    from limnd2_xr.compat import install
    install("nd2", force=True)
    with unittest.mock.patch.object(sys, "argv", ["nd2.index", path, "-f", "json"]):
        runpy.run_module("nd2.index", run_name="__main__")
    import inspect, nd2.jobs
    found = inspect.getsource(nd2.jobs), nd2.jobs.__path__
"""


def test_its_modules_run_as_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(SyntheticSpec(width=8, height=6)).save(tmp_path / "a.nd2")
    source, places = loaded(COMMAND, str(tmp_path))
    [row] = json.loads(capsys.readouterr().out)
    assert (row["name"], row["shape"]) == ("a.nd2", [6, 8])
    assert source
    assert len(places) == 1


BIOIO = """
    import hashlib, json, sys
    import numpy as np
    from limnd2_xr.compat import install
    install("nd2")
    from bioio_nd2 import Reader

    def digest(array):
        array = np.ascontiguousarray(np.squeeze(array))
        return [str(array.dtype), array.shape, hashlib.sha1(array).hexdigest()]

    found = {}
    for path in sys.argv[1:]:
        reader = Reader(path)
        seen = found[path] = {"pixel": reader.physical_pixel_sizes, "scenes": {}}
        for scene in reader.scenes:
            reader.set_scene(scene)
            seen["scenes"][scene] = {
                "dims": reader.dims.order,
                "data": digest(reader.data),
                "delayed": digest(reader.dask_data.compute()),
                "xarray": "".join(reader.xarray_data.dims),
                "channels": reader.channel_names,
                "part": digest(reader.get_image_data("YX", T=0, C=0, Z=0)),
            }
        if "/real/" in path:  # it opens the file for each field that it asks for
            seen["ome"] = len(reader.ome_metadata.images)
            seen["standard"] = reader.standard_metadata.image_size_y
    print(json.dumps(found))
"""


def digest(array: Any) -> list[Any]:
    array = np.ascontiguousarray(np.squeeze(array))
    name = hashlib.sha1(array, usedforsecurity=False).hexdigest()
    return [str(array.dtype), list(array.shape), name]


@pytest.mark.realdata
@pytest.mark.slow
def test_bioio_nd2_reads_every_sample(
    real_file: Callable[[str], Path], made_file: Callable[[str], Path]
) -> None:
    folder = real_file("fluo_c4").parent.parent
    files = {path.stem: path.parent.name for path in sorted(folder.glob("*/*.nd2"))}
    find = {"real": real_file, "made": made_file}
    paths = [str(find[kind](name)) for name, kind in files.items()]
    read = run(BIOIO, *paths)
    for path in paths:
        found = read[path]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = xr.open_dataset(path, engine="nd2", cache=False)
        with dataset:
            image = dataset["image"]
            sizes = image.sizes
            assert len(found["scenes"]) == sizes.get("P", 1)
            if "ome" in found:
                assert found["ome"] == len(found["scenes"])
                assert found["standard"] == sizes["Y"]
            for p, scene in enumerate(found["scenes"].values()):
                one = image.isel(P=p) if "P" in image.dims else image
                one = one.isel(S=slice(None, None, -1)) if "S" in one.dims else one
                assert set(scene["dims"]) == set(scene["xarray"]) >= set("CYX")
                # bioio-nd2 sorts axes of length 1 by their hashes
                wanted = one.transpose(*[d for d in scene["dims"] if d in one.dims])
                assert scene["data"] == digest(wanted.values)
                assert scene["delayed"] == scene["data"]
                firsts = [d for d in wanted.dims if d not in {"Y", "X"}]
                first = wanted.isel(dict.fromkeys(firsts, 0))
                assert scene["part"] == digest(first.values)
                assert len(scene["channels"]) == sizes["C"]


NAPARI = """
    from limnd2_xr.compat import install, uninstall
    install("nd2", force=True)
    import nd2, nd2.index, nd2.jobs, nd2.jobs.types, nd2.structures, nd2.tiff
    from nd2._util import AXIS, TIME_KEY, VoxelSize
    from nd2._binary import BinaryLayer
    from nd2._nd2file import ND2File

    def get_reader(path):
        return reader if nd2.is_supported_file(path) else None

    def reader(path):
        # a reader plugin of napari: one layer a channel, with colours and scale
        file = nd2.ND2File(path)
        array = file.to_xarray(delayed=True, copy=False)
        scale = [getattr(file.voxel_size(), d.lower(), 1.0) for d in array.dims]
        axis = array.dims.index(nd2.AXIS.CHANNEL)
        channels = file.metadata.channels
        meta = {
            "name": [c.channel.name for c in channels],
            "colormap": [c.channel.color.as_hex() for c in channels],
            "channel_axis": axis,
            "scale": scale[:axis] + scale[axis + 1 :],
        }
        file.close()  # the array opens it again
        return [(array.data, meta, "image")]

    [(data, meta, kind)] = get_reader(path)(path)
    names = [nd2.__name__, nd2.structures.__name__, nd2.ND2File.__module__]
    same = ND2File is nd2.ND2File and BinaryLayer is nd2.BinaryLayer
    total = int(data[0, 0].sum().compute())
    uninstall("nd2")
    import nd2 as real
    found = (data.shape, total, meta, kind, names, same, real.__name__)
"""


def test_a_plugin_in_the_style_of_napari(tmp_path: Path) -> None:
    spec = SyntheticSpec(
        loops=(TimeLoop(2), ZLoop(3, step_um=0.5)),
        channels=(ChannelSpec("DAPI", color=0xFF0000), ChannelSpec("GFP")),
        width=24,
        height=16,
        calibration_um=0.25,
    )
    file = build(spec)
    path = file.save(tmp_path / "a.nd2")
    shape, total, meta, kind, names, same, real = loaded(NAPARI, str(path))
    expected = file.array()
    assert tuple(shape) == expected.shape
    assert total == int(expected[0, 0].sum(dtype=np.int64))
    assert (meta["name"], meta["colormap"][0]) == (["DAPI", "GFP"], "#0000ff")
    assert meta["scale"] == [1.0, 0.5, 0.25, 0.25]
    assert (meta["channel_axis"], kind) == (2, "image")
    assert all(name.startswith("limnd2_xr.compat.nd2") for name in names)
    assert same
    assert real == "nd2"
