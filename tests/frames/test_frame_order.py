"""Frame 0 comes before frame 1 if threads of one process write both."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from limnd2_xr.frames import frame_target
from limnd2_xr.frames.frame_order import FrameOrder
from limnd2_xr.frames.packing import deflate

if TYPE_CHECKING:
    from pathlib import Path


def test_one_waits_for_zero() -> None:
    order = FrameOrder()
    done: list[int] = []

    def put_one() -> None:
        with order.putting("a", 1):
            order.wait("a", 1)
            done.append(1)

    with order.putting("a", 0):
        other = threading.Thread(target=put_one)
        other.start()
        for file, number in (("a", 0), ("a", 2), ("b", 1)):
            order.wait(file, number)
        done.append(0)
    other.join()
    assert done == [0, 1]


def test_zero_that_fails_is_not_waited_for() -> None:
    order = FrameOrder()
    with pytest.raises(ZeroDivisionError), order.putting("a", 0):
        raise ZeroDivisionError
    order.wait("a", 1)


def test_compressed_files_have_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if compressing frame 0 takes longer than frame 1."""
    one_is_ready = threading.Event()
    wait = FrameOrder.wait

    def slow(blocks: Any, level: int | None = None) -> list[bytes]:
        given = list(blocks)
        if given[0][0] == 0:
            assert one_is_ready.wait(60)
        return deflate(given, level)

    def told(self: FrameOrder, file: str, number: int) -> None:
        if number == 1:
            one_is_ready.set()
        wait(self, file, number)

    monkeypatch.setattr(frame_target, "deflate", slow)
    monkeypatch.setattr(FrameOrder, "wait", told)
    monkeypatch.setattr(frame_target, "run_all", _on_two_threads)
    pixels = np.random.default_rng(0).integers(0, 9, (2, 64, 64), "u2")
    pixels[0, 0, 0], pixels[1, 0, 0] = 0, 1
    image = xr.DataArray(pixels, dims=("T", "Y", "X"))
    image.nd2.write_nd2(tmp_path / "a.nd2", compression="zlib")
    with xr.open_dataset(tmp_path / "a.nd2") as found:
        assert np.array_equal(found["image"].squeeze("C"), pixels)
        frames = [c for c in found.nd2.chunks() if c.name.startswith("ImageDataSeq|")]
    assert frames[0].offset < frames[1].offset
    assert frames[1].offset - frames[0].offset == 8192


def _on_two_threads(work: Any, items: Any) -> None:
    threads = [threading.Thread(target=work, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
