"""Files cut short, interrupted or still growing: every whole frame, one warning."""

from __future__ import annotations

import io
import os
import random
import re
import threading
import warnings
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import limnd2_xr
from limnd2_xr.compat import limnd2, nd2
from limnd2_xr.container.scan import walk_chunks
from limnd2_xr.container.source import MemorySource
from limnd2_xr.errors import Nd2Error, Nd2Warning
from limnd2_xr.testing.chunk_writer import ChunkWriter
from limnd2_xr.testing.contents import contents
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

    from numpy.typing import NDArray

CI = os.environ.get("HYPOTHESIS_PROFILE") == "ci"
CUTS = 200 if CI else 8
SPEC = SyntheticSpec(loops=(TimeLoop(4), ZLoop(3)), width=21, height=9)
SYNTHETIC = {
    "plain": SPEC,
    "zlib": replace(SPEC, compression="zlib"),
    "xml": replace(SPEC, metadata="xml"),
    "two_channels": replace(SPEC, channels=(ChannelSpec("A"), ChannelSpec("B"))),
}


def opened(data: Any, **options: Any) -> tuple[xr.Dataset, list[str]]:
    """Open a file; return the warnings about it, too."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = xr.open_dataset(data, engine="nd2", **options)
    assert all(issubclass(w.category, Nd2Warning) for w in caught)
    return dataset, [str(w.message) for w in caught]


def frames_of(image: xr.DataArray) -> NDArray[Any]:
    """Frames of an image as bytes, by number: its loops in one row."""
    loops = [dim for dim in image.dims if dim in {"T", "P", "Z"}]
    stacked = image.stack(frame=loops) if loops else image.expand_dims("frame")
    rest = [dim for dim in ("C", "Y", "X", "S") if dim in image.dims]
    pixels = np.ascontiguousarray(stacked.transpose("frame", *rest).values)
    return pixels.reshape(len(pixels), -1)


def recovered(data: bytes, seed: str) -> None:
    """Check that a file cut anywhere gives all frames before the cut, in one warning."""
    whole, _ = opened(data)
    with whole:
        want = frames_of(whole["image"]).view(np.uint8)
    ends = {
        int(header.name[len("ImageDataSeq|") : -1]): header.end
        for header in walk_chunks(MemorySource(data))
        if header.name.startswith("ImageDataSeq|")
    }
    chance = random.Random(seed)  # noqa: S311 - which cuts is no secret
    for _ in range(CUTS):
        cut = chance.randrange(1, len(data))
        whole_ones = [number for number, end in ends.items() if end <= cut]
        if not whole_ones:
            with suppress(Nd2Error):
                opened(data[:cut])[0].close()
            continue
        found, told = opened(data[:cut])
        with found:
            got = frames_of(found["image"])
            assert len(told) == 1
            assert f"{len(whole_ones)} frames were found" in told[0]
            assert len(found.nd2.damage) == told[0].count("\n- ") + 1
        assert np.array_equal(got[whole_ones].view(np.uint8), want[whole_ones])
        assert not np.delete(got, whole_ones, axis=0).any()


@pytest.mark.thorough
@pytest.mark.parametrize("name", SYNTHETIC)
def test_cut_files_give_all_whole_frames(name: str) -> None:
    data = build(SYNTHETIC[name]).data
    recovered(data, name)


@pytest.mark.thorough
@pytest.mark.realdata
def test_cut_samples_give_all_whole_frames(each_sample: Path) -> None:
    recovered(each_sample.read_bytes(), each_sample.stem)


# ---------------------------------------------------------------- one report


DAMAGED: dict[str, tuple[SyntheticSpec, str]] = {
    "no map": (replace(SPEC, map_style="missing"), "12 frames were found"),
    "zero footer": (replace(SPEC, map_style="zero_footer"), "no|not end"),
    "no offset": (replace(SPEC, map_style="zero_offset"), "holds no offset"),
    "map elsewhere": (replace(SPEC, map_style="wrong_offset"), "was found at offset"),
    "wrong offsets": (replace(SPEC, map_style="wrong_frame_offsets"), "not where"),
    "offsets outside": (replace(SPEC, map_style="outside"), "outside the file"),
    "garbage": (replace(SPEC, map_style="garbage"), "chunk map"),
    "stale chunks": (
        replace(SPEC, map_style="missing", stale_chunks=True),
        "12 frames were found",
    ),
    "not counted": (replace(SPEC, sequence_count=0), "no frames are counted"),
    "counted less": (replace(SPEC, sequence_count=5), "promise 5 frames"),
    "fewer frames": (replace(SPEC, missing=frozenset({2, 11})), "2 of 12 frames"),
    "more frames": (replace(SPEC, frame_count=14), "2 frames more than its loops"),
    "two things": (
        replace(
            SPEC,
            map_style="missing",
            missing=frozenset({3}),
            extra_chunks={"ImageTextInfoLV!": b"\x0b\x01abc"},
        ),
        r"frames were found(?s:.*)ImageTextInfoLV!(?s:.*)1 of 12 frames",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_one_warning_one_error_or_nothing(name: str) -> None:
    spec, text = DAMAGED[name]
    file = build(spec)
    dataset, told = opened(file.data)
    with dataset:
        assert len(told) == 1
        assert re.search(text, told[0])
        assert dataset.nd2.damage
        assert all(part in told[0] for part in dataset.nd2.damage)
        assert np.array_equal(dataset["image"].values, file.array())
    silent, told = opened(file.data, on_damage="ignore")
    with silent:
        assert not told
        assert silent.nd2.damage == dataset.nd2.damage
        assert silent["image"].nd2.damage == dataset.nd2.damage
    with pytest.raises(limnd2_xr.CorruptChunk, match=text) as raised:
        opened(file.data, on_damage="raise")
    assert raised.value.path == "<bytes>"


def test_sound_files_have_no_damage() -> None:
    dataset, told = opened(build(SPEC).data, on_damage="raise")
    with dataset:
        assert not told
        assert dataset.nd2.damage == ()


@pytest.mark.parametrize("open_", [xr.open_datatree, xr.open_groups])
def test_all_groups_share_one_warning(open_: Any) -> None:
    extra = contents(SPEC) | {
        "CustomData|RoiMetadata_v1!": b"\x0b\x01abc",
        "CustomDataVar|BinaryMetadata_v1!": b"<",
    }
    data = build(replace(SPEC, map_style="missing", extra_chunks=extra)).data
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tree = open_(data, engine="nd2")
    root = tree["/"]
    told = root.to_dataset().nd2.damage if hasattr(root, "to_dataset") else None
    told = told or root.nd2.damage
    for node in tree.values() if isinstance(tree, dict) else tree.subtree:
        node.close()
    assert len(caught) == 1
    assert len(told) == 3
    assert all(text in str(caught[0].message) for text in told)
    with pytest.raises(limnd2_xr.CorruptChunk, match="RoiMetadata_v1!"):
        open_(data, engine="nd2", on_damage="raise")


def test_missing_frames_are_damage_unless_they_are_errors() -> None:
    data = build(replace(SPEC, missing=frozenset({3}))).data
    dataset, told = opened(data, on_damage="ignore")
    with dataset:
        assert not told
        assert dataset.nd2.damage == (
            "1 of 12 frames are not in the file (3); they read as 0",
        )
    with pytest.raises(limnd2_xr.CorruptChunk, match="1 of 12 frames"):
        opened(data, on_damage="ignore", missing="raise")


def test_what_is_no_choice_is_refused() -> None:
    with pytest.raises(ValueError, match='"raise", "warn", "ignore"'):
        opened(build(SPEC).data, on_damage="mend")


@pytest.mark.parametrize("shift", [-8192, -4096, 512, 4096, 65536])
def test_frames_moved_within_the_file_are_found(shift: int) -> None:
    """What lies behind a place was moved, e.g. by a transfer in the wrong mode."""
    file = build(replace(SPEC, alignment=512))
    at = file.chunks["ImageDataSeq|5!"][0]
    if shift > 0:
        data = file.data[:at] + bytes(shift) + file.data[at:]
    else:
        data = file.data[: at + shift] + file.data[at:]
    dataset, told = opened(data)
    with dataset:
        assert len(told) == 1
        got = frames_of(dataset["image"])
    want = frames_of(xr.DataArray(file.array(), dims=file.dims))
    kept = [i for i in range(12) if got[i].any()]
    assert len(kept) >= (12 if shift > 0 else 9)
    assert np.array_equal(got[kept], want[kept])


def test_the_frame_that_is_cut_is_named() -> None:
    file = build(SPEC)
    at, nbytes = file.chunks["ImageDataSeq|7!"]
    dataset, told = opened(file.data[: at + 4096 + nbytes // 2])
    with dataset:
        assert re.search(
            rf"chunk ImageDataSeq\|7! at offset {at}: the file ends", told[0]
        )


def test_without_frames_the_attributes_cannot_be_guessed() -> None:
    file = build(SPEC)
    cut = file.chunks["ImageDataSeq|0!"][0]
    with pytest.raises(limnd2_xr.CorruptChunk, match=r"ImageAttributesLV!.*0 frames"):
        opened(file.data[:cut])


def test_pixels_that_look_like_nothing_are_still_whole() -> None:
    """Rows cannot be told apart in noise: the bytes are right whatever the shape."""
    noise = np.random.default_rng(0).integers(0, 4096, (12, 9, 21, 1), "u2")
    file = build(replace(SPEC, pixels=lambda i: noise[i]))
    end = max(
        at + 4096 - 8 + n
        for name, (at, n) in file.chunks.items()
        if "Seq|" in name and "Data" in name
    )
    dataset, told = opened(file.data[:end])
    with dataset:
        assert "check whether that is right" in told[0]
        stored = dataset["image"].values.astype("<u2").tobytes()
    assert len(stored) >= noise.nbytes


def test_frames_are_counted_where_the_attributes_are_lost() -> None:
    file = build(SPEC)
    data = file.data[: file.chunks["ImageAttributesLV!"][0]]
    dataset, told = opened(data)
    with dataset:
        assert len(told) == 1
        assert dataset.nd2.metadata.attributes.sequence_count == 12
    with pytest.warns(Nd2Warning, match="attributes are lost"):
        opened_by_limnd2 = limnd2.Nd2Reader(data)
    with opened_by_limnd2 as reader:
        assert reader.imageAttributes.frameCount == 12
        assert len(reader.generateLoopIndexes()) == 12
    with pytest.warns(Nd2Warning, match="attributes are lost"):
        opened_by_nd2 = nd2.ND2File(io.BytesIO(data))
    with opened_by_nd2 as facade:
        assert facade.attributes.sequenceCount == 12


# ---------------------------------------------------------------- growing files


class Acquisition:
    """Writes a file chunk by chunk, as an acquisition does."""

    def __init__(self, path: Path, spec: SyntheticSpec = SPEC) -> None:
        self.path = path
        self.file = build(spec)
        data = self.file.data
        self._chunks: Iterator[tuple[str, bytes]] = iter(
            [
                (h.name, data[h.data_offset : h.end])
                for h in walk_chunks(MemorySource(data))
                if not h.name.startswith("ND2 ")
            ]
        )
        self._out = path.open("wb")
        self._writer = ChunkWriter(self._out)

    def write(self, frames: int) -> None:
        """Write up to some more frames."""
        while frames:
            name, payload = next(self._chunks)
            is_frame = name.startswith("ImageDataSeq|")
            self._writer.put(name, payload, first_nbytes=8 if is_frame else None)
            frames -= is_frame
        self._out.flush()

    def write_half_a_frame(self) -> None:
        before = self._out.tell()
        self.write(1)
        os.truncate(self.path, (before + self._out.tell()) // 2)

    def finish(self) -> None:
        for name, payload in self._chunks:
            self._writer.put(name, payload)
        self._writer.finish()
        self.close()

    def close(self) -> None:
        self._out.close()


@pytest.fixture
def acquisition(tmp_path: Path) -> Iterator[Acquisition]:
    made = Acquisition(tmp_path / "live.nd2")
    yield made
    made.close()


def test_growing_files_show_what_is_there(acquisition: Acquisition) -> None:
    want = acquisition.file.array()
    acquisition.write(5)
    first, told = opened(acquisition.path)
    with first:
        assert len(told) == 1
        assert (
            "5 frames were found; so ends a file that is still being written" in told[0]
        )
        assert first.sizes["T"] == 2
        acquisition.write(4)
        # What was opened shows what was there then, and can still be read.
        assert np.array_equal(first["image"].isel(T=0), want[0])
        assert np.array_equal(first["image"].isel(T=1, Z=[0, 1]), want[1, :2])
        assert not first["image"].isel(T=1, Z=2).values.any()
        with pytest.warns(Nd2Warning, match="9 frames were found"):
            second = first.nd2.refresh()
    with second:
        assert np.array_equal(second["image"], want[:3])
    acquisition.write(3)
    acquisition.finish()
    with second.nd2.refresh() as third:
        assert third.nd2.damage == ()
        assert np.array_equal(third["image"], want)


def test_reading_while_another_thread_writes(acquisition: Acquisition) -> None:
    want = frames_of(xr.DataArray(acquisition.file.array(), dims=acquisition.file.dims))
    acquisition.write(1)

    def acquire() -> None:
        for _ in range(11):
            acquisition.write(1)
        acquisition.finish()

    thread = threading.Thread(target=acquire)
    thread.start()
    seen = [1]
    dataset, _ = opened(acquisition.path, on_damage="ignore")
    while dataset.nd2.damage:
        got = frames_of(dataset["image"])
        missing = dataset["missing"].values.ravel() if "missing" in dataset else False
        there = ~(np.zeros(len(got), bool) | missing)
        assert np.array_equal(got[there], want[: len(got)][there])
        assert not got[~there].any()
        seen.append(int(there.sum()))
        dataset.close()
        dataset = dataset.nd2.refresh()
    thread.join()
    with dataset:
        assert np.array_equal(frames_of(dataset["image"]), want)
    assert seen == sorted(seen)


def test_refreshing_keeps_the_options(acquisition: Acquisition) -> None:
    pytest.importorskip("dask")
    acquisition.write(3)
    options: dict[str, Any] = {"full_dims": True, "on_damage": "ignore"}
    first, told = opened(acquisition.path, chunks={}, drop_variables="time", **options)
    with first:
        acquisition.write(3)
        with first.nd2.refresh() as again:
            assert not told
            assert again.sizes == {**first.sizes, "T": 2}
            assert again["image"].dims[:3] == ("T", "P", "Z")
            assert again["image"].chunks
            assert "time" not in again


def test_half_a_frame_is_not_delivered(acquisition: Acquisition) -> None:
    acquisition.write(3)
    acquisition.write_half_a_frame()
    dataset, told = opened(acquisition.path)
    with dataset:
        assert "3 frames were found" in told[0]
        assert "ImageDataSeq|3!" in told[0]
        assert np.array_equal(dataset["image"], acquisition.file.array()[:1])


def test_a_file_that_became_shorter_is_another(acquisition: Acquisition) -> None:
    acquisition.write(3)
    dataset, _ = opened(acquisition.path)
    with dataset:
        os.truncate(acquisition.path, 8192)
        with pytest.raises(limnd2_xr.StaleFile):
            dataset["image"].load()
