"""What nd2 and the vendor's SDK make of files of version 2.

They prove the built files: no real one is public. Where a reader is known not to read a
form, or reads it otherwise, a test says what it makes of it, so that a change of its mind
shows. Bio-Formats reads such files in test_synthetic_oracles.py.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nd2
import numpy as np
import pytest
import xarray as xr

from limnd2_xr.model.modality import mask_of_old_code, modality_flags
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    CustomLoop,
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    SpectralLoop,
    SyntheticSpec,
    TimeLoop,
    XmlStyle,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from limnd2_xr.testing.synthetic import SyntheticFile

    Make = Callable[..., SyntheticFile]

DRIVER = Path(__file__).resolve().parents[3] / "shared/oracles/drivers/limsdk.py"
INSTALLED = Path(os.environ.get("ND2_ORACLES", "~/.cache/nd2-oracles")).expanduser()
needs_sdk = pytest.mark.skipif(
    not (DRIVER.exists() and (INSTALLED / "sdk").exists()),
    reason="the vendor's SDK is not installed",
)
pytestmark = pytest.mark.realdata

DECLARED = '<?xml version="1.0" encoding="UTF-8"?>'
UTF16 = DECLARED.replace("UTF-8", "UTF-16")

TEXTS = {
    "imageId": "image 7",
    "type": "type",
    "group": "group",
    "sampleId": "sample",
    "author": "Jörg <jm>",
    "description": "Dimensions: T(2) x XY(2) x Z(3) x λ(2)\r\n5 µm, 37 °C",
    "capturing": "capturing",
    "sampling": "sampling",
    "location": "Köln",
    "date": "01.01.2010  01:00:00",
    "conclusion": "conclusion",
    "info1": "one",
    "info2": "two",
    "optics": "Plan Apo VC 60x",
    "appVersion": "NIS 3.1",
}
MICROSCOPE = {
    "objectiveName": "Plan Apo VC 60x Öl",
    "objectiveMagnification": 60.0,
    "objectiveNumericalAperture": 1.4,
    "immersionRefractiveIndex": 1.515,
    "zoomMagnification": 1.5,
    "projectiveMagnification": 2.5,
    "pinholeDiameterUm": 35.0,
}
ROTATION = (0.968912421710645, -0.247403959254523, 0.247403959254523, 0.968912421710645)
PIXEL = 0.12892347574234


def sdk_report(file: SyntheticFile, folder: Path) -> dict[str, Any]:
    """All that the SDK says of a file; its pixels are checked on the way."""
    path = file.save(folder / "a.nd2")
    command = [str(INSTALLED / "sdk/bin/python"), str(DRIVER), str(path)]
    run = subprocess.run(command, capture_output=True, check=False, timeout=60)  # noqa: S603
    output = run.stdout.decode("utf-8", "replace")
    if run.returncode or not output.startswith("{"):
        return {"error": output + run.stderr.decode("utf-8", "replace")}
    report: dict[str, Any]
    report, end = json.JSONDecoder().raw_decode(output)
    found = [line.split()[-1] for line in output[end:].splitlines() if line]
    stored = [hashlib.sha256(frame.tobytes()) for frame in file.frames]
    if not found:
        return {"error": "it finds no frame"}
    # it shows as many frames as the loops that it finds promise
    assert len(found) == math.prod(count for _, count in report["dims"])
    assert found == [digest.hexdigest()[:16] for digest in stored[: len(found)]]
    return report


def opened(path: Path) -> Any:
    """nd2's file, its optional parts not looked at by type checkers."""
    return nd2.ND2File(path)


def dims(report: dict[str, Any]) -> dict[str, int]:
    letters = {"CustomLoop": "U", "TimeLoop": "T", "NETimeLoop": "T"}
    letters |= {"XYPosLoop": "P", "ZStackLoop": "Z"}
    return {letters[name]: count for name, count in report["dims"]}


# ------------------------------------------------------------------ the literal file


@needs_sdk
@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
def test_the_sdk_reads_the_literal_file(
    version: str, version2_file: Make, tmp_path: Path
) -> None:
    report = sdk_report(version2_file(version=version), tmp_path)
    assert report["textinfo"] == TEXTS
    assert dims(report) == {"T": 2, "P": 2, "Z": 3}
    assert report["attributes"]["bitsPerComponentSignificant"] == 14
    time, points, z = (loop["parameters"] for loop in report["experiment"])
    assert time == {
        "startMs": 250.0,
        "periodMs": 60000.0,
        "durationMs": 120000.0,
        "periodDiff": {"avg": 60001.0, "max": 60001.5, "min": 60000.5},
    }
    assert points == {
        "isSettingZ": True,
        "points": [
            {"name": "B2", "stagePositionUm": [100.5, -10.0, 5000.0]},
            {
                "name": "B4 µ",
                "pfsOffset": 8765.0,
                "stagePositionUm": [300.25, -30.0, 5002.0],
            },
        ],
    }
    # it looks for wsZDevice, not for sZDevice
    assert z == {"bottomToTop": False, "homeIndex": 1, "stepUm": 0.75}
    first, second = report["metadata"]["channels"]
    assert first["channel"] == {
        "index": 0,
        "name": "DAPI",
        "colorRGB": 0xFF0033,
        "emissionLambdaNm": 461.0,
        "excitationLambdaNm": 358.0,
    }
    assert second["channel"] == {"index": 1, "name": "DIC λ/4", "colorRGB": 0x808080}
    for channel in (first, second):
        flags = channel["microscope"].pop("modalityFlags")
        assert channel["microscope"] == MICROSCOPE
        assert flags[1:] == [
            "diContrast" if channel is second else "spinningDiskConfocal"
        ]
        volume = channel["volume"]
        assert volume["axesCalibration"] == [PIXEL, PIXEL, 0.75]
        assert volume["cameraTransformationMatrix"] == list(ROTATION)
    moment = report["frame0"]["channels"][0]["time"]
    assert moment["relativeTimeMs"] == 1500.0


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
def test_nd2_reads_the_literal_file(
    version: str, version2_file: Make, tmp_path: Path
) -> None:
    file = version2_file(version=version)
    with opened(file.save(tmp_path / "a.nd2")) as found:
        assert found.version == tuple(map(int, version.split(".")))
        assert found.sizes == {"T": 2, "P": 2, "Z": 3, "C": 2, "Y": 24, "X": 32}
        assert np.array_equal(found.asarray(), file.array())
        assert found.text_info == TEXTS
        attributes = found.attributes
        assert attributes.bitsPerComponentSignificant == 14
        time, points, z = (loop.parameters for loop in found.experiment)
        assert (time.startMs, time.periodMs, time.durationMs) == (250, 60000, 120000)
        assert asdict(time.periodDiff) == {
            "avg": 60001.0,
            "max": 60001.5,
            "min": 60000.5,
        }
        # of lists it takes the positions, neither names nor offsets
        assert points.isSettingZ
        assert [tuple(point.stagePositionUm) for point in points.points] == [
            (100.5, -10.0, 5000.0),
            (300.25, -30.0, 5002.0),
        ]
        assert [point.name for point in points.points] == [None, None]
        assert (z.homeIndex, z.stepUm, z.bottomToTop) == (1, 0.75, False)
        first, second = found.metadata.channels
        assert [c.channel.name for c in (first, second)] == ["DAPI", "DIC λ/4"]
        assert first.channel.emissionLambdaNm == 461.0
        assert first.channel.excitationLambdaNm == 358.0
        assert tuple(first.channel.color)[:3] == (51, 0, 255)
        assert first.microscope.modalityFlags == [
            "fluorescence",
            "spinningDiskConfocal",
        ]
        assert second.microscope.modalityFlags == ["brightfield", "diContrast"]
        for channel in (first, second):
            for name, value in MICROSCOPE.items():
                assert getattr(channel.microscope, name) == value, name
            assert channel.volume.axesCalibration == (PIXEL, PIXEL, 0.75)
            assert channel.volume.cameraTransformationMatrix == ROTATION
        table = found.events(orient="list")
        assert table["PFS Status"].tolist() == [0, 1, 2] * 4
        assert table["Time [s]"] == [1.5 + i for i in range(12)]
        assert "Events" not in table  # it does not know the old form


# ------------------------------------------------------------------ edited: version 3


@pytest.fixture
def edited(version2_file: Make, tmp_path: Path) -> SyntheticFile:
    """Return the literal file with another author, which makes it one of version 3."""
    file = version2_file()
    path = tmp_path / "edited.nd2"
    with xr.open_dataset(file.data, engine="nd2") as ds:
        ds["image"].assign_attrs(author="me").nd2.write_nd2(path, on_loss="raise")
    return replace(file, data=path.read_bytes())


@needs_sdk
def test_the_sdk_reads_the_same_of_an_edited_file(
    edited: SyntheticFile, version2_file: Make, tmp_path: Path
) -> None:
    before, after = sdk_report(version2_file(), tmp_path), sdk_report(edited, tmp_path)
    assert before.pop("textinfo") == TEXTS
    assert after.pop("textinfo") == TEXTS | {"author": "me"}
    # of version 3 it knows the drive and no names of points; codes 6 and 7 are right now
    assert after["experiment"][2]["parameters"].pop("deviceName") == "Ti ZDrive"
    for point in before["experiment"][1]["parameters"]["points"]:
        assert point.pop("name")
    for report in (before, after):
        for channel in (
            *report["metadata"]["channels"],
            *report["frame0"]["channels"],
        ):
            channel["microscope"].pop("modalityFlags")
    assert after == before


def test_nd2_reads_more_of_an_edited_file(
    edited: SyntheticFile, tmp_path: Path
) -> None:
    with opened(edited.save(tmp_path / "a.nd2")) as found:
        assert found.version == (3, 0)
        assert found.sizes == {"T": 2, "P": 2, "Z": 3, "C": 2, "Y": 24, "X": 32}
        assert np.array_equal(found.asarray(), edited.array())
        assert found.text_info == TEXTS | {"author": "me"}
        _, points, z = (loop.parameters for loop in found.experiment)
        assert [point.name for point in points.points] == ["B2", "B4 µ"]
        assert [point.pfsOffset for point in points.points] == [None, 8765.0]
        assert z.deviceName == "Ti ZDrive"
        for channel, flag in zip(
            found.metadata.channels, ("fluorescence", "brightfield"), strict=True
        ):
            assert flag in channel.microscope.modalityFlags
            for name, value in MICROSCOPE.items():
                assert getattr(channel.microscope, name) == value, name


# ------------------------------------------------------------------ encodings

ENCODINGS: dict[str, tuple[Callable[[str], bytes], str, str]] = {
    # how; what nd2 makes of it, what the SDK
    "no declaration": (lambda t: t.encode(), "reads", "reads"),
    "references": (lambda t: t.encode("ascii", "xmlcharrefreplace"), "reads", "reads"),
    "indented": (
        lambda t: (DECLARED + t).replace("><", ">\r\n\t<").encode(),
        "reads",
        "reads",
    ),
    "UTF-16 declared only": (lambda t: (UTF16 + t).encode(), "reads", "reads"),
    "UTF-8 with mark": (lambda t: (DECLARED + t).encode("utf-8-sig"), "no", "reads"),
    "UTF-16 without mark": (lambda t: (UTF16 + t).encode("utf-16-le"), "reads", "no"),
    "UTF-16 with mark": (lambda t: (UTF16 + t).encode("utf-16"), "no", "no"),
    "cp1252": (lambda t: (DECLARED + t).encode("cp1252"), "drops", "loses"),
    "terminated": (lambda t: (DECLARED + t).encode() + b"\0", "no", "no"),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_encodings_that_nd2_reads(
    name: str, version2_file: Make, tmp_path: Path
) -> None:
    encode, made_of_it, _ = ENCODINGS[name]
    path = version2_file(encode).save(tmp_path / "a.nd2")
    with opened(path) as file:
        if made_of_it == "no":
            with pytest.raises((KeyError, SyntaxError)):
                assert file.sizes
        else:
            assert dict(file.sizes) == {
                "T": 2,
                "P": 2,
                "Z": 3,
                "C": 2,
                "Y": 24,
                "X": 32,
            }
            expected = TEXTS
            if made_of_it == "drops":
                expected = {
                    key: re.sub("[öµ°]", "", text) for key, text in TEXTS.items()
                }
            assert file.text_info == expected


@needs_sdk
@pytest.mark.parametrize("name", ENCODINGS)
def test_encodings_that_the_sdk_reads(
    name: str, version2_file: Make, tmp_path: Path
) -> None:
    encode, _, made_of_it = ENCODINGS[name]
    report = sdk_report(version2_file(encode), tmp_path)
    if made_of_it == "no":
        assert "error" in report
    elif made_of_it == "loses":  # each chunk that holds such a character
        assert dims(report) == {}
        assert report["textinfo"] is None
    else:
        assert report["textinfo"] == TEXTS
        assert report["metadata"]["channels"][1]["channel"]["name"] == "DIC λ/4"


# ------------------------------------------------------------------ modality codes

CODES: dict[int, list[str]] = {
    # as nd2 says and as we do; see below for the rest
    0: ["fluorescence", "camera"],
    1: ["brightfield", "camera"],
    2: ["fluorescence", "laserScanConfocal"],
    3: ["fluorescence", "spinningDiskConfocal"],
    4: ["fluorescence", "sweptFieldConfocalSlit"],
    5: ["fluorescence", "laserScanConfocal", "multiphoton"],
    6: ["brightfield", "phaseContrast"],
    7: ["brightfield", "diContrast"],
    8: ["fluorescence", "laserScanConfocal", "spectral"],
    9: ["fluorescence", "laserScanConfocal", "vaasNF"],
    10: ["fluorescence", "laserScanConfocal", "vaasIF"],
    11: ["fluorescence", "laserScanConfocal", "vaasNF"],
    12: ["fluorescence"],
    13: ["fluorescence", "camera"],
}
SDK_CODES = {
    **CODES,
    6: ["fluorescence", "phaseContrast"],
    7: ["fluorescence", "diContrast"],
    8: ["fluorescence", "laserScanConfocal", "spectral", "spectral"],
}
OUR_CODES = {**CODES, 12: ["fluorescence", "dsdConfocal"]}


@pytest.fixture(scope="module")
def coded() -> SyntheticFile:
    """One channel for each code."""
    channels = tuple(ChannelSpec(f"code {code}", modality_code=code) for code in CODES)
    return build(SyntheticSpec(channels=channels, metadata="xml", width=16, height=8))


def test_modality_codes(coded: SyntheticFile, tmp_path: Path) -> None:
    for code, flags in OUR_CODES.items():
        assert list(modality_flags(mask_of_old_code(code))) == flags
    with opened(coded.save(tmp_path / "a.nd2")) as file:
        found = [c.microscope.modalityFlags for c in file.metadata.channels]
    assert found == list(CODES.values())


@needs_sdk
def test_modality_codes_of_the_sdk(coded: SyntheticFile, tmp_path: Path) -> None:
    report = sdk_report(coded, tmp_path)
    channels = report["metadata"]["channels"]
    found = [channel["microscope"]["modalityFlags"] for channel in channels]
    assert found == list(SDK_CODES.values())


@needs_sdk
def test_of_masks_and_whole_wavelengths_the_sdk_makes_nothing(tmp_path: Path) -> None:
    channel = ChannelSpec("DAPI", modality_mask=0x401, emission_nm=461.0)
    style = XmlStyle(modality_masks=True, integer_wavelengths=True)
    file = build(
        SyntheticSpec(
            channels=(channel,), metadata="xml", xml=style, width=16, height=8
        )
    )
    with xr.open_dataset(file.data, engine="nd2") as ds:
        assert ds["modality"].item() == "fluorescence, spinning disk"
        assert ds["emission_wavelength"].item() == 461.0
    (found,) = sdk_report(file, tmp_path)["metadata"]["channels"]
    assert found["microscope"]["modalityFlags"] == ["fluorescence", "camera"]
    assert "emissionLambdaNm" not in found["channel"]
    with opened(tmp_path / "a.nd2") as theirs:
        (found,) = theirs.metadata.channels
        assert found.microscope.modalityFlags == [
            "fluorescence",
            "spinningDiskConfocal",
        ]
        assert found.channel.emissionLambdaNm is None


# ------------------------------------------------------------------ loops and styles

POINTS = (Point(10.0, 20.0, 5.0, name="A"), Point(50.0, 60.0, 7.0, name="B"))
TWO = (ChannelSpec("DAPI", emission_nm=450.0), ChannelSpec("GFP", emission_nm=520.0))
SPECS: dict[str, tuple[dict[str, Any], set[str]]] = {
    # what; who reads its loops
    "custom": ({"loops": (TimeLoop(2), CustomLoop(3))}, {"nd2", "sdk"}),
    "z outside": (
        {"loops": (ZLoop(2, kind=5), PositionLoop(POINTS), TimeLoop(2))},
        {"nd2", "sdk"},
    ),
    "all nested": (
        {
            "loops": (
                NETimeLoop((Period(1), Period(2, valid=False), Period(1))),
                PositionLoop((*POINTS, Point(0.0, 0.0, valid=False))),
                SpectralLoop(),
                ZLoop(3, store_step=False, kind=3),
            ),
            "channels": TWO,
        },
        {"nd2", "sdk"},
    ),
    "branches": (
        {"loops": (TimeLoop(2), ZLoop(3)), "repeat_branches": True},
        {"nd2", "sdk"},
    ),
    "colour": (
        {
            "loops": (ZLoop(2),),
            "channels": (ChannelSpec("HE", components=3),),
            "dtype": "uint8",
            "width": 13,
        },
        {"nd2", "sdk"},
    ),
    "settings of planes": (
        {"channels": TWO, "xml": XmlStyle(sample_settings=False)},
        {"nd2", "sdk"},
    ),
    "parameters not nested": (
        {
            "loops": (TimeLoop(2), PositionLoop(POINTS)),
            "xml": XmlStyle(direct_parameters=True),
        },
        {"nd2", "sdk"},
    ),
    "points as structs": (
        {"loops": (PositionLoop(POINTS),), "xml": XmlStyle(point_structs=True)},
        {"nd2"},
    ),
    "sub-loops": (
        {
            "loops": (
                NETimeLoop((Period(2), Period(1)), sub_loops=True),
                PositionLoop(POINTS),
            ),
            "xml": XmlStyle(direct_parameters=True),
        },
        {"nd2"},
    ),
    "sub-loops of nested parameters": (
        {
            "loops": (
                NETimeLoop((Period(2), Period(1)), sub_loops=True),
                PositionLoop(POINTS),
            ),
        },
        set(),
    ),
}


@pytest.mark.parametrize("name", SPECS)
def test_loops_and_styles_of_nd2(name: str, tmp_path: Path) -> None:
    spec, readers = SPECS[name]
    file = build(SyntheticSpec(**{"metadata": "xml", "width": 16, "height": 8, **spec}))
    path = file.save(tmp_path / "a.nd2")
    with xr.open_dataset(path, engine="nd2") as ds:
        assert np.array_equal(ds["image"].values, file.array())
        ours = {d: ds.sizes[d] for d in ds.attrs.get("loop_order", "").split()}
    with opened(path) as found:
        theirs = {d: n for d, n in found.sizes.items() if d in "UTPZ"}
        assert (list(theirs.items()) == list(ours.items())) == ("nd2" in readers)
        names = [c.channel.name for c in found.metadata.channels]
        assert names == [c.name for c in file.spec.channels]


@needs_sdk
@pytest.mark.parametrize("name", SPECS)
def test_loops_and_styles_of_the_sdk(name: str, tmp_path: Path) -> None:
    spec, readers = SPECS[name]
    file = build(SyntheticSpec(**{"metadata": "xml", "width": 16, "height": 8, **spec}))
    with xr.open_dataset(file.data, engine="nd2") as ds:
        ours = {d: ds.sizes[d] for d in ds.attrs.get("loop_order", "").split()}
    report = sdk_report(file, tmp_path)
    assert (list(dims(report).items()) == list(ours.items())) == ("sdk" in readers)


@needs_sdk
def test_of_relative_points_the_sdk_loses_y(tmp_path: Path) -> None:
    loop = PositionLoop(POINTS, relative=True, reference=(5.0, 6.0), use_z=True)
    file = build(SyntheticSpec(loops=(loop,), metadata="xml", width=16, height=8))
    with xr.open_dataset(file.data, engine="nd2") as ds:
        assert ds["position_y"].values.tolist() == [20.0, 60.0]
    (points,) = (x["parameters"] for x in sdk_report(file, tmp_path)["experiment"])
    found = [point["stagePositionUm"] for point in points["points"]]
    assert found == [[10.0, 0.0, 5.0], [50.0, 0.0, 7.0]]
