"""What nd2 does badly or not at all, and how files, handles and pickles behave."""

from __future__ import annotations

import gc
import gzip
import io
import os
import pickle
import tempfile
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import nd2 as real
import numpy as np
import pytest
import xarray as xr

from limnd2_xr.compat import nd2
from limnd2_xr.container import local_source
from limnd2_xr.container.local_source import FileSource
from limnd2_xr.container.residency import Resident
from limnd2_xr.frames import single_frames
from limnd2_xr.testing.contents import contents
from limnd2_xr.testing.http_server import HttpServer
from limnd2_xr.testing.legacy import LegacySpec, build_legacy
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
    from collections.abc import Iterator
    from pathlib import Path

POINTS = (Point(1.0, 2.0, name="A"), Point(3.0, 4.0, name="B"), Point(5.0, 6.0))
SPEC = SyntheticSpec(
    loops=(TimeLoop(2), PositionLoop(POINTS)),
    channels=(ChannelSpec("DAPI"), ChannelSpec("GFP")),
    width=24,
    height=16,
    times_ms=3.0 + 10.0 * np.arange(6),
)


POSIX = pytest.mark.skipif(
    os.name == "nt", reason="open files cannot be opened again, or removed"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(SPEC).save(tmp_path_factory.mktemp("nd2") / "file.nd2")


@pytest.fixture
def file(path: Path) -> Iterator[nd2.ND2File]:
    with nd2.ND2File(path) as opened:
        yield opened


def test_positions_are_chosen_by_number_and_name(file: nd2.ND2File) -> None:
    whole = file.asarray()
    np.testing.assert_array_equal(file.asarray(1), whole[:, 1:2])
    np.testing.assert_array_equal(file.asarray("XYPos:2"), whole[:, 2:])
    with pytest.raises(ValueError, match="'Z' is not a valid position name"):
        file.asarray("Z")
    np.testing.assert_array_equal(file.asarray(-1), whole[:, 2:])
    for wrong in (3, -4):
        with pytest.raises(IndexError, match="Only 3 positions available"):
            file.asarray(wrong)
    for delayed in (True, False):
        last = file.to_xarray(delayed=delayed, position=-1)
        assert last["P"].item() == "XYPos:2"
        np.testing.assert_array_equal(last.values, whole[:, 2])
        one = file.to_xarray(delayed=delayed, position="B")
        assert one["P"].item() == "B"
        np.testing.assert_array_equal(one.values, whole[:, 1])


def test_frames_outlive_the_file(path: Path) -> None:
    with nd2.ND2File(path) as opened:
        frame, delayed = opened.read_frame(0), opened.to_dask(False, False)
        total = int(frame.sum())
    assert frame.flags.writeable
    assert int(frame.sum()) == total
    assert int(delayed[0, 0].sum().compute()) == total


@pytest.mark.parametrize("number", [-1, 6, 1000])
def test_frames_that_do_not_exist_are_errors(file: nd2.ND2File, number: int) -> None:
    with pytest.raises(IndexError, match="Frame out of range"):
        file.read_frame(number)


def test_arrays_in_another_type(file: nd2.ND2File) -> None:
    assert np.asarray(file, dtype="f4").dtype == np.float32
    assert np.array(file, copy=True).dtype == np.uint16
    with pytest.raises(ValueError, match="new array"):
        np.asarray(file, copy=False)


def test_squeezed_axes_come_in_a_fixed_order(tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(1), ZLoop(2)), width=8, height=6)
    with nd2.ND2File(build(spec).save(tmp_path / "a.nd2")) as opened:
        array = opened.to_xarray(squeeze=False)
        assert array.dims == ("P", "T", "C", "Z", "Y", "X")
        assert opened.to_xarray().dims == ("Z", "Y", "X")


def test_blocks_of_a_dask_array(tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(50), ZLoop(4)), width=512, height=64)
    file = build(spec)
    with nd2.ND2File(file.save(tmp_path / "a.nd2")) as opened:
        small, single = opened.to_dask(), opened.to_dask(chunks=None)
        with pytest.raises(ValueError, match="chunks"):
            opened.to_dask(chunks=7)  # type: ignore[arg-type]
    assert isinstance(small, da.Array)
    assert small.chunks[:2] == ((16, 16, 16, 2), (4,))
    assert single.chunks[:2] == ((1,) * 50, (1,) * 4)
    expected = file.array().squeeze()
    for array in (small, single[3:5]):
        found = array.compute()
        want = expected if array is small else expected[3:5]
        np.testing.assert_array_equal(found, want)
    assert len(pickle.dumps(small)) < 10_000


def test_large_frames_have_blocks_of_their_own(tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(3),), width=1024, height=512)
    with nd2.ND2File(build(spec).save(tmp_path / "a.nd2")) as opened:
        assert opened.to_dask().chunks[0] == (1, 1, 1)


def test_dask_names_change_with_the_file(tmp_path: Path) -> None:
    names = []
    for n in (2, 3):
        spec = SyntheticSpec(loops=(TimeLoop(n),), width=8, height=6)
        with nd2.ND2File(build(spec).save(tmp_path / "a.nd2")) as opened:
            names += [opened.to_dask().name, opened.to_dask().name]
            assert dask.base.tokenize(opened) == dask.base.tokenize(opened)
    assert names[0] == names[1] != names[2]


def test_pickled_arrays_and_files(path: Path) -> None:
    with nd2.ND2File(path) as opened:
        expected = opened.asarray()
        array = pickle.loads(pickle.dumps(opened.to_dask()))
        again = pickle.loads(pickle.dumps(opened))
    with again:
        assert not again.closed
        np.testing.assert_array_equal(again.asarray(), expected)
        assert again.metadata == again.metadata
    # as in a worker: the file stays open there, as long as the array is kept
    with xr.set_options(warn_for_unclosed_files=False):
        np.testing.assert_array_equal(array.compute(scheduler="sync"), expected)
        del array
        gc.collect()
    assert pickle.loads(pickle.dumps(again)).closed


def test_closed_files(path: Path) -> None:
    opened = nd2.ND2File(path)
    names, expected = opened.custom_data, opened.asarray()
    opened.close()
    assert opened.closed
    assert repr(opened).endswith("'file.nd2' (closed)>")
    assert opened.custom_data is names
    assert opened.metadata.contents.frameCount == 6  # type: ignore[union-attr]
    assert opened.frame_metadata(5).channels[0].position.name is None
    reads: list[Any] = [opened.asarray, lambda: opened.read_frame(0)]
    for read in reads:
        with pytest.raises(ValueError, match="closed nd2 file"):
            read()
    np.testing.assert_array_equal(opened.to_dask().compute(), expected)
    np.testing.assert_array_equal(opened.to_xarray().values, expected)
    with opened as again:
        assert "uint16" in repr(again)


def test_closed_files_are_open_while_read(path: Path) -> None:
    array = nd2.imread(path, dask=True)
    expected = nd2.imread(path)
    threads = [
        threading.Thread(target=lambda: results.append(array.sum().compute()))
        for _ in range(4)
    ]
    results: list[Any] = []
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected.sum()] * 4


NO_PIXELS = (
    "binary_data",
    "custom_data",
    "events",
    "jobs",
    "metadata",
    "rois",
    "unstructured_metadata",
)


def no_pixels(file: nd2.ND2File, name: str) -> Any:
    found = getattr(file, name)
    return found() if callable(found) else found


@pytest.mark.parametrize("name", NO_PIXELS)
def test_metadata_of_a_closed_file(name: str, tmp_path: Path) -> None:
    spec = replace(SPEC, extra_chunks=contents(SPEC))
    file = build(spec)
    path = file.save(tmp_path / "a.nd2")
    opened = nd2.ND2File(path)
    opened.close()
    with nd2.ND2File(path) as other:
        expected = no_pixels(other, name)
    assert repr(no_pixels(opened, name)) == repr(expected)  # nobody asked before
    assert opened.closed
    with io.BytesIO(file.data) as one, io.BytesIO(file.data) as two:
        asked, not_asked = nd2.ND2File(one), nd2.ND2File(two)
        no_pixels(asked, name)
    assert repr(no_pixels(asked, name)) == repr(expected)
    with pytest.raises(OSError, match="File not open"):
        no_pixels(not_asked, name)


def test_a_file_that_nobody_closed_warns(path: Path) -> None:
    opened = [nd2.ND2File(path)]
    with pytest.warns(UserWarning, match="not closed before garbage collection"):
        opened.clear()


def test_handles(path: Path) -> None:
    data = path.read_bytes()
    expected = nd2.imread(path)
    with io.BytesIO(data) as handle:
        opened = nd2.ND2File(handle)
        assert opened.path == ""
        np.testing.assert_array_equal(opened.asarray(), expected)
        np.testing.assert_array_equal(opened.to_dask().compute(), expected)
        with pytest.raises(TypeError, match="unnamed"):
            pickle.dumps(opened)
        opened.close()
        assert handle.closed
        with pytest.raises(RuntimeError, match="Cannot reopen"):
            opened.open()
    with path.open("rb") as real_file:
        named = nd2.ND2File(real_file)
        assert named.path == str(path)
        np.testing.assert_array_equal(named.asarray(), expected)
        named.close()
        assert real_file.closed
        with named:
            np.testing.assert_array_equal(named.asarray(), expected)
    np.testing.assert_array_equal(nd2.imread(io.BytesIO(data)), expected)
    with pytest.raises(ValueError, match="closed file"):
        nd2.ND2File(real_file)
    with (
        path.open(encoding="latin-1") as text,
        pytest.raises(ValueError, match="binary"),
    ):
        nd2.ND2File(text)


@POSIX
def test_temporary_files_have_their_name(path: Path) -> None:
    expected = nd2.imread(path)
    with tempfile.NamedTemporaryFile(suffix=".nd2") as made:
        made.write(path.read_bytes())  # and not flushed
        made.seek(0)
        opened = nd2.ND2File(made)
        assert opened.path == made.name
        again = pickle.loads(pickle.dumps(opened))
        with again:
            np.testing.assert_array_equal(again.asarray(), expected)
        array = opened.to_dask()
        np.testing.assert_array_equal(array.compute(), expected)
        opened.close()
        assert made.closed
        with pytest.raises(FileNotFoundError):
            array.compute()
    with path.open("r+b") as changeable:
        opened = nd2.ND2File(changeable)
        opened.close()
        np.testing.assert_array_equal(opened.to_dask().compute(), expected)


def test_a_compressed_file_is_not_opened_by_its_name(
    path: Path, tmp_path: Path
) -> None:
    name = tmp_path / "a.nd2.gz"
    with gzip.open(name, "wb") as made:
        made.write(path.read_bytes())
    with gzip.open(name) as one, gzip.open(name) as other:
        opened, theirs = nd2.ND2File(one), real.ND2File(other)
        assert opened.path == theirs.path == str(name)
        array = opened.to_dask()
        np.testing.assert_array_equal(array.compute(), nd2.imread(path))
        with pytest.raises(TypeError, match=r"not the file .*a\.nd2\.gz' itself"):
            pickle.dumps(opened)
        opened.close()
        theirs.close()
    for call in (opened.open, array.compute):
        with pytest.raises(RuntimeError, match=r"Cannot reopen .*a\.nd2\.gz"):
            call()


@POSIX
def test_a_file_that_was_removed_is_read_as_it_is_given(
    path: Path, tmp_path: Path
) -> None:
    place = tmp_path / "a.nd2"
    place.write_bytes(path.read_bytes())
    with place.open("rb") as handle:
        place.unlink()
        opened = nd2.ND2File(handle)
        np.testing.assert_array_equal(opened.asarray(), nd2.imread(path))
        opened.close()
    with pytest.raises(RuntimeError, match="not the file"):
        opened.open()


def test_urls(path: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").pipe("/compat.nd2", path.read_bytes())
    expected = nd2.imread(path)
    with nd2.ND2File("memory://compat.nd2", storage_options={}) as opened:
        assert opened.path == "memory://compat.nd2"
        array = opened.to_dask()
        again = pickle.loads(pickle.dumps(opened))
    np.testing.assert_array_equal(array.compute(), expected)
    with again:
        np.testing.assert_array_equal(again.asarray(), expected)
    with fsspec.open("memory://compat.nd2").open() as handle:
        np.testing.assert_array_equal(nd2.imread(handle), expected)


def test_what_is_no_file(tmp_path: Path) -> None:
    other = tmp_path / "other.nd2"
    other.write_bytes(b"GIF89a, and more")
    with pytest.raises(OSError, match=r"not recognized as ND2\..*b'GIF8'"):
        nd2.ND2File(other)
    with pytest.raises(FileNotFoundError):
        nd2.ND2File(tmp_path / "none.nd2")
    with pytest.raises(IsADirectoryError):
        nd2.ND2File(tmp_path)
    with pytest.raises(TypeError):
        nd2.ND2File(None)
    with pytest.raises(TypeError):
        nd2.imread(other, read_using_sdk=True)  # type: ignore[call-arg]


def test_frames_that_no_loop_counts_run_along_t(tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(), width=8, height=6)
    file = build(replace(spec, loops=(TimeLoop(3),)))
    lost = tmp_path / "a.nd2"
    lost.write_bytes(file.data.replace(b"ImageMetadataLV!", b"ImageMetadataXX!"))
    with nd2.ND2File(lost) as opened:
        assert dict(opened.sizes) == {"T": 3, "Y": 6, "X": 8}
        assert opened.experiment == []
        assert opened.loop_indices == ({"T": 0}, {"T": 1}, {"T": 2})
        np.testing.assert_array_equal(opened.asarray(), file.array().squeeze())


def test_planes_of_two_components_are_channels(tmp_path: Path) -> None:
    spec = SyntheticSpec(channels=(ChannelSpec("A", components=2),), width=8, height=6)
    file = build(spec)
    path = file.save(tmp_path / "a.nd2")
    with real.ND2File(path) as theirs, nd2.ND2File(path) as opened:
        assert dict(opened.sizes) == dict(theirs.sizes) == {"C": 2, "Y": 6, "X": 8}
        expected = file.frames[0].transpose(2, 0, 1)
        assert not np.array_equal(theirs.asarray(), expected)
        np.testing.assert_array_equal(opened.asarray(), expected)
        np.testing.assert_array_equal(opened.to_xarray().values, expected)


def test_masks(tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(2), ZLoop(1)), width=24, height=16)
    file = build(replace(spec, extra_chunks=contents(spec)))
    path = file.save(tmp_path / "a.nd2")
    with real.ND2File(path) as theirs, nd2.ND2File(path) as opened:
        expected, layers = theirs.binary_data, opened.binary_data
    assert layers is not None
    assert expected is not None
    names = [layer.name for layer in layers]
    assert names == ["nuclei", "cells"]  # nd2 reads runs only, no tiles
    assert repr(layers) == "<BinaryLayers with 2 layers>"
    nuclei = layers[0]
    np.testing.assert_array_equal(nuclei.asarray(), expected[0].asarray())
    assert nuclei.asarray().dtype == np.uint16  # type: ignore[union-attr]
    assert layers.asarray().shape == (2, 2, 1, 16, 24)
    assert layers[0:1] == [nuclei]
    assert np.asarray(layers, dtype="u4").dtype == np.uint32
    assert np.asarray(nuclei).shape == (2, 1, 16, 24)
    assert (len(nuclei), nuclei.frame_shape) == (2, (16, 24))


def test_layers_without_masks() -> None:
    fields = ("n", "tag", None, None, None, None, None, None, (2,))
    empty = nd2.BinaryLayer([None, None], *fields)
    large = np.full((2, 3), 70_000, np.uint32)
    full = nd2.BinaryLayer([large, None], *fields)
    assert empty.asarray() is None
    assert np.asarray(empty).shape == ()
    assert empty.frame_shape == (0, 0)
    both = nd2.BinaryLayers([empty, full])
    assert both.asarray().shape == (2, 2, 2, 3)
    assert int(both.asarray()[1, 0].max()) == 70_000
    with pytest.raises(ValueError, match="no layer has any"):
        nd2.BinaryLayers([empty]).asarray()


def test_frame_metadata_may_be_changed(file: nd2.ND2File) -> None:
    found = file.frame_metadata(0)
    found.channels[0].microscope.modalityFlags.append("x")
    found.channels[0].channel.name = "y"
    assert file.frame_metadata(0) != found
    assert file.metadata.channels[0].channel.name == "DAPI"  # type: ignore[index]
    with pytest.raises(IndexError):
        file.frame_metadata(6)
    with pytest.raises(TypeError):
        file.frame_metadata("0")  # type: ignore[arg-type]


def test_times_that_lie_with_the_frames_count(tmp_path: Path) -> None:
    data = build(SPEC).data
    data = data.replace(b"CustomData|AcqTimesCache!", b"CustomData|XcqTimesCache!")
    path = tmp_path / "a.nd2"
    path.write_bytes(data)
    with nd2.ND2File(path) as opened:
        # the time that lies with each frame counts
        times = [opened.frame_metadata(i).channels[0].time for i in range(6)]
        assert [t.relativeTimeMs for t in times] == SPEC.times_ms.tolist()  # type: ignore[union-attr]
        assert "Time [s]" not in opened.events()[0]


def test_chunks_by_their_names(path: Path) -> None:
    name = b"ImageAttributesLV!"
    with real.ND2File(path) as theirs, nd2.ND2File(path) as opened:
        # private in nd2, and used by others
        expected: Any = theirs._rdr
        found = opened._rdr
        assert {n: v[0] for n, v in found.chunkmap.items()} == {
            n: v[0]
            for n, v in expected.chunkmap.items()
            if not n.startswith(b"ND2 FILE SIGNATURE")
        }
        assert found._load_chunk(name) == expected._load_chunk(name)
        assert found._decode_chunk(name) == expected._decode_chunk(name)
        with pytest.raises(KeyError):
            found._load_chunk(b"nothing!")


def test_legacy_files(tmp_path: Path) -> None:
    points = tuple(Point(10.0 * i, -5.0 * i, 2.0 * i) for i in range(3))
    spec = LegacySpec(
        loops=(TimeLoop(2), PositionLoop(points, use_z=True), ZLoop(4, step_um=0.5)),
        channels=(ChannelSpec("DAPI"), ChannelSpec("GFP", color=0x00FF40)),
    )
    path = build_legacy(spec).save(tmp_path / "old.nd2")
    with real.ND2File(path) as theirs, nd2.ND2File(path) as opened:
        assert opened.is_legacy
        assert opened.version == theirs.version
        assert dict(opened.sizes) == dict(theirs.sizes)
        np.testing.assert_array_equal(opened.asarray(), theirs.asarray())
        np.testing.assert_array_equal(opened.read_frame(5), theirs.read_frame(5))
        assert [loop.count for loop in opened.experiment] == [2, 3, 4]
        frame = opened.frame_metadata(1)
        assert [c.channel.name for c in frame.channels] == ["DAPI", "GFP"]
        assert opened.binary_data is None
        assert opened.rois == {}
        assert opened.custom_data == {}
        assert opened.jobs() is None
        assert len(opened.events()) == 24
        assert "VIMD|0" in opened.unstructured_metadata()


def test_the_graph_is_small(tmp_path: Path) -> None:
    spec = SyntheticSpec(loops=(TimeLoop(2000),), width=4, height=2)
    with nd2.ND2File(build(spec).save(tmp_path / "a.nd2")) as opened:
        array = opened.to_dask(chunks=None)
        assert len(array.dask.layers) == 1
        assert len(pickle.dumps(array.dask)) < 100_000
        with dask.config.set(scheduler="sync"):
            assert array.sum().compute() == opened.asarray().sum()


def test_signatures_of_urls_are_not_shown(path: Path) -> None:
    with HttpServer({"/a.nd2": path}) as site:
        url = site.url("/a.nd2?X-Amz-Signature=s1gned")
        with nd2.ND2File(url) as opened:
            assert opened.path == url
            assert "a.nd2?X-Amz-Signature=***" in repr(opened)
            shown = repr((opened.to_xarray().attrs, opened.attributes, opened.metadata))
    assert "s1gned" not in shown + repr(opened)


@pytest.mark.parametrize("stays", [True, False])
def test_an_open_file_stays_in_memory_if_there_is_room(
    stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = build(SyntheticSpec(loops=(TimeLoop(3),), width=256, height=128))
    path = file.save(tmp_path / "series.nd2")
    room = Resident(limit=0, most=1 << 30 if stays else 0)
    monkeypatch.setattr(local_source, "RESIDENT", room)
    monkeypatch.setattr(single_frames, "MAPPED_NBYTES", 1)
    read: list[int] = []
    fill = FileSource.read_into

    def watched(self: FileSource, offset: int, buffers: list[memoryview]) -> None:
        read.append(offset)
        fill(self, offset, buffers)

    truth = file.array().reshape(3, 128, 256)
    with nd2.ND2File(path) as opened:
        monkeypatch.setattr(FileSource, "read_into", watched)
        for _ in range(2):
            np.testing.assert_array_equal(opened.to_dask(chunks=None), truth)
            np.testing.assert_array_equal(opened.read_frame(2), truth[2])
    assert (len(read) > 0) is not stays
