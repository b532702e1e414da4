"""A cluster of two processes reads, reduces and writes, and survives the loss of one."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import psutil
import pytest
import xarray as xr

from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from limnd2_xr.testing.synthetic import SyntheticFile

pytestmark = [pytest.mark.xdist_group("cluster"), pytest.mark.slow]

FRAMES = 24
CI = os.environ.get("HYPOTHESIS_PROFILE") == "ci"


@pytest.fixture(scope="module")
def file() -> SyntheticFile:
    """Small compressed frames."""
    return build(
        SyntheticSpec(
            loops=(TimeLoop(FRAMES), ZLoop(2)),
            channels=(ChannelSpec("a"), ChannelSpec("b")),
            width=33,
            height=21,
            compression="zlib",
        )
    )


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two processes of one thread each; whatever is computed goes to them."""
    distributed = pytest.importorskip("distributed")
    settings = {
        "distributed.worker.daemon": True,
        "distributed.comm.timeouts.connect": "120s",
        "distributed.comm.timeouts.tcp": "120s",
        "distributed.scheduler.allowed-failures": 10,
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",  # None is port 8787, too
            silence_logs="CRITICAL",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2)
        yield client


# ---- what runs on the workers ---------------------------------------------------------


def count_opens() -> None:
    """Count, in a worker, how often files are opened from now on."""
    from limnd2_xr.frames.store import FrameStore

    if hasattr(FrameStore, "opened"):
        FrameStore.opened = 0
        return
    FrameStore.opened = 0  # type: ignore[attr-defined]
    real = FrameStore.__init__

    def counted(self: Any, *args: Any, **kwargs: Any) -> None:
        FrameStore.opened += 1  # type: ignore[attr-defined]
        real(self, *args, **kwargs)

    FrameStore.__init__ = counted  # type: ignore[method-assign]


def opens() -> int:
    from limnd2_xr.frames.store import FrameStore

    return int(FrameStore.opened)  # type: ignore[attr-defined]


def left_open() -> list[str]:
    paths = [file.path for file in psutil.Process().open_files()]
    return [path for path in paths if ".nd2" in path]


def slowly(block: Any) -> Any:
    """Take so long that a worker can be killed meanwhile."""
    time.sleep(0.15)
    return block


def kill_a_worker(client: Any) -> None:
    """Kill the process of one worker, and see that it was noticed."""
    workers = client.run(os.getpid)
    address, pid = next(iter(workers.items()))
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while address in client.scheduler_info(n_workers=-1)["workers"]:
        assert time.monotonic() < end
        time.sleep(0.05)


# ---- tests ----------------------------------------------------------------------------


def test_it_reads_and_reduces(file: SyntheticFile, tmp_path: Path, client: Any) -> None:
    pixels = file.array()
    with xr.open_dataset(file.save(tmp_path / "a.nd2"), chunks={}) as dataset:
        image = dataset["image"].chunk({"T": 3})
        np.testing.assert_array_equal(image.max("Z").values, pixels.max(axis=1))
        np.testing.assert_allclose(image.mean("T").values, pixels.mean(axis=0))
        rows = dataset["image"].chunk({"T": 12, "Y": 5})
        np.testing.assert_array_equal(rows.values, pixels)


def test_files_are_opened_once_a_worker_and_closed(
    file: SyntheticFile, tmp_path: Path, client: Any
) -> None:
    client.run(count_opens)
    path = file.save(tmp_path / "a.nd2")
    with xr.open_dataset(path, chunks={}) as dataset:
        image = dataset["image"].chunk({"T": 1, "Z": 1})
        assert image.data.npartitions == 2 * FRAMES
        image.sum().compute()
        assert max(client.run(opens).values()) == 1
    del dataset, image
    end = time.monotonic() + 30
    while any(client.run(left_open).values()):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_worker_is_lost_while_it_reads(
    file: SyntheticFile, tmp_path: Path, client: Any
) -> None:
    pixels = file.array()
    with xr.open_dataset(file.save(tmp_path / "a.nd2"), chunks={}) as dataset:
        image = dataset["image"].chunk({"T": 1})
        meta = np.empty((0,) * 5, np.uint16)
        slow = image.data.map_blocks(slowly, dtype=np.uint16, meta=meta)
        future = client.compute(slow.max(axis=1))
        time.sleep(0.5)
        assert future.status == "pending"
        kill_a_worker(client)
        np.testing.assert_array_equal(future.result(), pixels.max(axis=1))


@pytest.mark.thorough
@pytest.mark.parametrize("compression", ["zlib", None] if CI else ["zlib"])
def test_a_worker_is_lost_while_it_writes(
    file: SyntheticFile, tmp_path: Path, client: Any, compression: str | None
) -> None:
    client.wait_for_workers(2, timeout=60)
    path = tmp_path / "b.nd2"
    with xr.open_dataset(file.save(tmp_path / "a.nd2"), chunks={}) as dataset:
        image = dataset["image"].chunk({"T": 1})
        meta = np.empty((0,) * 5, np.uint16)
        data = image.data.map_blocks(slowly, dtype=np.uint16, meta=meta)
        later = image.copy(data=data).nd2.write_nd2(
            path, compression=compression, compute=False
        )
        future = client.compute(later)
        time.sleep(0.7)
        assert future.status == "pending"
        assert not path.exists()
        kill_a_worker(client)
        assert future.result() is None
    with xr.open_dataset(path) as written:
        np.testing.assert_array_equal(written["image"], file.array())
    assert not list(tmp_path.glob("*.partial"))
