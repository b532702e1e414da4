"""Verifying: sound files are sound, and each kind of damage is told with its place."""

from __future__ import annotations

import struct
import typing
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given

import limnd2_xr
from limnd2_xr.container.jp2_boxes import walk_boxes
from limnd2_xr.container.source import MemorySource
from limnd2_xr.frames.findings import MAX_FINDINGS, Findings
from limnd2_xr.frames.masks import encode_rle
from limnd2_xr.frames.verify import Report, verify
from limnd2_xr.testing.legacy import LegacySpec, build_legacy
from limnd2_xr.testing.specs import MapStyle
from limnd2_xr.testing.strategies import specs
from limnd2_xr.testing.synthetic import (
    SyntheticFile,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPEC = SyntheticSpec(loops=(TimeLoop(4), ZLoop(3)), width=40, height=30)
PACKED = replace(SPEC, compression="zlib")
SOUND_MAPS = {"nis", "nis4", "ascending", "size_equals_offset", "duplicates"}
HEAD = struct.Struct("<4sIQ")


def errors(report: Report) -> list[str]:
    return [str(f) for f in report.findings if f.severity == "error"]


def edited(file: SyntheticFile, name: str, at: int, data: bytes) -> bytes:
    """Return the file with other bytes in the payload of a chunk."""
    offset, _ = file.chunks[name]
    _, name_nbytes, _ = HEAD.unpack_from(file.data, offset)
    first = offset + HEAD.size + name_nbytes + at
    return file.data[:first] + data + file.data[first + len(data) :]


@pytest.mark.realdata
def test_real_files_are_sound(each_real: Path) -> None:
    report = limnd2_xr.verify(each_real)
    assert report.status == "sound"
    assert report.findings == ()


@pytest.mark.realdata
def test_stale_chunks_are_counted_and_harmless(
    real_file: Callable[[str], Path],
) -> None:
    # Saved twice: older copies of chunks that no map lists (FORMAT 1.6).
    report = verify(real_file("netime_t2_u8"))
    assert report.stale_chunks == 10
    assert report.is_sound


@pytest.mark.realdata
def test_a_missing_frame_is_named(made_file: Callable[[str], Path]) -> None:
    report = verify(made_file("h_missing_frame"))
    assert report.status == "damaged"
    assert report.missing_frames == (2,)
    assert errors(report) == ["error: 1 of 4 frames are not in the file: 2"]


@pytest.mark.parametrize("style", typing.get_args(MapStyle))
def test_maps(style: MapStyle) -> None:
    report = verify(build(replace(SPEC, map_style=style)).data)
    assert report.is_sound == (style in SOUND_MAPS)
    assert len(errors(report)) == (style not in SOUND_MAPS)
    assert report.frames == 12
    assert report.damaged_frames == report.missing_frames == ()


@given(specs())
def test_what_opens_without_damage_is_sound(spec: SyntheticSpec) -> None:
    data = build(spec).data
    with xr.open_dataset(data, engine="nd2", on_damage="ignore") as dataset:
        told = dataset.nd2.damage
    assert verify(data).is_sound == (not told)


def test_bytes_that_no_chunk_covers_are_fine() -> None:
    file = build(replace(SPEC, stale_chunks=True))
    report = verify(file.data)
    assert report.is_sound
    assert report.stale_chunks > 0


def test_a_damaged_zlib_stream_is_found() -> None:
    file = build(PACKED)
    report = verify(edited(file, "ImageDataSeq|5!", 40, b"\xff\x00\xff\x00"))
    assert report.damaged_frames == (5,)
    [error] = [f for f in report.findings if f.severity == "error"]
    assert error.chunk == "ImageDataSeq|5!"
    assert error.offset == file.chunks["ImageDataSeq|5!"][0]
    assert "zlib" in error.text


def test_a_stream_of_another_size_is_found() -> None:
    short = zlib.compress(bytes(40 * 30 * 2 - 1))
    frame = {"ImageDataSeq|12!": bytes(8) + short}
    spec = replace(PACKED, loops=(TimeLoop(13),), frame_count=12, sequence_count=13)
    report = verify(build(replace(spec, extra_chunks=frame)).data)
    assert report.damaged_frames == (12,)
    assert "ends after 2399 of 2400 bytes" in errors(report)[0]


def test_a_frame_that_is_too_small_is_found() -> None:
    frame = {"ImageDataSeq|12!": bytes(8 + 100)}
    spec = replace(SPEC, loops=(TimeLoop(13),), frame_count=12, sequence_count=13)
    report = verify(build(replace(spec, extra_chunks=frame)).data)
    assert report.damaged_frames == (12,)
    assert "100 bytes of pixels are stored, not 2400" in errors(report)[0]


def test_a_cut_frame_is_named() -> None:
    file = build(SPEC)
    offset, _ = file.chunks["ImageDataSeq|7!"]
    report = verify(file.data[: offset + 5000])
    assert report.frames == 9
    assert report.missing_frames == (7, 8)
    assert any("ImageDataSeq|7!" in e and "cuts" in e for e in errors(report))


@pytest.mark.parametrize(
    "name",
    [
        "ImageMetadataLV!",
        "ImageMetadataSeqLV|0!",
        "ImageTextInfoLV!",
        "ImageAttributesLV!",
    ],
)
def test_a_damaged_metadata_chunk_is_named(name: str) -> None:
    file = build(SPEC)
    report = verify(edited(file, name, 60, b"\xff" * 24))
    assert report.status == "damaged"
    assert any(f.chunk == name or name in f.text for f in report.findings) or any(
        "image attributes" in f.text for f in report.findings
    )


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("CustomDataVar|LUTDataV1_0!", b"<variant><no"),
        ("CustomDataVar|Whatever!", b"neither"),
        ("CustomData|RoiMetadata_v1!", b"\x0b\x0f" + bytes(30)),
        ("ImageEventsLV!", b"\x0b\x01\x00\x00\xff\xff"),
        ("CustomData|WellPlateFrameInfoZJSON!", b"no zlib"),
        ("CustomData|AcqTimesCache!", bytes(7)),
    ],
)
def test_other_chunks_have_to_decode(name: str, payload: bytes) -> None:
    report = verify(build(replace(SPEC, extra_chunks={name: payload})).data)
    assert next(f.chunk for f in report.findings if f.severity == "error") == name


def test_chunks_of_unknown_content_are_not_judged() -> None:
    extra = {"CustomData|Mystery!": b"\x0b\xff<?", "Mystery|3!": bytes(5)}
    assert verify(build(replace(SPEC, extra_chunks=extra)).data).is_sound


def mask_chunks(mask: bytes) -> dict[str, bytes]:
    item = (
        '<BinaryItem runtype="CLxListVariant">'
        '<uiBinLayerID runtype="lx_uint32" value="1"/>'
        '<strName runtype="CLxStringW" value="cells"/>'
        '<strFileTag runtype="CLxStringW" value="RleA"/></BinaryItem>'
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><variant version="1.0">'
        f'<BinaryMetadata_v1 runtype="CLxListVariant">{item}</BinaryMetadata_v1></variant>'
    )
    return {
        "CustomDataVar|BinaryMetadata_v1!": text.encode(),
        "CustomDataSeq|RleA|2!": mask,
    }


def test_masks_have_to_decode() -> None:
    mask = encode_rle(np.eye(30, 40, dtype=np.uint32))
    sound = verify(build(replace(SPEC, extra_chunks=mask_chunks(mask))).data)
    assert sound.is_sound
    damaged = mask[:20] + b"\xff\xff" + mask[22:]
    report = verify(build(replace(SPEC, extra_chunks=mask_chunks(damaged))).data)
    assert [f.chunk for f in report.findings] == ["CustomDataSeq|RleA|2!"]
    other = encode_rle(np.eye(30, 41, dtype=np.uint32))
    report = verify(build(replace(SPEC, extra_chunks=mask_chunks(other))).data)
    assert "30 x 41" in report.findings[0].text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"sequence_count": 0}, "the attributes say 0 frames"),
        ({"frame_count": 8}, "1 of 9 frames are not in the file: 8"),
        ({"frame_count": 14}, "2 frames are more than the loops have places for (12)"),
        ({"sequence_count": 5}, "the attributes say 5 frames"),
        (
            {"missing": frozenset({1, 2, 3, 7})},
            "4 of 12 frames are not in the file: 1-3, 7",
        ),
    ],
)
def test_counts_have_to_agree(change: dict[str, Any], text: str) -> None:
    report = verify(build(replace(SPEC, **change)).data)
    assert report.status == "damaged"
    assert any(text in error for error in errors(report))


def test_a_stopped_run_is_sound() -> None:
    report = verify(build(replace(SPEC, frame_count=9)).data)
    assert report.is_sound
    assert [f.severity for f in report.findings] == ["warning"]
    assert "set to 12 frames" in report.findings[0].text


def test_columns_have_a_value_a_frame() -> None:
    extra = {"CustomData|AcqTimesCache!": bytes(8 * 11)}
    report = verify(build(replace(SPEC, extra_chunks=extra)).data)
    assert errors(report)[0].endswith("has 11 values for 12 frames")
    extra = {"CustomData|AcqTimesCache!": bytes(8 * 13)}
    report = verify(build(replace(SPEC, extra_chunks=extra)).data)
    assert report.is_sound
    assert report.findings[0].text == "has 13 values for 12 frames"


def test_overlapping_chunks_are_found() -> None:
    file = build(SPEC)
    offset, nbytes = file.chunks["ImageMetadataLV!"]
    # The chunk before claims to reach into the one behind, in its header and the map.
    place = struct.pack("<QQ", offset, nbytes)
    longer = struct.pack("<QQ", offset, nbytes + 4096)
    data = file.data.replace(place, longer)
    data = data[: offset + 8] + struct.pack("<Q", nbytes + 4096) + data[offset + 16 :]
    assert any("shares bytes" in error for error in errors(verify(data)))


def test_format_1_0() -> None:
    pytest.importorskip("imagecodecs")
    data = build_legacy(LegacySpec(loops=(TimeLoop(3),))).data
    report = verify(data)
    assert (report.status, report.format_version, report.frames) == ("sound", "1.0", 3)
    boxes = [box.type for box, _ in walk_boxes(MemorySource(data))]
    assert boxes[-1] == "uuid"  # the map, which does not list itself
    assert report.chunks == len(boxes) - 1 - boxes.count("jp2c")
    report = verify(data[:-100])
    assert report.status == "damaged"
    assert "box map" in report.findings[0].text
    stream = data.rindex(b"\xff\x4f\xff\x51")
    report = verify(data[:stream] + bytes(60) + data[stream + 60 :])
    assert report.damaged_frames == (2,)


def test_what_is_written_here_has_no_findings(tmp_path: Path) -> None:
    path = tmp_path / "written.nd2"
    coords = {"stage_x": ("T", [1.0, 2.0, 3.0], {"units": "um"})}
    image = xr.DataArray(np.zeros((3, 8, 8), np.uint16), coords, ("T", "Y", "X"))
    image.nd2.write_nd2(path)
    assert b"Provisional|" in path.read_bytes()
    assert verify(path).findings == ()


@pytest.mark.parametrize("data", [b"", b"II*\x00 a picture", b"\xda\xce\xbe\x0a"])
def test_other_files_are_told_apart(data: bytes) -> None:
    report = verify(data)
    assert report.status == "not nd2"
    assert len(report.findings) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "no.nd2")


def test_progress_comes_to_its_end() -> None:
    seen: list[tuple[int, int]] = []
    verify(build(SPEC).data, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_plain_report_says_everything() -> None:
    plain = verify(build(replace(SPEC, missing=frozenset({4}))).data).to_plain()
    assert plain["status"] == "damaged"
    assert plain["missing_frames"] == [4]
    assert plain["findings"] == [
        {
            "severity": "error",
            "chunk": None,
            "offset": None,
            "text": "1 of 12 frames are not in the file: 4",
        }
    ]


def test_no_more_findings_than_anybody_reads() -> None:
    found = Findings()
    for _ in range(MAX_FINDINGS + 5):
        found.error("again")
    result = found.result()
    assert len(result) == MAX_FINDINGS + 1
    assert result[-1].text == "5 more findings are not listed"
