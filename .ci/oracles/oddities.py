"""Table of how files with the oddities of FORMAT 2.3 and 14 open here and elsewhere.

usage: python .ci/oracles/oddities.py [--oracles DIR]

Makes a file with each oddity, opens it with this package, `nd2` and, with the folder of the
foreign readers, Bio-Formats, and writes docs/explanation/oddities.md. Without that folder the
column of Bio-Formats stays as it is. A test runs ``columns`` to see that the others are up to date.
"""

# ruff: noqa: S603, T201

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from limnd2_xr.container.scan import walk_chunks
from limnd2_xr.container.source import MemorySource
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.chunk_writer import ChunkWriter
from limnd2_xr.testing.synthetic import (
    ChannelSpec,
    CustomLoop,
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    SpectralLoop,
    SyntheticFile,
    SyntheticSpec,
    TimeLoop,
    ZLoop,
    build,
)

REPO = Path(__file__).resolve().parents[2]
PAGE = REPO / "docs" / "explanation" / "oddities.md"
PLAIN = SyntheticSpec(loops=(TimeLoop(4), ZLoop(3)), width=64, height=48)
POINTS = (Point(0, 0), Point(10, 0, valid=False), Point(20, 0))
COLUMNS = ("limnd2-xr", "nd2 0.12", "Bio-Formats 7.3.1")
NOT_RUN = "not run"

Make = Callable[[], tuple[bytes, SyntheticFile]]


@dataclass(frozen=True)
class Oddity:
    """One row of the table."""

    place: str
    """Where FORMAT tells of it."""
    what: str
    make: SyntheticSpec | Make | str
    """A file that has it; or why there is none."""
    shown: str = ""
    """Of the report of a reader, what is shown beside frames and dims."""


def _cut() -> tuple[bytes, SyntheticFile]:
    file = build(PLAIN)
    at, nbytes = file.chunks["ImageDataSeq|11!"]
    return file.data[: at + 4096 + nbytes // 2], file


def _cut_before_metadata() -> tuple[bytes, SyntheticFile]:
    return _without("ImageAttributesLV!", finish="missing")


def _without(name: str, *, finish: Any = "nis") -> tuple[bytes, SyntheticFile]:
    """Write a file without a chunk, or with one that its map does not list."""
    file = build(PLAIN)
    out = io.BytesIO()
    writer = ChunkWriter(out)
    for header in walk_chunks(MemorySource(file.data)):
        is_frame = header.name.startswith("ImageDataSeq|")
        if header.name.startswith("ND2 ") or (header.name == name and not is_frame):
            continue
        writer.put(
            header.name,
            file.data[header.data_offset : header.end],
            first_nbytes=8 if is_frame else None,
            listed=header.name != name,
        )
    writer.finish(finish)
    return out.getvalue(), file


def _unlisted() -> tuple[bytes, SyntheticFile]:
    return _without("ImageDataSeq|5!")


def _moved() -> tuple[bytes, SyntheticFile]:
    file = build(PLAIN)
    at = file.chunks["ImageDataSeq|5!"][0]
    return file.data[:at] + bytes(8192) + file.data[at:], file


def _gap(number: int) -> np.ndarray[Any, Any]:
    image = np.full((48, 64, 2), 100 + number, "u2")
    image[..., 1] *= number % 3 == 1
    return image


TWO = (ChannelSpec("A"), ChannelSpec("B"))
RGB = (ChannelSpec("RGB", components=3),)
OWN = "no file: "

ODDITIES = (
    Oddity(
        "2.3, 14.2",
        "sizes in the map equal the offsets",
        replace(PLAIN, map_style="size_equals_offset"),
    ),
    Oddity(
        "2.3, 14.1",
        "no chunk map: a crash, or still being written",
        replace(PLAIN, map_style="missing"),
    ),
    Oddity("2.3, 14.1", "footer of zeros", replace(PLAIN, map_style="zero_footer")),
    Oddity("2.3", "footer without an offset", replace(PLAIN, map_style="zero_offset")),
    Oddity("2.3", "footer points elsewhere", replace(PLAIN, map_style="wrong_offset")),
    Oddity("2.3", "map is garbage", replace(PLAIN, map_style="garbage")),
    Oddity(
        "2.3, 14.3",
        "offsets of frames are wrong",
        replace(PLAIN, map_style="wrong_frame_offsets"),
    ),
    Oddity(
        "2.3, 14.3", "offsets lie outside the file", replace(PLAIN, map_style="outside")
    ),
    Oddity("2.3", "all behind a frame is 8 KiB later than the map says", _moved),
    Oddity(
        "2.3, 14.24",
        "holes in the frame numbers",
        replace(PLAIN, missing=frozenset({5})),
    ),
    Oddity("2.3, 14.24", "frame numbers start at 1", replace(PLAIN, first_frame=1)),
    Oddity(
        "2.3",
        "names listed twice, first wrongly",
        replace(PLAIN, map_style="duplicates"),
    ),
    Oddity("2.3", "last frame cut by the end of the file", _cut),
    Oddity("2.3", "cut before attributes that follow the frames", _cut_before_metadata),
    Oddity(
        "2.3", "metadata between the frames", replace(PLAIN, interleave_metadata=True)
    ),
    Oddity("2.3", "map lists fewer frames than there are", _unlisted),
    Oddity("14.4", "stale copies of chunks", replace(PLAIN, stale_chunks=True)),
    Oddity("14.5", "attributes count 0 frames", replace(PLAIN, sequence_count=0)),
    Oddity("14.6", "more frames than loops (14 of 12)", replace(PLAIN, frame_count=14)),
    Oddity("14.6", "fewer frames than loops (8 of 12)", replace(PLAIN, frame_count=8)),
    Oddity(
        "14.7",
        "invalid XY point kept in the list",
        replace(PLAIN, loops=(PositionLoop(POINTS), ZLoop(3))),
        "points",
    ),
    Oddity(
        "14.7",
        "invalid period kept in the list",
        replace(
            PLAIN, loops=(NETimeLoop((Period(2), Period(3, valid=False), Period(2))),)
        ),
    ),
    Oddity(
        "14.8",
        "XY points of 1.0 files are reversed",
        OWN + "see [old files](../how-to/old-files.md)",
    ),
    Oddity(
        "14.9",
        "paused and edited: the tree is in sub-loops",
        replace(
            PLAIN, loops=(NETimeLoop((Period(2), Period(2)), sub_loops=True), ZLoop(3))
        ),
    ),
    Oddity(
        "14.10",
        "sibling branches",
        replace(
            PLAIN,
            loops=(TimeLoop(2), PositionLoop(POINTS[::2]), ZLoop(3)),
            repeat_branches=True,
        ),
    ),
    Oddity(
        "14.11", "Z runs downward", replace(PLAIN, loops=(ZLoop(3, step_um=-1.0),)), "z"
    ),
    Oddity("14.12", "per-frame Z is the recorded one", PLAIN, "z"),
    Oddity("14.13", "`dZLow` twice", PLAIN, "zstep"),
    Oddity("14.14", "`uiCon20(L` as name of a field", PLAIN),
    Oddity(
        "14.15", "truth values other than 0 and 1", OWN + "tested with the LV decoder"
    ),
    Oddity("14.16", "numbers that were never set", OWN + "kept as they are"),
    Oddity("14.17", "magnification -1", replace(PLAIN, magnification=-1.0)),
    Oddity("14.18", "not calibrated", replace(PLAIN, calibration_um=None), "pixel"),
    Oddity(
        "14.19",
        "components that no channel claims",
        replace(
            PLAIN,
            loops=(),
            frame_count=2,
            channels=(*TWO, ChannelSpec("C")),
            metadata="none",
        ),
        "channels",
    ),
    Oddity("14.20", "RGB stored B, G, R", replace(PLAIN, channels=RGB, dtype="uint8")),
    Oddity("14.21", "rows padded by 1 byte", replace(PLAIN, width=63, dtype="uint8")),
    Oddity(
        "14.21",
        "rows padded, two channels",
        replace(PLAIN, width=63, dtype="uint8", channels=TWO),
    ),
    Oddity("14.22", "32 bits are floats", replace(PLAIN, dtype="float32")),
    Oddity(
        "14.23",
        "pixels a byte off the usual place",
        replace(PLAIN, frame_name_nbytes=4073),
    ),
    Oddity(
        "14.25",
        "channel of zeros in gap frames",
        replace(PLAIN, channels=TWO, pixels=_gap),
    ),
    Oddity("14.26", "dates in texts", OWN + "the Julian day is used"),
    Oddity("14.27", "Julian day is nonsense", replace(PLAIN, julian_day=397.7)),
    Oddity("14.28", "times all 0", replace(PLAIN, times_ms=np.zeros(12)), "times"),
    Oddity("14.29", "recorded Z of 4 bytes", OWN + "tested with the columns"),
    Oddity("14.30", "columns without a group", OWN + "tested with the columns"),
    Oddity("14.31", "recorded X, Y, Z a single 0.0", OWN + "tested with the positions"),
    Oddity(
        "14.32",
        "Greek and other letters, LV",
        replace(PLAIN, channels=(ChannelSpec("λ µ °"),)),
        "channels",
    ),
    Oddity(
        "14.32",
        "Greek and other letters, XML",
        replace(PLAIN, metadata="xml", channels=(ChannelSpec("λ µ °"),)),
        "channels",
    ),
    Oddity("14.33", "line breaks in XML", OWN + "kept where they are escaped"),
    Oddity("14.34", "no list of filters", OWN + "tested with the channels"),
    Oddity(
        "14.35", "whole wavelengths in old spectra", OWN + "tested with the wavelengths"
    ),
    Oddity(
        "14.36",
        "one sample setting for all channels",
        replace(PLAIN, channels=TWO),
        "channels",
    ),
    Oddity(
        "14.37",
        "list of one item",
        replace(PLAIN, loops=(PositionLoop(POINTS[:1]), ZLoop(3))),
        "points",
    ),
    Oddity(
        "14.38", "byte arrays that look like LV", OWN + "tested with the LV decoder"
    ),
    Oddity(
        "14.39",
        "only a loop over channels",
        replace(PLAIN, loops=(SpectralLoop(),), channels=TWO),
    ),
    Oddity("14.40", "Z stack of one slice", replace(PLAIN, loops=(ZLoop(1),))),
    Oddity(
        "14.41",
        "a custom loop around time",
        replace(PLAIN, loops=(CustomLoop(2), TimeLoop(3))),
    ),
    Oddity(
        "14.42", "authentication chunks after edits", OWN + "dropped when frames change"
    ),
    Oddity(
        "14.43, 14.44",
        "text and experiment disagree",
        replace(PLAIN, text={5: "Dimensions: T(120) x Z(9)"}),
    ),
)


def made(oddity: Oddity) -> tuple[bytes, SyntheticFile] | None:
    """Make the file of an oddity, None if there is none."""
    if isinstance(oddity.make, str):
        return None
    if isinstance(oddity.make, SyntheticSpec):
        file = build(oddity.make)
        return file.data, file
    return oddity.make()


def ours(path: Path) -> dict[str, Any]:
    """Say what this package reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with FrameStore.open(path) as store:
                axes = store.axes
            dataset = xr.open_dataset(path, engine="nd2")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            return {"error": f"{type(error).__name__}: {error}"}
    with dataset:
        image = dataset["image"]
        if "S" in image.dims:
            image = image.isel(S=slice(None, None, -1))
        inner = ("Y", "X", "C", "S") if "S" in image.dims else ("Y", "X", "C")
        pixels = image.transpose(*axes.dims, *inner).values
        shape = pixels.shape[len(axes.dims) :]
        frames = pixels.reshape(axes.n_frames, *shape[:2], -1)
        order = np.argsort(axes.sequence().ravel())
        loop = dataset.nd2.metadata.experiment.position_loop
        return {
            "dims": [(dim, n) for dim, n in axes.nesting if n > 1],
            "frames": [_digest(frames[i]) for i in order],
            "told": len(dataset.nd2.damage),
            "pixel": dataset.attrs.get("pixel_size_um"),
            "zstep": dataset.attrs.get("z_step_um"),
            "z": list(dict.fromkeys(np.ravel(dataset["stage_z"].values).tolist()))[:3],
            "channels": dataset["C"].values.tolist(),
            "points": [point.x_um for point in loop.points] if loop else None,
            "times": sorted(set(np.ravel(dataset["time"].values).tolist()))[:3],
        }


def theirs(path: Path) -> dict[str, Any]:
    """Say what `nd2` reads."""
    import nd2

    names = {"TimeLoop": "T", "NETimeLoop": "T", "XYPosLoop": "P", "ZStackLoop": "Z"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with nd2.ND2File(path) as file:
                at = file.attributes
                shape = (at.heightPx, at.widthPx, at.componentCount)
                frames = []
                for i in range(at.sequenceCount):
                    try:
                        stored = np.asarray(file._rdr.read_frame(i)).reshape(shape)
                        frames.append(_digest(stored))
                    except Exception:  # noqa: BLE001
                        frames.append("error")
                loops = {loop.type: loop for loop in file.experiment}
                found: dict[str, Any] = {
                    "dims": [
                        (names.get(n, n), loop.count) for n, loop in loops.items()
                    ],
                    "frames": frames,
                }
                points = loops.get("XYPosLoop")
                for key, get in {
                    "pixel": lambda: file.voxel_size().x,
                    "zstep": lambda: loops["ZStackLoop"].parameters.stepUm,
                    "channels": lambda: [
                        c.channel.name for c in file.metadata.channels
                    ],
                    "points": lambda: [
                        p.stagePositionUm.x for p in points.parameters.points
                    ],
                    "z": lambda: list(
                        dict.fromkeys(
                            file.frame_metadata(i)
                            .channels[0]
                            .position.stagePositionUm.z
                            for i in range(at.sequenceCount)
                        )
                    )[:3],
                    "times": lambda: sorted(
                        {
                            file.frame_metadata(i).channels[0].time.relativeTimeMs / 1e3
                            for i in range(at.sequenceCount)
                        }
                    )[:3],
                }.items():
                    try:
                        found[key] = get()
                    except Exception as error:  # noqa: BLE001
                        found[key] = type(error).__name__
                found["dims"] = [(dim, n) for dim, n in found["dims"] if n > 1]
                return found
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            return {"error": f"{type(error).__name__}: {error}"}


def bio_formats(path: Path, oracles: Path, order: str) -> dict[str, Any]:
    """Say what Bio-Formats reads."""
    base = Path(os.environ.get("ND2_ORACLES") or Path.home() / ".cache" / "nd2-oracles")
    jar = base / "bf" / "bioformats_package.jar"
    driver = oracles / "drivers" / "o_bf.py"
    rest = "".join(dim for dim in "TPZ" if dim not in order)
    done = subprocess.run(
        [sys.executable, str(driver), str(path), str(jar), rest + order],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    line = next((t for t in done.stdout.splitlines() if t.startswith("@@")), None)
    if line is None:
        return {"error": done.stderr.strip()[-80:]}
    told: dict[str, Any] = json.loads(line[2:])
    if not told["opens"]:
        return {"error": told.get("error", "")}
    return {
        "dims": [tuple(dim) for dim in told["dims"]],
        "type": told["dtype"],
        "frames": [frame or "error" for frame in told["frames"]],
        "pixel": told["pixel"][0] if told.get("pixel") else None,
        "zstep": told.get("zstep"),
        "channels": told.get("channels"),
        "times": sorted({(t or 0) / 1e3 for t in told.get("times") or []})[:3],
        "z": list(
            dict.fromkeys(p[2] for p in told.get("pos") or [] if p and p[2] is not None)
        )[:3],
        "points": sorted(
            {p[0] for p in told.get("pos") or [] if p and p[0] is not None}
        ),
    }


def in_words(found: dict[str, Any], file: SyntheticFile, shown: str) -> str:
    """Say what a reader made of a file."""
    if "error" in found:
        first = found["error"].splitlines()[0] if found["error"] else "no result"
        return "error: " + _plain(first)
    truth = [_digest(frame) for frame in file.frames]
    zeros = _digest(np.zeros_like(file.frames[0]))
    counts = Counter(
        "zero"
        if frame == zeros
        else "right"
        if i < len(truth) and frame == truth[i]
        else frame
        if frame == "error"
        else "wrong"
        for i, frame in enumerate(found["frames"])
    )
    n = len(found["frames"])
    text = (
        f"{n} frames"
        if counts["right"] == n
        else ", ".join(
            f"{counts[k]} {k}" for k in ("right", "zero", "wrong", "error") if counts[k]
        )
        or "no frames"
    )
    text += (
        f" ({' x '.join(f'{dim} {n}' for dim, n in found['dims'])})"
        if found["dims"]
        else ""
    )
    if found.get("type", file.spec.dtype) != file.spec.dtype:
        text += f"; taken for {found['type']}"
    if shown:
        text += f"; {shown} {_value(found.get(shown))}"
    if found.get("told"):
        text += "; a warning"
    return text


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(text: str) -> str:
    """Make text that is the same on every machine and breaks no table."""
    text = text.replace(tempfile.gettempdir(), "").replace("|", "\\|")
    words = [word if "/" not in word else "FILE" for word in text.split()]
    joined = " ".join(words)
    return joined if len(joined) <= 70 else joined[:67] + "..."


def _digest(frame: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(frame).tobytes()).hexdigest()


def columns(oddity: Oddity, folder: Path, oracles: Path | None = None) -> list[str]:
    """Return the columns of a row: this package, nd2 and, with its driver, Bio-Formats."""
    found = made(oddity)
    if found is None:
        return [str(oddity.make).removeprefix(OWN), "", ""]
    data, file = found
    path = folder / "file.nd2"
    path.write_bytes(data)
    order = "".join(loop.axis for loop in file.spec.loops if loop.axis)
    reports = [ours(path), theirs(path)]
    if oracles is not None:
        reports.append(bio_formats(path, oracles, order))
    words = [in_words(report, file, oddity.shown) for report in reports]
    return words + [NOT_RUN] * (3 - len(words))


def rows_of(page: str) -> dict[tuple[str, str], list[str]]:
    """Read the table of a page: columns by place and oddity."""
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.replace("\\|", "\0").split("|")[1:-1]]
        if len(cells) == 5 and cells[0] not in {"FORMAT", "---"}:
            place, what, *rest = (cell.replace("\0", "\\|") for cell in cells)
            rows[place, what] = rest
    return rows


def page_of(rows: dict[tuple[str, str], list[str]]) -> str:
    """Write the page."""
    lines = [
        "# Oddities of real files",
        "",
        "Written by `python .ci/oracles/oddities.py`, from opening a made file with each oddity;",
        "a test keeps the columns of this package and of `nd2` true. Unless said otherwise the file",
        "has 12 frames, T 4 x Z 3. *Right* frames have the pixels that were stored, bit for bit;",
        "*zero* ones are delivered as zeros; *wrong* ones have other pixels.",
        "A warning tells what is damaged or lost; `on_damage=` chooses what to do about it",
        "([how to](../how-to/damaged-files.md)).",
        "",
        f"| FORMAT | oddity | {' | '.join(COLUMNS)} |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join([*key, *cells])} |" for key, cells in rows.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--oracles", type=Path)
    args = parser.parse_args()
    before = rows_of(PAGE.read_text("utf-8")) if PAGE.exists() else {}
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for oddity in ODDITIES:
            cells = columns(oddity, Path(folder), args.oracles)
            key = (oddity.place, oddity.what)
            if cells[2] == NOT_RUN and key in before:
                cells[2] = before[key][2]
            rows[key] = cells
            print(*key, *cells, sep=" | ", flush=True)
    PAGE.write_text(page_of(rows), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
