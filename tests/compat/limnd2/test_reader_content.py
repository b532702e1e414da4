"""What lies beside the images: masks, wells, raw images, forms, results, exports."""

from __future__ import annotations

import builtins
import importlib
import io
import json
import re
import sys
import zipfile
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from limnd2_xr.compat import limnd2
from limnd2_xr.compat.limnd2.base import BinaryIdNotFountError
from limnd2_xr.compat.limnd2.experiment import WellplateFrameInfo
from limnd2_xr.compat.limnd2.results import create_table_data_from_h5
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.component_ranges import component_ranges_chunk
from limnd2_xr.model.frame_wells import FRAME_WELLS
from limnd2_xr.model.plates import PLATE_CHUNK
from limnd2_xr.testing.contents import contents, masks
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
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPEC = SyntheticSpec(loops=(TimeLoop(3),), width=40, height=30, significant_bits=12)
WELLS = SyntheticSpec(
    loops=(TimeLoop(2), PositionLoop(tuple(Point(float(i), 0.0) for i in range(4)))),
    width=12,
    height=8,
)


@pytest.fixture
def full() -> Iterator[limnd2.Nd2Reader]:
    """A file with masks, raw images and a form."""
    data = build(replace(SPEC, extra_chunks=contents(SPEC))).data
    with limnd2.Nd2Reader(data) as reader:
        yield reader


def test_layers_are_described(full: limnd2.Nd2Reader) -> None:
    (runs,) = full.binaryRleMetadata
    assert (runs.name, runs.strCompName) == ("nuclei", "GFP")
    assert full.binaryRleMetadata.findItemById(runs.id) is runs
    assert runs.dataChunkName(2) == f"CustomDataSeq|{runs.strFileTag}|2!"
    layers = full.binaryRasterMetadata
    assert layers.binNameList == ["nuclei", "cells"]
    assert [layer.emulatedOverRle for layer in layers] == [True, False]
    assert {layer.shape for layer in layers} == {(30, 40)}
    assert layers[0].color == (1.0, 0.0, 0.0)
    assert layers[1].makeDownsampled(1).shape == (15, 20)
    again = limnd2.BinaryRasterMetadata.from_json(layers.to_json())
    assert again == layers


def test_masks_are_those_that_were_stored(full: limnd2.Nd2Reader) -> None:
    for layer in full.binaryRasterMetadata:
        stored = [full.binaryRasterData(layer.id, n) for n in range(3)]
        assert {mask.dtype for mask in stored} == {np.dtype(np.uint32)}
        part = full.binaryRasterData(layer.id, 0, rect=(3, 4, 10, 100))
        np.testing.assert_array_equal(part, stored[0][4:, 3:13])
        small = full.binaryRasterData(layer.id, 0, downsample_level=1)
        np.testing.assert_array_equal(small, stored[0][::2, ::2])
    runs = full.binaryRleMetadata[0].id
    found = [full.binaryRasterData(runs, n) for n in range(3)]
    assert any(np.array_equal(mask, masks(SPEC, 0)) for mask in found)


def test_objects_of_a_mask_are_listed(full: limnd2.Nd2Reader) -> None:
    labels, objects = full.chunker.binaryRleData(full.binaryRleMetadata[0].id, 0)
    assert set(objects) == set(np.unique(labels).tolist()) - {0}
    for id_, found in objects.items():
        y, x = np.nonzero(labels == id_)
        assert found["bb"] == (x.min(), y.min(), x.max(), y.max())
        assert found["pixels"] == len(x)
        assert found["center"] == pytest.approx((x.mean(), y.mean()))


def test_layers_and_frames_that_do_not_exist_are_errors(full: limnd2.Nd2Reader) -> None:
    with pytest.raises(BinaryIdNotFountError, match="no binary layer 99"):
        full.binaryRasterData(99, 0)
    with pytest.raises(IndexError):
        full.binaryRasterData(full.binaryRleMetadata[0].id, 3)


def test_a_frame_without_a_mask_has_zeros() -> None:
    chunks = contents(SPEC)
    gone = next(n for n in chunks if n.startswith("CustomDataSeq|Rle") and "|1!" in n)
    del chunks[gone]
    data = build(replace(SPEC, extra_chunks=chunks)).data
    with limnd2.Nd2Reader(data) as reader:
        assert not reader.binaryRasterData(reader.binaryRleMetadata[0].id, 1).any()
        with pytest.raises(limnd2.UnexpectedCallError):
            reader.chunk(reader.binaryRleMetadata[0].dataChunkName(0))


def test_raw_images_of_a_deepsim_are_given(full: limnd2.Nd2Reader) -> None:
    indices = full.crestDeepSimRawDataIndices()
    assert indices
    images, key, xml, psf, iterations, roi = full.crestDeepSimRawData(*indices[0])
    assert (images.ndim, images.dtype.name) == (3, "uint16")
    assert isinstance(key, str)
    assert "\0" not in key
    assert isinstance(xml, str)
    assert {len(psf), len(iterations), len(roi)} == {2}
    with pytest.raises(limnd2.NameNotInChunkmapError) as told:
        full.crestDeepSimRawData(77, 0)
    assert "AUXIMAGE" in told.value.chunk_name


def test_the_form_is_given(full: limnd2.Nd2Reader) -> None:
    form = full.customDescription
    assert form is not None
    assert form.name == "sample form"
    assert [(item.name, item.valueAsText) for item in form] == [
        ("Dye", "Hoechst"),
        ("Passage", "7.000"),
    ]
    assert (form[1].value, form[0].text) == (7.0, "Hoechst")
    assert full.smartExperimentDescription is None


def _with_wells() -> bytes:
    info = WellplateFrameInfo(
        {"seqIndex": n, "wellIndex": n % 4 // 2, "wellName": "AB"[n % 4 // 2] + "1"}
        for n in range(8)
    )
    plate = limnd2.WellplateDesc(name="plate", rows=2, columns=3, rowNaming="A-B")
    extra = {FRAME_WELLS: info.to_chunk(), PLATE_CHUNK: plate.to_lv()}
    return build(replace(WELLS, extra_chunks=extra)).data


def test_wells_come_first_in_the_indexes() -> None:
    with limnd2.Nd2Reader(_with_wells()) as reader:
        assert reader.wellplateDesc == limnd2.WellplateDesc(
            name="plate", rows=2, columns=3, rowNaming="A-B"
        )
        info = reader.wellplateFrameInfo
        assert info is not None
        assert (info.nwells, info[2].wellName) == (2, "B1")
        names: list[str] = []
        indexes = reader.generateLoopIndexes(dimnames=names)
        assert names == ["w", "t", "m"]
        assert indexes[:5] == [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1), (0, 1, 0)]
        assert reader.dimensionSizes() == {"t": 2, "m": 4}


@pytest.mark.parametrize(
    ("chunk", "name"),
    [
        (FRAME_WELLS, "wellplateFrameInfo"),
        (PLATE_CHUNK, "wellplateDesc"),
        ("CustomData|AcqTimes2Cache!", "acqTimes2"),
        ("ImageTextInfoLV!", "imageTextInfo"),
        ("ImageMetadataSeqLV|0!", "pictureMetadata"),
        ("CustomDataVar|AppInfo_V1_0!", "appInfo"),
        ("CustomData|CustomDescriptionV1_0!", "customDescription"),
        (component_ranges_chunk(0), "compFrameRange"),
    ],
)
@pytest.mark.filterwarnings("ignore::limnd2_xr.errors.Nd2Warning")
def test_damaged_chunks_are_named_and_leave_the_images(chunk: str, name: str) -> None:
    data = build(replace(SPEC, extra_chunks={chunk: b"damaged"})).data
    with limnd2.Nd2Reader(data) as reader:
        with pytest.raises(CorruptChunk, match=re.escape(chunk)):
            getattr(reader, name)
        assert reader.image(2).any()


def test_levels_of_masks_are_checked(full: limnd2.Nd2Reader) -> None:
    number = full.binaryRleMetadata[0].id
    for level in (-1, 6, 10**9):
        with pytest.raises(ValueError, match="nothing is left"):
            full.binaryRasterData(number, 0, downsample_level=level)
        with pytest.raises(ValueError, match="nothing is left"):
            full.image(0, downsample_level=level)


def test_items_of_wells_take_what_other_writers_write() -> None:
    item = limnd2.WellplateFrameInfoItem(wellCompactName="C5", unknown=3)
    assert item.wellName == "C5"
    with pytest.raises(TypeError):
        limnd2.WellplateFrameInfoItem(0)  # type: ignore[call-arg]


def test_stored_ranges_of_floats_are_used() -> None:
    pairs = np.array([[0.5, 2.0], [0.25, 1.0], [1.0, 4.0]], "<f4").tobytes()
    spec = replace(
        SPEC,
        dtype="float32",
        significant_bits=None,
        extra_chunks={component_ranges_chunk(0): pairs},
    )
    with limnd2.Nd2Reader(build(spec).data) as reader:
        assert reader.isFloat
        assert reader.compFrameRange[0].tolist() == [[0.5, 0.25, 1.0], [2.0, 1.0, 4.0]]
        assert reader.imageDataRange == (0.25, 4.0)


def test_smaller_copies_in_the_file_are_used() -> None:
    spec = SyntheticSpec(width=1100, height=8)
    extra = {n: d for n, d in contents(spec).items() if "DownsampledColor" in n}
    (name,) = extra
    extra[name] = bytes(len(extra[name]))
    with limnd2.Nd2Reader(build(replace(spec, extra_chunks=extra)).data) as reader:
        assert not reader.image(0, downsample_level=1).any()  # what the copy holds
        assert reader.image(0, downsample_level=2).shape == (2, 275, 1)
        with pytest.raises(ValueError, match="nothing is left"):
            reader.image(0, downsample_level=4)
        with pytest.raises(limnd2.UnexpectedCallError):
            reader.chunk(name)


@pytest.fixture
def analysed(tmp_path: Path) -> Path:
    """A file with the results of an analysis beside it."""
    path = build(SPEC).save(tmp_path / "a.nd2.copy.nd2")
    with h5py.File(path.with_suffix(".h5"), "w") as h5:
        run = h5.create_group("Cells").create_group("v1")
        run.attrs["Creation_time"] = 1741370400.0
        run.attrs["Application_name"] = "NIS-Elements AR"
        for name, flags in {"Left": ["main-left"], "Plain": ["result"]}.items():
            table = run.create_group(name)
            table.attrs["Object"] = "Table"
            table.attrs["Metadata"] = json.dumps({"_systemFlags": flags})
        _column(run["Left"], "state", [b'{"zoom": 2}'], decltype="QString", ver=2)
        inner = run["Left"].create_group("Inner")
        inner.attrs["Object"] = "Table"
        inner.attrs["Metadata"] = "{}"
        _column(inner, "area", [1.5, 2.5], decltype="double")
    return path


def _column(table: h5py.Group, name: str, values: Any, **meta: Any) -> None:
    column = table.create_dataset(f"0000000000_{name}", data=values)
    column.attrs["Object"] = "Column"
    column.attrs["Id"] = f"id-{name}"
    feature = {"feature": "jsonRuntimeState"} if name == "state" else {}
    column.attrs["Metadata"] = json.dumps({**meta, **feature, "title": name})


def test_results_of_analyses_are_read(analysed: Path) -> None:
    with limnd2.Nd2Reader(analysed) as reader:
        (result,) = reader.results.values()
        table = reader.resultPrivateTable("Cells", "main-left", "Inner")
    assert (result.name, result.load_error) == ("Cells", None)
    assert result.attributes["Creation_time"] == 1741370400.0
    assert result.attributes["Application_name"] == "NIS-Elements AR"
    assert result.result_panes_configuration == limnd2.ResultPanesConfiguration.simple
    assert result.result_panes["main-left"].state == {"zoom": 2}
    assert table.df["area"].tolist() == [1.5, 2.5]
    assert table.column_lookup == {"id-area": "area"}
    assert result.result_panes["main-left"].private_tables["Inner"].name == "Inner"
    assert create_table_data_from_h5(analysed, "Cells/Left").private_tables == ["Inner"]
    with pytest.raises(KeyError, match="no table 'Cells/None'"):
        create_table_data_from_h5(analysed, "Cells/None")


def test_results_that_are_too_old_are_told(analysed: Path) -> None:
    with h5py.File(analysed.with_suffix(".h5"), "r+") as h5:
        column = h5["Cells/v1/Left/0000000000_state"]
        column.attrs["Metadata"] = json.dumps(
            {"feature": "jsonRuntimeState", "decltype": "QString", "ver": 1}
        )
    with limnd2.Nd2Reader(analysed) as reader:
        result = reader.results["Cells"]
    assert "version 1" in str(result.load_error)
    assert result.result_panes == {}


@pytest.fixture
def series(tmp_path: Path) -> Path:
    spec = SyntheticSpec(
        loops=(TimeLoop(2), ZLoop(11)),
        channels=(ChannelSpec("DAPI"), ChannelSpec("GFP")),
        width=12,
        height=8,
        significant_bits=12,
    )
    return build(spec).save(tmp_path / "run {1}.nd2")


def test_a_series_is_a_file_for_each_frame_and_channel(series: Path) -> None:
    with limnd2.Nd2Reader(series) as reader:
        files = limnd2.seriesExport(reader)
        again = limnd2.seriesExport(reader)  # replaces them
        number = reader.generateLoopIndexes().index((1, 10))
        image = reader.image(number)
    assert files == again
    assert len(files) == len(set(files)) == 44
    assert files[0].parent == series.with_name("run {1}_export")
    assert files[-1].name == "run {1}_t1_z10_c1.tiff"
    np.testing.assert_array_equal(tifffile.imread(files[-1]), image[..., 1])


def test_a_series_is_scaled_and_named_as_asked(
    series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with limnd2.Nd2Reader(series) as reader:
        image = reader.image(0)
        files = limnd2.seriesExport(
            reader,
            tmp_path / "out",
            "p",
            ["channel", "zstack", "time"],
            8,
            progress_to_json=True,
        )
        for order in (["t", "z"], ["t", "z", "c", "c"], ["t", "z", "c", "q"]):
            with pytest.raises(ValueError, match="dimension"):
                limnd2.seriesExport(reader, tmp_path, dimension_order=order)
        with pytest.raises(ValueError, match="bits must be 8, 16"):
            limnd2.seriesExport(reader, tmp_path, bits=12)
    assert files[0].name == "p_c0_z00_t0.tiff"
    expected = np.rint(image[..., 0] * (255 / 4095)).astype(np.uint8)
    np.testing.assert_array_equal(tifffile.imread(files[0]), expected)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[-1] == {"progress": 22, "total": 22}


def test_a_frame_keeps_the_order_of_its_channels(series: Path) -> None:
    with limnd2.Nd2Reader(series) as reader:
        path = limnd2.frameExport(reader, 3)
        wide = limnd2.frameExport(reader, 3, series.with_name("b.tiff"), 16)
        image = reader.image(3)
    assert path == series.with_name("run {1}_3.tiff")
    np.testing.assert_array_equal(tifffile.imread(path), image)
    scaled = np.rint(image * (65535 / 4095)).astype(np.uint16)
    np.testing.assert_array_equal(tifffile.imread(wide), scaled)


def test_a_frame_of_rgb_is_red_green_blue(tmp_path: Path) -> None:
    spec = SyntheticSpec(channels=(ChannelSpec("HE", components=3),), dtype="uint8")
    with limnd2.Nd2Reader(build(spec).data) as reader:
        path = limnd2.frameExport(reader, 0, tmp_path / "a.tiff")
        np.testing.assert_array_equal(tifffile.imread(path), reader.image(0)[..., ::-1])
        with pytest.raises(ValueError, match="give output_path"):
            limnd2.frameExport(reader)
        with pytest.raises(ValueError, match="give a folder"):
            limnd2.seriesExport(reader)


# zarr 3.1 says of its own type for text that it has no specification yet.
@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
@pytest.mark.parametrize("include", [True, False])
def test_ome_zarr_is_written(include: bool, tmp_path: Path) -> None:
    data = build(replace(SPEC, extra_chunks=contents(SPEC))).data
    with limnd2.Nd2Reader(data) as reader:
        target = reader.to_ome_zarr(tmp_path / "a.zarr", include_binaries=include)
        with pytest.raises(FileExistsError):
            reader.to_ome_zarr(tmp_path / "a.zarr")
        image = reader.image(1)
    group = zarr.open_group(target, mode="r")
    pixels = np.asarray(group["0"])
    assert pixels.shape[-2:] == (30, 40)
    np.testing.assert_array_equal(pixels.reshape(3, 30, 40)[1], image[..., 0])
    assert ("labels" in group) == include


@pytest.mark.realdata
def test_a_summary_is_that_of_limnd2(real_file: Callable[[str], Path]) -> None:
    path = real_file("confocal_t3_z10_c2")
    with limnd2.Nd2Reader(path) as reader:
        found = limnd2.generalImageInfo(reader)
    modified = datetime.fromtimestamp(path.stat().st_mtime).strftime("%x %X")  # noqa: DTZ006
    assert list(found.items()) == [
        ("filename", path.name),
        ("path", f"{path.parent}/"),
        ("bit_depth", "12bit uint"),
        ("loops", "T(3), Z(10)"),
        ("dimension", "38 x 31 (2 comps 12bit uint) x 30 frames: T(3), Z(10)"),
        ("calibration", "0.168 µm/px"),
        ("mtime", modified),
        ("app_created", "NIS-Elements AR 4.20.01 (Build 982)"),
        ("file_bytes", 557056),
        ("frame_bytes", 4712),
        ("volume_bytes", 47120),
        ("file_size", "544kB"),
        ("frame_size", "5kB"),
        ("volume_size", "46kB"),
        ("sizes", "544kB on disk, 5kB frame, 46kB volume"),
        ("frame_res", "38 x 31"),
    ]


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore::limnd2_xr.errors.Nd2Warning")
def test_every_sample_is_told_as_json_and_text(
    each_sample: Path, tmp_path: Path
) -> None:
    with limnd2.Nd2Reader(each_sample) as reader:
        told = json.loads(
            limnd2.metadataAsJSON(reader, output_path=tmp_path / "a.json")
        )
        plain = json.loads(limnd2.metadataAsJSON(reader, include_documentation=False))
        information = limnd2.imageInformationAsJSON(reader)
        t, m, z = reader.imageDataShape[:3]
        colors = [plane.colorAsHtmlString for plane in reader.pictureMetadata.channels]
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == told
    summary = told["summary"]
    assert summary["is3D"] == (z > 1)
    assert summary["hasTimeSeries"] == (t > 1)
    assert summary["hasMultipleXYSites"] == (m > 1)
    assert summary["fileSizeBytes"] == each_sample.stat().st_size
    assert [c["color"] for c in told["metadata"]["channels"]] == colors
    assert {k for k in told if not k.endswith("_doc")} == set(plain)
    text = limnd2.imageInformationAsTXT(information)
    assert text == limnd2.imageInformationAsTXT(json.loads(information))
    assert told["generalInfo"]["dimension"] in text


def test_tables_hold_what_was_recorded() -> None:
    spec = replace(SPEC, times_ms=[1.0, 2.0, -1.0], text={4: "A. Author"})
    found = limnd2.gatherImageInformation(
        build(spec).data,
        filename="x.nd2",
        last_modified=datetime(2026, 1, 2),  # noqa: DTZ001
    )
    assert found["generalInfo"]["filename"] == "x.nd2"
    assert found["generalInfo"]["mtime"].startswith("01/02/26")
    assert found["imageTextInfo"]["author"] == "A. Author"
    (loop,) = found["experimentData"]
    assert (loop["ClassName"], loop["LoopName"]) == ("ExperimentTimeLoop", "Time")
    assert loop["data"]["rowdata"][0]["Loops"] == 3
    recorded = found["recordedData"]
    assert recorded["coldefs"][1] == {
        "field": "ACQTIME",
        "headerName": "Acquisition Time [h:m:s.ms]",
    }
    assert [row["ACQTIME"] for row in recorded["rowdata"]] == [
        "0:00:00.001",
        "0:00:00.002",
        "",
    ]
    groups = {row["group"] for row in found["acquisitionDetails"]["rowdata"]}
    assert groups == {"GFP"}
    with pytest.raises(ValueError, match="gatherImageInformation"):
        limnd2.imageInformationAsTXT({})


def test_workbooks_need_openpyxl(monkeypatch: pytest.MonkeyPatch) -> None:
    information = limnd2.gatherImageInformation(build(SPEC).data)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ImportError, match=r"limnd2-xr\[excel\]"):
        limnd2.imageInformationAsXLSX(information)


def test_workbooks_have_a_sheet_for_each_table() -> None:
    openpyxl = importlib.import_module("openpyxl")  # has no types
    information = limnd2.gatherImageInformation(build(SPEC).data)
    data = limnd2.imageInformationAsXLSX(information)
    assert zipfile.is_zipfile(io.BytesIO(data))
    book = openpyxl.load_workbook(io.BytesIO(data))
    assert book.sheetnames[0] == "General"
    assert "Recorded data" in book.sheetnames
    assert book["General"]["A3"].value == "bit_depth"


@pytest.mark.parametrize("name", sorted(limnd2.__all__))
def test_every_name_is_there(name: str) -> None:
    assert getattr(limnd2, name) is not None


@pytest.mark.parametrize(
    "name",
    [
        "attributes",
        "base",
        "binary",
        "custom_data",
        "experiment",
        "export",
        "image_info",
        "lite_variant",
        "metadata",
        "nd2",
        "nd2file",
        "results",
        "textinfo",
        "variant",
    ],
)
def test_modules_have_the_names_that_they_promise(name: str) -> None:
    module = importlib.import_module(f"limnd2_xr.compat.limnd2.{name}")
    assert getattr(limnd2, name) is module
    for member in module.__all__:
        assert hasattr(module, member)


def test_reading_imports_nothing_that_is_optional(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def limited(name: str, *args: Any) -> Any:
        if name.partition(".")[0] in {"dask", "tifffile", "h5py", "pandas", "zarr"}:
            raise AssertionError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", limited)
    with limnd2.Nd2Reader(build(SPEC).data) as reader:
        reader.image(0)
        assert reader.results == {}
        limnd2.metadataAsJSON(reader)
