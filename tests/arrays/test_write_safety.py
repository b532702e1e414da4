"""Whatever happens to a writer: no file, the old file, or the complete new one."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import dask
import dask.array
import numpy as np
import psutil
import pytest
import xarray as xr

import limnd2_xr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VICTIMS_IMPORT = "dask.array, dask.delayed, limnd2_xr.arrays.region, xarray, xml.sax"
CI = os.environ.get("HYPOTHESIS_PROFILE") == "ci"
KILLS = 200 if CI else 8
EACH = 4 if CI else 16
"""Of the moments that are tried one by one."""

SHAPE = (4, 2, 32, 45)
DIMS = ("T", "C", "Y", "X")

kinds = pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "dask"])
packings = pytest.mark.parametrize("compression", [None, "zlib"])
olds = pytest.mark.parametrize("exists", [False, True], ids=["new", "over"])


def pixels() -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.random.default_rng(3).integers(100, 900, SHAPE, np.uint16)


def image(add: int = 0, *, lazy: bool = False) -> xr.DataArray:
    found = xr.DataArray(pixels() + np.uint16(add), dims=DIMS)
    return found.chunk({"T": 1}) if lazy else found


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "files" / "a.nd2"


@pytest.fixture(autouse=True)
def _folder_and_handles(target: Path) -> Iterator[None]:
    target.parent.mkdir()
    yield
    left = [file.path for file in psutil.Process().open_files()]
    assert not [path for path in left if path.endswith(".partial")]


@pytest.fixture
def old(target: Path, exists: bool) -> bytes | None:
    """Content of the file that is there before, if there is one."""
    if not exists:
        return None
    image().nd2.write_nd2(target)
    return target.read_bytes()


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def assert_untouched(target: Path, old: bytes | None) -> None:
    assert names(target) == ([] if old is None else [target.name])
    assert old is None or target.read_bytes() == old


def generation(path: Path) -> int:
    """Check that a file is whole; return what was added to its pixels."""
    found = xr.load_dataset(path, engine="nd2")
    assert found.sizes == dict(zip(DIMS, SHAPE, strict=True))
    assert "missing" not in found.coords
    apart = found["image"].values - pixels()
    assert apart.min() == apart.max()
    return int(apart.flat[0])


# ---- SIGKILL --------------------------------------------------------------------------

CALLS = (
    "open",
    "pwritev",
    "ftruncate",
    "fsync",
    "chmod",
    "link",
    "replace",
    "unlink",
)
SCRIPT = """
import itertools, signal
import dask, numpy as np, xarray as xr
import limnd2_xr

TARGET, NEW, DIMS = {target!r}, {pixels!r}, {dims!r}
OPTIONS = dict(compression={compression!r}, overwrite={exists})

def image(add):
    found = xr.DataArray(np.load(NEW) + np.uint16(add), dims=DIMS)
    return found.chunk({{"T": 1}}) if {lazy} else found

def die_at(moment):
    dask.config.set(scheduler="synchronous")  # the same calls each time
    calls = itertools.count(1)
    def counted(name):
        inner = getattr(os, name)
        def call(*args, **options):
            if next(calls) == moment:
                if name == "pwritev":  # half of it gets there
                    data = b"".join(args[1])
                    os.pwrite(args[0], data[: len(data) // 2], args[2])
                os.kill(os.getpid(), signal.SIGKILL)
            return inner(*args, **options)
        setattr(os, name, call)
    for name in {calls}:
        counted(name)
    return calls
"""


@pytest.fixture
def scripted(tmp_path: Path, target: Path, victims: Any) -> Callable[..., list[str]]:
    """Run a script after `SCRIPT`, of which it is told what to write."""
    np.save(tmp_path / "pixels.npy", pixels())

    def run(script: str, *, kill: float | None = None, **options: Any) -> list[str]:
        settings = {"compression": None, "exists": False, "lazy": False} | options
        head = SCRIPT.format(
            target=str(target),
            pixels=str(tmp_path / "pixels.npy"),
            dims=DIMS,
            calls=CALLS,
            **settings,
        )
        said: list[str] = victims.run(head + textwrap.dedent(script), kill=kill)
        return said

    return run


@pytest.mark.thorough
@kinds
@packings
@olds
def test_killed_at_random(
    target: Path,
    scripted: Callable[..., list[str]],
    lazy: bool,
    compression: str | None,
    exists: bool,
    old: bytes | None,
) -> None:
    """Files are written one after the other; each one that is found is whole."""
    rng = np.random.default_rng()
    latest = 0
    for _ in range(KILLS // 8):
        said = scripted(
            """
            for add in itertools.count(1):
                name = TARGET if OPTIONS["overwrite"] else f"{TARGET}-{add}.nd2"
                image(add).nd2.write_nd2(name, **OPTIONS)
            """,
            lazy=lazy,
            compression=compression,
            exists=exists,
            kill=float(rng.uniform(0.02, 0.4)),
        )
        assert said == []
        if exists:
            if target.read_bytes() != old:
                assert generation(target) > 0
                latest += 1
            continue
        for path in target.parent.iterdir():
            if path.suffix == ".nd2":
                assert path.name == f"a.nd2-{generation(path)}.nd2"
                latest += 1
            path.unlink()


@pytest.mark.thorough
@packings
@olds
def test_killed_at_each_call_of_the_system(
    target: Path,
    scripted: Callable[..., list[str]],
    compression: str | None,
    exists: bool,
    old: bytes | None,
) -> None:
    """Between any two of them, and in the middle of each write."""
    # Small frames and large ones are not written in the same way.
    write = f"limnd2_xr.frames.frame_target._SMALL_NBYTES = {10**6 * exists}\n"
    write += "image(1).nd2.write_nd2(TARGET, **OPTIONS)\n"
    settings = {"compression": compression, "exists": exists, "lazy": True}
    said = scripted(f'calls = die_at(0)\n{write}say("calls", next(calls))', **settings)
    count = int(said[0].split()[1])
    assert count > 20
    assert generation(target) == 1
    whole = []
    # The moments around the one in which the file gets its name, and some of the others.
    moments = {*range(1, count - 5, EACH), *range(count - 5, count)}
    for moment in sorted(moments):
        target.unlink(missing_ok=True)
        if old is not None:
            target.write_bytes(old)
        assert scripted(f"die_at({moment})\n{write}", **settings) == []
        if target.exists() and target.read_bytes() != old:
            assert generation(target) == 1
            whole.append(moment)
        else:
            assert not whole
    assert 1 <= len(whole) <= 4
    # What killed writers left does not get in the way.
    image(2).nd2.write_nd2(target, overwrite=True)
    assert generation(target) == 2


@pytest.mark.thorough
@packings
def test_killed_while_a_shared_file_is_finalized(
    target: Path, scripted: Callable[..., list[str]], compression: str | None
) -> None:
    """It can be finalized again, with the same result."""
    begin = """
        dask.config.set(scheduler="synchronous")
        limnd2_xr.create_nd2(image(0), TARGET, compression=OPTIONS["compression"])
        image(1)[1:].nd2.write_nd2(TARGET, region={"T": slice(1, None)})
        """
    finalize = "limnd2_xr.finalize_nd2(TARGET)\n"
    settings = {"compression": compression, "lazy": True}
    scripted(begin, **settings)
    said = scripted(f'calls = die_at(0)\n{finalize}say("calls", next(calls))')
    count = int(said[0].split()[1])
    expected = image(1).values
    expected[0] = 0
    for moment in range(1, count, EACH):
        target.unlink()
        scripted(begin, **settings)
        assert scripted(f"die_at({moment})\n{finalize}") == []
        if target.exists():
            assert np.array_equal(xr.load_dataset(target)["image"], expected)
            target.with_name("a.nd2.partial").unlink(missing_ok=True)
        else:
            assert names(target) == ["a.nd2.partial"]
            assert scripted(finalize) == []
        assert np.array_equal(xr.load_dataset(target)["image"], expected)
        assert names(target) == ["a.nd2"]


# ---- a full disk ----------------------------------------------------------------------


@kinds
@packings
@olds
def test_files_limited_in_size(
    target: Path,
    scripted: Callable[..., list[str]],
    lazy: bool,
    compression: str | None,
    exists: bool,
    old: bytes | None,
) -> None:
    """As with a full disk, the system stops the writing in the middle."""
    for limit in (0, 3000, 30_000, 67_000):
        said = scripted(
            f"""
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
            image(1).nd2.write_nd2(TARGET, **OPTIONS)
            """,
            lazy=lazy,
            compression=compression,
            exists=exists,
        )
        assert len(said) == 1
        assert f"[Errno {errno.EFBIG}]" in said[0]
        assert str(target) in said[0]
        assert_untouched(target, old)


class Disk:
    """Counts what fills it, and is full from one of these calls on."""

    CALLS = ("pwritev", "ftruncate", "fsync")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.full_at = 0
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.calls += 1
            if 0 < self.full_at <= self.calls:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return inner(*args)

        return call

    def begin(self, full_at: int = 0) -> None:
        self.calls, self.full_at = 0, full_at


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    if not all(hasattr(os, name) for name in Disk.CALLS):
        pytest.skip(f"needs {Disk.CALLS}")
    return Disk(monkeypatch)


def is_full(write: Callable[[], object], target: Path) -> bool:
    """Say whether something ends with the error that the disk is full."""
    try:
        write()
    except OSError as error:
        return (error.errno, error.filename) == (errno.ENOSPC, str(target))
    return False


@kinds
@packings
@olds
def test_full_disk_at_each_write(
    target: Path,
    disk: Disk,
    lazy: bool,
    compression: str | None,
    exists: bool,
    old: bytes | None,
) -> None:
    def write(path: Path) -> None:
        image(1, lazy=lazy).nd2.write_nd2(
            path, compression=compression, overwrite=exists
        )

    for full_at in itertools.count(1):
        disk.begin(full_at)
        if not is_full(lambda: write(target), target):
            break
        assert_untouched(target, old)
    # The last call is for the directory; that it may not be on the disk is no error.
    assert full_at > 15
    assert generation(target) == 1
    assert names(target) == ["a.nd2"]


@packings
def test_full_disk_while_a_shared_file_is_finalized(
    target: Path, disk: Disk, compression: Any
) -> None:
    """Once there is room it can be finalized, with the same result."""

    def create() -> None:
        limnd2_xr.create_nd2(image(), target, compression=compression)
        with dask.config.set(scheduler="synchronous"):
            part = image(1, lazy=True)[1:]
            part.nd2.write_nd2(target, region={"T": slice(1, None)})

    def finalize() -> None:
        limnd2_xr.finalize_nd2(target)

    expected = image(1).values
    expected[0] = 0
    for full_at in itertools.count(1):
        disk.begin()
        create()
        disk.begin(full_at)
        with pytest.warns(limnd2_xr.Nd2Warning, match=r"1 of 4 frames were .*\(0\)"):
            failed = is_full(finalize, target)
        if failed:
            assert names(target) == ["a.nd2.partial"]
            disk.begin()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # given already
                finalize()
        assert np.array_equal(xr.load_dataset(target)["image"], expected)
        target.unlink()
        if not failed:
            break
    assert full_at > 5


def test_full_disk_in_a_region_leaves_the_rest(target: Path, disk: Disk) -> None:
    limnd2_xr.create_nd2(image(), target)
    image(1)[:2].nd2.write_nd2(target, region={"T": slice(2)})
    disk.begin(3)
    with pytest.raises(OSError, match=r"No space left.*a\.nd2"):
        image(1)[2:].nd2.write_nd2(target, region={"T": slice(2, 4)})
    disk.begin()
    image(1)[2:].nd2.write_nd2(target, region={"T": slice(2, 4)})
    limnd2_xr.finalize_nd2(target)
    assert generation(target) == 1


# ---- exceptions -----------------------------------------------------------------------


def broken(error: type[BaseException] = ZeroDivisionError) -> xr.DataArray:
    """Return an image of which the third block raises."""

    # Not of this module, which worker processes could not import.
    def fail(block: Any, block_id: Any = None) -> Any:
        if block_id[0] == 2:
            raise error("no more")
        return block

    found = image(1, lazy=True)
    meta = np.empty((0,) * 4, np.uint16)
    return found.copy(data=found.data.map_blocks(fail, dtype=np.uint16, meta=meta))


@packings
@olds
@pytest.mark.parametrize(
    "scheduler",
    ["threads", "synchronous", pytest.param("processes", marks=pytest.mark.slow)],
)
def test_exception_in_a_block(
    target: Path,
    compression: str | None,
    exists: bool,
    old: bytes | None,
    scheduler: str,
) -> None:
    with (
        dask.config.set(scheduler=scheduler),
        pytest.raises(ZeroDivisionError, match="no more"),
    ):
        broken().nd2.write_nd2(target, compression=compression, overwrite=exists)
    assert_untouched(target, old)


@olds
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupted(
    target: Path, exists: bool, old: bytes | None, error: type[BaseException]
) -> None:
    with dask.config.set(scheduler="synchronous"), pytest.raises(error):
        broken(error).nd2.write_nd2(target, overwrite=exists)
    assert_untouched(target, old)


@olds
def test_value_that_does_not_fit_in_a_late_block(
    target: Path, exists: bool, old: bytes | None
) -> None:
    found = image(lazy=False)
    found[3, 1, 2, 3] = 5000
    with pytest.raises(ValueError, match="frame 3: 5000 at channel 1, Y 2, X 3"):
        found.chunk({"T": 1}).nd2.write_nd2(
            target, overwrite=exists, significant_bits=12
        )
    assert_untouched(target, old)


def test_exception_in_a_region_leaves_the_rest(target: Path) -> None:
    limnd2_xr.create_nd2(image(), target)
    with pytest.raises(ZeroDivisionError):
        broken().nd2.write_nd2(target, region={})
    assert names(target) == ["a.nd2.partial"]
    image(1).nd2.write_nd2(target, region={})
    limnd2_xr.finalize_nd2(target)
    assert generation(target) == 1


# ---- compute=False --------------------------------------------------------------------


@kinds
@packings
@olds
def test_later(
    target: Path, lazy: bool, compression: str | None, exists: bool, old: bytes | None
) -> None:
    delayed = image(1, lazy=lazy).nd2.write_nd2(
        target, compression=compression, overwrite=exists, compute=False
    )
    assert target.exists() == exists
    assert not exists or target.read_bytes() == old
    assert delayed.compute() is None
    assert generation(target) == 1
    assert names(target) == ["a.nd2"]
    with pytest.raises(FileNotFoundError, match="no unfinished file of"):
        delayed.compute()
    assert generation(target) == 1


def test_later_does_not_replace_what_appeared_meanwhile(target: Path) -> None:
    delayed = image(1, lazy=True).nd2.write_nd2(target, compute=False)
    image(2).nd2.write_nd2(target)
    with pytest.raises(FileExistsError, match="appeared"):
        delayed.compute()
    assert generation(target) == 2


LATER = """
import numpy as np, xarray as xr
import limnd2_xr

def fail(block, block_id=None):
    if block_id[0] == 2:
        raise ZeroDivisionError
    return block

image = xr.DataArray(np.ones({shape}, "u2"), dims={dims}).chunk({{"T": 1}})
data = image.data.map_blocks(fail, dtype="u2", meta=np.empty((0,) * 4, "u2"))
delayed = image.copy(data=data).nd2.write_nd2(
    {target!r}, compression={compression!r}, overwrite={exists}, compute=False
)
if {computed}:
    delayed.compute()
"""


@pytest.mark.parametrize("computed", [True, False])
@pytest.mark.parametrize(("compression", "exists"), [(None, True), ("zlib", False)])
def test_later_that_fails_or_never_comes(
    target: Path,
    compression: str | None,
    exists: bool,
    old: bytes | None,
    computed: bool,
) -> None:
    """Once the process has ended nothing is left of it."""
    script = LATER.format(
        shape=SHAPE,
        dims=DIMS,
        target=str(target),
        compression=compression,
        exists=exists,
        computed=computed,
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == int(computed), done.stderr
    assert ("ZeroDivisionError" in done.stderr) == computed
    assert_untouched(target, old)
