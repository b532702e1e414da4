"""Listing and decoding chunks that nothing else knows of."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from pathlib import Path

EXTRA = {
    "CustomData|Notes!": json.dumps({"a": [1, 2]}).encode(),
    "CustomData|Packed!": zlib.compress(b'[{"seqIndex": 0}]'),
    "CustomData|Blob!": bytes(range(256)),
    "CustomDataSeq|Mask|0!": bytes(20),
}


def opened(tmp_path: Path) -> xr.Dataset:
    spec = SyntheticSpec(loops=(TimeLoop(3),), width=8, height=6, extra_chunks=EXTRA)
    return xr.open_dataset(build(spec).save(tmp_path / "a.nd2"))


def test_all_chunks_are_listed_in_file_order(tmp_path: Path) -> None:
    with opened(tmp_path) as ds:
        chunks = ds.nd2.chunks()
    assert [c.offset for c in chunks] == sorted(c.offset for c in chunks)
    kinds = {c.name: c.encoding for c in chunks}
    assert kinds["ImageDataSeq|2!"] == "pixels"
    assert kinds["ImageAttributesLV!"] == "lite"
    assert kinds["CustomDataVar|AppInfo_V1_0!"] == "xml"
    assert [kinds[name] for name in EXTRA] == ["json", "zlib", "raw", "raw"]
    assert {c.name: c.nbytes for c in chunks}["CustomData|Blob!"] == 256


def test_chunks_come_decoded_or_raw(tmp_path: Path) -> None:
    with opened(tmp_path) as ds:
        assert ds.nd2.chunk("CustomData|Notes") == {"a": [1, 2]}
        assert ds.nd2.chunk("CustomData|Packed!") == [{"seqIndex": 0}]
        assert ds.nd2.chunk("CustomData|Blob") == EXTRA["CustomData|Blob!"]
        raw = ds.nd2.chunk("CustomData|Packed!", raw=True)
        assert raw == EXTRA["CustomData|Packed!"]
        assert len(ds["image"].nd2.chunk("ImageDataSeq|1!")) == 8 + 8 * 6 * 2
        with pytest.raises(KeyError, match="Nothing!"):
            ds.nd2.chunk("Nothing")


def test_an_object_without_a_file_says_so(tmp_path: Path) -> None:
    with opened(tmp_path) as ds:
        doubled = ds["image"] * 2
    with pytest.raises(limnd2_xr.Nd2Error, match="does not remember its file"):
        doubled.nd2.chunks()
