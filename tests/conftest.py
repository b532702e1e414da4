"""Shared: hypothesis profiles, sample files, open-file check, processes to be killed."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import xarray as xr
from hypothesis import HealthCheck, settings

from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    Point,
    PositionLoop,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from limnd2_xr.testing.synthetic import SyntheticFile

settings.register_profile(
    "dev",
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "ci",
    max_examples=40,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))
xr.set_options(warn_for_unclosed_files=True)

REPO = Path(__file__).resolve().parents[1]
SAMPLES = Path(os.environ.get("LIMND2_XR_DATA", REPO.parent / "shared" / "samples"))


REAL = (
    "confocal_t3_z10_c2",
    "fluo_c4",
    "netime_t2_u8",
    "rgb8",
    "timelapse_t53",
    "zstack_z11",
)
MADE = (
    "a2_t_u8_oddwidth",
    "a3_z_3c_12bit",
    "c_rgb_u8",
    "d_f32_single",
    "e_xy4",
    "f_t_xy_z",
    "g_bare",
    "h_missing_frame",
    "r12_t_f32_2c",
    "r1_tz_2c_nisorder",
    "r8_t_u8_w255_1pad",
    "r9_t_u16_w101_zlib",
)


def _sample(folder: str, name: str) -> Path:
    path = SAMPLES / folder / f"{name}.nd2"
    if not path.exists():
        pytest.skip(f"sample file {path} is not here (set LIMND2_XR_DATA)")
    return path


@pytest.fixture(scope="session")
def real_file() -> Callable[[str], Path]:
    """Path of a file of samples/real by its stem; skips where it is absent."""
    return lambda name: _sample("real", name)


@pytest.fixture(scope="session")
def made_file() -> Callable[[str], Path]:
    """Path of a file of samples/made by its stem; skips where it is absent."""
    return lambda name: _sample("made", name)


@pytest.fixture(scope="session", params=REAL)
def each_real(request: pytest.FixtureRequest) -> Path:
    """Each file of samples/real in turn; skips where it is absent."""
    return _sample("real", request.param)


@pytest.fixture(scope="session", params=(*REAL, *MADE))
def each_sample(request: pytest.FixtureRequest) -> Path:
    """Each sample in turn, the real ones first; skips where it is absent."""
    return _sample("real" if request.param in REAL else "made", request.param)


@pytest.fixture(scope="session")
def version2_texts() -> dict[str, str]:
    """XML documents of a file of version 2.1 by chunk name, without declarations."""
    folder = Path(__file__).resolve().parent / "data" / "version2"
    texts = {}
    for path in sorted(folder.glob("*.xml")):
        name = re.sub(r"^(CustomDataVar|Image\w+)_(?=[A-Z]|\d$)", r"\1|", path.stem)
        text = path.read_text("utf-8").strip()
        texts[f"{name}!"] = re.sub(r">\s+<", "><", text)
    return texts


@pytest.fixture(scope="session")
def version2_file(version2_texts: dict[str, str]) -> Callable[..., SyntheticFile]:
    """Build a file whose metadata are `version2_texts`, each through `encode`."""

    def as_nis_does(text: str) -> bytes:
        return f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()

    def make(
        encode: Callable[[str], bytes] = as_nis_does, version: str = "2.1", **more: str
    ) -> SyntheticFile:
        texts = {**version2_texts, **more}
        kept = (Point(0.0, 0.0), Point(0.0, 0.0, valid=False), Point(0.0, 0.0))
        return build(
            SyntheticSpec(
                loops=(TimeLoop(2), PositionLoop(kept), ZLoop(3)),
                channels=(ChannelSpec("unknown"), ChannelSpec("unknown")),
                width=32,
                height=24,
                significant_bits=14,
                metadata="xml",
                version=version,
                times_ms=1500.0 + 1000.0 * np.arange(12),
                columns={"X": 100.5 + np.arange(12), "PFS_STATUS": np.arange(12) % 3},
                extra_chunks={name: encode(text) for name, text in texts.items()},
            )
        )

    return make


@pytest.fixture
def _hears_ctrl_c() -> Iterator[None]:
    """Undo that shells have what they run in the background ignore Ctrl-C.

    What such processes start ignores it as well.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _no_nd2_left_open() -> Iterator[None]:
    yield
    until = time.monotonic() + 5
    while open_nd2_files() and time.monotonic() < until:
        time.sleep(0.01)  # a thread whose work failed elsewhere is about to close it
    assert open_nd2_files() == []


def open_nd2_files() -> list[str]:
    """Paths of the .nd2 files that this process has open."""
    return [f.path for f in psutil.Process().open_files() if f.path.endswith(".nd2")]


def _close_sessions() -> None:
    """Close the connections of the file systems of http and s3 that fsspec has kept.

    It leaves that to the garbage collector, which has a tenth of a second for it, or, for
    asynchronous ones, as zarr makes them, no way at all: a later test would be warned.
    """
    if module := sys.modules.get("fsspec.implementations.http"):
        for fs in module.HTTPFileSystem._cache.values():
            if fs._session is not None:
                _run_on_loop_of(fs, fs._session.close())
        module.HTTPFileSystem.clear_instance_cache()
    if module := sys.modules.get("s3fs"):
        for fs in module.S3FileSystem._cache.values():
            if fs._s3 is not None:
                _run_on_loop_of(fs, fs._s3creator.__aexit__(None, None, None))
        module.S3FileSystem.clear_instance_cache()


def _run_on_loop_of(fs: Any, work: Coroutine[Any, Any, Any]) -> None:
    if fs.asynchronous:
        from zarr.core.sync import sync

        sync(work, timeout=30)
    else:
        asyncio.run_coroutine_threadsafe(work, fs.loop).result(30)


@pytest.fixture(scope="module", autouse=True)
def _no_session_left_open() -> Iterator[None]:
    yield
    _close_sessions()


@pytest.fixture(scope="session")
def _moto() -> Iterator[str]:
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(
        "127.0.0.1", port=0, verbose=False
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def s3_server(_moto: str) -> str:
    """Address of an S3 server without buckets: moto has those of a process in common."""
    request = urllib.request.Request(f"{_moto}/moto-api/reset", method="POST")
    with urllib.request.urlopen(request, timeout=30):
        return _moto


# Imports once, then forks for each script: a start takes milliseconds.
_HOST = """
import os, signal, sys, warnings
from pathlib import Path
import {modules}

def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")
    sys.stdout.flush()

def stage(name):
    say("at", name)
    signal.sigwait({{signal.SIGCONT}})

warnings.simplefilter("ignore")
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGCONT}})
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        say("pid", os.getpid())
        try:
            exec(Path(line.strip()).read_text())
        except BaseException as error:
            say("error", type(error).__name__, error)
        os._exit(0)
    say("ended", os.waitpid(pid, 0)[1])
"""


class Victims:
    """Runs scripts in processes of their own, each to be killed or waited for.

    A script may call ``stage(name)``, where it can be killed, and ``say(text)``.
    """

    def __init__(self, folder: Path, modules: str) -> None:
        self._script = folder / "script.py"
        self._host = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _HOST.format(modules=modules)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *, kill: str | float | None = None) -> list[str]:
        """Run a script to its end, or kill it at a stage or after some seconds.

        Returns what it said.
        """
        assert self._host.stdin is not None
        self._script.write_text(textwrap.dedent(script))
        self._host.stdin.write(f"{self._script}\n")
        self._host.stdin.flush()
        said = []
        pid = int(self._next("pid").split()[1])
        if isinstance(kill, float):
            time.sleep(kill)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while not (line := self._next()).startswith("ended"):
            said.append(line)
            if line.startswith("at "):
                if line == f"at {kill}":
                    os.kill(pid, signal.SIGKILL)
                else:
                    os.kill(pid, signal.SIGCONT)
        if isinstance(kill, str):
            assert line == f"ended {int(signal.SIGKILL)}"
        return said

    def _next(self, expected: str = "") -> str:
        assert self._host.stdout is not None
        line = self._host.stdout.readline().rstrip("\n")
        assert line.startswith(expected)
        assert line
        return line

    def close(self) -> None:
        for pipe in (self._host.stdin, self._host.stdout):
            assert pipe is not None
            pipe.close()
        self._host.wait()


@pytest.fixture(scope="module")
def victims(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Victims]:
    """A `Victims`; skips where processes cannot be forked.

    What a test module names in ``VICTIMS_IMPORT`` is imported before the forks.
    """
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork")
    modules = getattr(request.module, "VICTIMS_IMPORT", "limnd2_xr.container.update")
    host = Victims(tmp_path_factory.mktemp("victims"), modules)
    yield host
    host.close()
