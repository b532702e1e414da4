"""Files of version 2: all that appendix A of FORMAT names, opened and written again.

The metadata are literal documents (tests/data/version2); which foreign reader reads them
to the same values is in tests/conformance/test_version2.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from limnd2_xr.testing.synthetic import SyntheticFile

    Make = Callable[..., SyntheticFile]

COORDINATES: dict[str, Any] = {
    "P": ["B2", "B4 µ"],
    "position_x": [100.5, 300.25],
    "position_y": [-10.0, -30.0],
    "position_z": [5000.0, 5002.0],
    "Z": [0.75, 0.0, -0.75],
    "T": [0.0, 60.001],
    "C": ["DAPI", "DIC λ/4"],
    "emission_wavelength": [461.0, np.nan],
    "excitation_wavelength": [358.0, np.nan],
    "exposure_time": [0.04, 0.0085],
    "pinhole_diameter": [35.0, 35.0],
    "color": ["#3300ff", "#808080"],
    "modality": ["fluorescence, spinning disk", "brightfield, DIC"],
    "binning": ["2x2", "2x2"],
    "camera": ["CoolSNAP HQ2", "CoolSNAP HQ2"],
    # stored for 16 bits; the image has 14
    "display_min": [100 * 16383 / 65535, 0.0],
    "display_max": [4000 * 16383 / 65535, 16383.0],
}
ATTRIBUTES: dict[str, Any] = {
    "objective": "Plan Apo VC 60x Öl",
    "magnification": 60.0,
    "numerical_aperture": 1.4,
    "refractive_index": 1.515,
    "zoom": 1.5,
    "camera": "CoolSNAP HQ2",
    "pixel_size_um": 0.12892347574234,
    "z_step_um": 0.75,
    "description": "Dimensions: T(2) x XY(2) x Z(3) x λ(2)\r\n5 µm, 37 °C",
    "author": "Jörg <jm>",
    "software": "NIS-Elements AR",
    "software_version": "3.10 (Build 578)",
    "significant_bits": 14,
    "compression": "none",
    "loop_order": "T P Z",
    # as the file states it, not dTimeAbsolute less dTimeMSec
    "acquisition_start": "2009-12-31T23:59:58.500Z",
}


def check(ds: xr.Dataset, file: SyntheticFile) -> None:
    """All values of the literal documents, and the pixels."""
    for name, expected in COORDINATES.items():
        found = ds[name].values.tolist()
        assert found == pytest.approx(expected, abs=1e-9, nan_ok=True), name
    for name, expected in ATTRIBUTES.items():
        assert ds.attrs[name] == expected, name
    assert np.array_equal(ds["image"].values, file.array())
    assert np.allclose(ds["time"].values.ravel(), 1.5 + np.arange(12))
    moments = ds["acquired"].values.ravel()
    assert moments[0] == np.datetime64("2010-01-01T00:00")
    assert (moments[1] - moments[0]) == np.timedelta64(1, "s")
    # recorded; else the point, else (with Z) the point and the slice
    assert np.array_equal(ds["stage_x"].values.ravel(), 100.5 + np.arange(12))
    assert ds["stage_y"].isel(T=0, Z=0).values.tolist() == [-10.0, -30.0]
    expected_z = np.array([[5000.75, 5000.0, 4999.25], [5002.75, 5002.0, 5001.25]])
    assert np.allclose(ds["stage_z"].isel(T=0).values, expected_z)
    assert ds["X"].values[1] == 0.12892347574234


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
def test_all_of_appendix_a(version: str, version2_file: Make) -> None:
    file = version2_file(version=version)
    with xr.open_dataset(file.data, engine="nd2") as ds:
        check(ds, file)
        assert ds.attrs["format_version"] == version


def declared(encoding: str, text: str) -> str:
    return f'<?xml version="1.0" encoding="{encoding}"?>{text}'


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda text: text.encode(), id="no declaration"),
        pytest.param(lambda t: declared("UTF-8", t).encode("utf-8-sig"), id="mark"),
        pytest.param(lambda t: declared("UTF-16", t).encode("utf-16"), id="UTF-16"),
        pytest.param(
            lambda t: declared("UTF-16", t).encode("utf-16-le"), id="UTF-16, no mark"
        ),
        pytest.param(lambda t: t.encode("utf-16-be"), id="UTF-16, other end"),
        pytest.param(
            lambda t: declared("UTF-16", t).encode(), id="UTF-16 declared, UTF-8 found"
        ),
        pytest.param(lambda text: text.encode("cp1252"), id="cp1252"),
        pytest.param(
            lambda t: declared("UTF-8", t).encode("cp1252"), id="cp1252 as UTF-8"
        ),
        pytest.param(
            lambda t: declared("windows-1252", t).encode("cp1252"), id="cp1252 declared"
        ),
        pytest.param(lambda t: t.encode("ascii", "xmlcharrefreplace"), id="references"),
        pytest.param(
            lambda t: declared("UTF-8", t).replace("><", ">\r\n\t<").encode(),
            id="indented",
        ),
        pytest.param(lambda t: declared("UTF-8", t).encode() + b"\0", id="terminated"),
    ],
)
def test_every_encoding(encode: Callable[[str], bytes], version2_file: Make) -> None:
    file = version2_file(encode)
    with xr.open_dataset(file.data, engine="nd2") as ds:
        check(ds, file)


def test_groups(version2_file: Make) -> None:
    with xr.open_datatree(version2_file().data, engine="nd2") as tree:
        events = tree["events"].to_dataset()
        assert events["time"].values.tolist() == [2.0, 3.0005]
        assert events["data"].values.tolist() == ["Wait(2);", ""]
        assert events["description"].values.tolist() == ["", "Tröpfchen"]
        columns = tree["recorded"].to_dataset()
        assert columns["PFS_STATUS"].values.ravel().tolist() == [0, 1, 2] * 4


PICTURE, LOOPS = "ImageMetadataSeq|0!", "ImageMetadata!"


@pytest.mark.parametrize(
    ("chunk", "pattern", "replacement", "name", "expected"),
    [
        pytest.param(
            PICTURE,
            '<sDescription runtype="CLxStringW" value="DAPI"/>',
            "",
            "C",
            ["DAPI 60x", "DIC λ/4"],
            id="name of the configuration",
        ),
        pytest.param(
            PICTURE,
            "<(dCalibration|bCalibrated|dAspect) [^>]*/>",
            "",
            "pixel_size_um",
            0.12892347574234,
            id="pixel size of the calibration",
        ),
        pytest.param(
            PICTURE,
            "<wsObjectiveName [^>]*/>",
            "",
            "objective",
            "Plan Apo VC 60x Öl",
            id="objective of the calibration",
        ),
        pytest.param(
            PICTURE, "<dObjectiveMag [^>]*/>", "", "magnification", 60.0, id="in a name"
        ),
        pytest.param(
            PICTURE,
            r'<eModality runtype="lx_uint32" value="\d"/>',
            '<uiModalityMask runtype="lx_uint64" value="1025"/>',
            "modality",
            ["fluorescence, spinning disk"] * 2,
            id="mask of modalities",
        ),
        pytest.param(
            PICTURE,
            '<dWavelength runtype="double"',
            '<uiWavelength runtype="lx_uint32"',
            "emission_wavelength",
            [461.0, np.nan],
            id="whole wavelengths",
        ),
        pytest.param(
            PICTURE,
            "(</?)sPlane(?=[> ])",
            r"\1sPlaneNew",
            "color",
            ["#3300ff", "#808080"],
            id="new planes",
        ),
        pytest.param(
            LOOPS,
            "<dAvgPeriodDiff [^>]*/>",
            "",
            "T",
            [0.0, 6.0],  # as the frames were recorded
            id="recorded period",
        ),
        pytest.param(
            LOOPS, "<dZStep [^>]*/>", "", "Z", [0.75, 0.0, -0.75], id="step of the ends"
        ),
        pytest.param(
            LOOPS,
            "(<dPosY[^>]*>)(<item_00000[^>]*>)(.*?)(</dPosY>)",
            r"\1\3\2\4",
            "position_y",
            [-10.0, -30.0],
            id="points out of order",
        ),
        pytest.param(
            LOOPS,
            '<item_0000[01] runtype="CLxStringW"[^>]*/>',
            "",
            "P",
            ["0", "B4 µ"],
            id="names of some points",
        ),
        pytest.param(
            LOOPS,
            '<pItemValid runtype="CLxListVariant"><_00.*?</pItemValid>',
            '<pItemValid runtype="CLxByteArray" value="AQAB"/>',
            "position_x",
            [100.5, 300.25],
            id="flags as bytes",
        ),
        pytest.param(
            LOOPS,
            "<(/?)_0(?=[0-2])",
            r"<\1item_0000",
            "position_x",
            [100.5, 300.25],
            id="flags of other names",
        ),
        pytest.param(
            LOOPS,
            r'<uLoopPars [^>]*><no_name runtype="RLxExperiment\.(\w+)">(.*?)</no_name></uLoopPars>',
            r'<uLoopPars runtype="\1">\2</uLoopPars>',
            "position_x",
            [100.5, 300.25],
            id="parameters not nested",
        ),
        pytest.param(
            LOOPS,
            '(<ppNextLevelEx [^>]*>)<no_name runtype="RLxExperiment">(.*)</no_name>'
            "(</ppNextLevelEx>)",
            r"\1<no_name runtype="
            r'"CLxListVariant"><RLxExperiment runtype="RLxExperiment">\2'
            r"</RLxExperiment></no_name>\3",
            "position_x",
            [100.5, 300.25],
            id="wrapped loops",
        ),
    ],
)
def test_where_else_a_value_is(
    chunk: str,
    pattern: str,
    replacement: str,
    name: str,
    expected: Any,
    version2_file: Make,
    version2_texts: dict[str, str],
) -> None:
    text, n = re.subn(pattern, replacement, version2_texts[chunk])
    assert n
    with xr.open_dataset(version2_file(**{chunk: text}).data, engine="nd2") as ds:
        found = ds.attrs[name] if name in ds.attrs else ds[name].values.tolist()
    assert found == pytest.approx(expected, nan_ok=True)


def test_a_copy_has_the_same_chunks(version2_file: Make, tmp_path: Path) -> None:
    file = version2_file()
    copy = tmp_path / "copy.nd2"
    with xr.open_dataset(file.data, engine="nd2") as ds:
        ds.nd2.to_nd2(copy, on_loss="raise")
        with xr.open_dataset(copy, engine="nd2") as found:
            xr.testing.assert_identical(found, ds)
            listed = {chunk.name: chunk.nbytes for chunk in ds.nd2.chunks()}
            assert {chunk.name: chunk.nbytes for chunk in found.nd2.chunks()} == listed
            for name, payload in file.spec.extra_chunks.items():
                assert found.nd2.chunk(name, raw=True) == payload


def test_what_is_edited_is_written_as_version_3(
    version2_file: Make, tmp_path: Path
) -> None:
    file = version2_file()
    edited = tmp_path / "edited.nd2"
    with xr.open_dataset(file.data, engine="nd2") as ds:
        image = ds["image"].assign_attrs(author="someone else")
        image.nd2.write_nd2(edited, on_loss="raise")
    with xr.open_dataset(edited, engine="nd2") as found:
        assert found.attrs["author"] == "someone else"
        assert found.attrs["format_version"] == "3.0"
        check(found.assign_attrs(author=ATTRIBUTES["author"]), file)


def test_of_a_part_the_metadata_follow(version2_file: Make, tmp_path: Path) -> None:
    part = tmp_path / "part.nd2"
    with xr.open_dataset(version2_file().data, engine="nd2") as ds:
        image = ds["image"].isel(P=[1], C=[1], T=[0])
        # events of the whole may not be true of a part
        image.nd2.write_nd2(part, on_loss="ignore")
        with xr.open_dataset(part, engine="nd2") as found:
            for name in (*COORDINATES, "stage_x", "stage_z", "time"):
                xr.testing.assert_equal(
                    found[name].variable, image[name].variable.load()
                )
            late = found["acquired"].values - image["acquired"].values
            # a Julian day is good for 40 us
            assert (abs(late) < np.timedelta64(50, "us")).all()
            assert found.attrs["objective"] == ds.attrs["objective"]
