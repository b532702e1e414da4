"""Hypothesis strategies: documents as reading gives them, with their records.

Every value that the model holds occurs, and unknown ones. The documents are in the form
that reading a file gives: what follows from other values does, so that writing and
reading gives the same again.

Examples
--------
>>> from hypothesis import given
>>> from limnd2_xr.model.document import Nd2Document
>>> @given(documents())
... def check(drawn):
...     document, records = drawn
...     assert Nd2Document.from_raw(document.to_raw(records))[0] == document
>>> check()
"""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from limnd2_xr.model.attributes import Attributes
from limnd2_xr.model.channels import Channel
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.modality import describe_modality, known_bits, modality_flags
from limnd2_xr.model.optics import LightPath, Optics
from limnd2_xr.model.picture import Acquisition, Picture
from limnd2_xr.model.records import FrameRecords, RecordedColumn
from limnd2_xr.model.text import Software, TextInfo
from limnd2_xr.testing.loop_strategies import experiments, known_texts, texts

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

    from limnd2_xr.model.experiment import Experiment

__all__ = ["channels", "documents"]

_POSITIVE = st.floats(1e-3, 1e4)
_UNKNOWN_OR_POSITIVE = st.none() | _POSITIVE
_MICROMETRES = st.integers(-40_000, 40_000).map(lambda n: n / 8)
_NANOMETRES = st.none() | st.floats(200.0, 2000.0)
_DAYS = st.floats(2_440_000.0, 2_470_000.0)
_MILLISECONDS = st.integers(1, 100_000).map(lambda n: n / 8)
_SAMPLES = {
    "uint8": (8, "unsigned"),
    "uint16": (16, "unsigned"),
    "float32": (32, "float"),
}


@st.composite
def documents(draw: DrawFn) -> tuple[Nd2Document, FrameRecords]:
    """Documents of version 3.0 and what was recorded for their frames."""
    experiment = draw(experiments())
    frames = math.prod(loop.count for loop in experiment.loops)
    given = draw(channels())
    components = sum(channel.component_count for channel in given)
    optics = draw(_optics(given[0].light_path))
    records, columns = draw(_records(frames))
    start = draw(st.none() | _DAYS)
    frame0 = _DAYS if start is not None else st.none() | _DAYS
    document = Nd2Document(
        attributes=draw(_attributes(components, frames)),
        channels=given,
        experiment=experiment,
        optics=optics,
        picture=_placed(draw(_pictures()), experiment, records),
        acquisition=Acquisition(
            start_jd=start,
            frame0_jd=draw(frame0),
            frame0_ms=draw(_MILLISECONDS),
            time_source=draw(st.integers(0, 1)),
        ),
        text=draw(_text_infos()),
        software=draw(st.builds(Software, **_texts_of(Software))),
        recorded_columns=columns,
    )
    return document, records


@st.composite
def channels(draw: DrawFn) -> tuple[Channel, ...]:
    """One to four channels, all mono or all RGB."""
    rgb = draw(st.sampled_from([False, False, False, True]))
    shared: dict[str, Any] = {
        "zoom": draw(_UNKNOWN_OR_POSITIVE),
        "projective_magnification": draw(_UNKNOWN_OR_POSITIVE),
    }
    found = draw(st.lists(_channels(rgb=rgb), min_size=1, max_size=2 if rgb else 4))
    path = found[0].light_path
    alike = draw(st.booleans())  # as in most files
    return tuple(
        replace(
            channel,
            light_path=replace(path if alike else channel.light_path, **shared),
        )
        for channel in found
    )


@st.composite
def _channels(draw: DrawFn, *, rgb: bool) -> Channel:
    mask = draw(st.integers(1, known_bits()).filter(lambda bits: bits & known_bits()))
    count = 3 if rgb else 1
    flags = modality_flags(mask, count)
    red, green, blue = draw(st.binary(min_size=3, max_size=3))
    binning = draw(st.none() | st.tuples(*[st.sampled_from([1.0, 2.0, 1.5])] * 2))
    exposure = draw(st.none() | _MILLISECONDS)
    return Channel(
        name=draw(texts()),
        component_count=count,
        color=f"#{red:02x}{green:02x}{blue:02x}",
        emission_nm=None if rgb else draw(_NANOMETRES),
        excitation_nm=None if rgb else draw(_NANOMETRES),
        modality=describe_modality(flags),
        modality_flags=flags,
        exposure_s=None if exposure is None else exposure / 1000.0,
        binning=None if binning is None else f"{binning[0]:g}x{binning[1]:g}",
        pinhole_um=draw(_UNKNOWN_OR_POSITIVE),
        light_path=draw(_light_paths()),
        probe=draw(texts()),
        filters=tuple(draw(st.lists(known_texts(), max_size=2))),
        optical_configuration=draw(texts()),
    )


def _light_paths() -> SearchStrategy[LightPath]:
    return st.builds(
        LightPath,
        objective=texts().map(_without_magnification),
        magnification=_UNKNOWN_OR_POSITIVE,
        numerical_aperture=_UNKNOWN_OR_POSITIVE,
        refractive_index=_UNKNOWN_OR_POSITIVE,
        camera=texts(),
        microscope=texts(),
    )


def _without_magnification(name: str) -> str:
    return name.translate({ord(letter): "-" for letter in "xX\N{MULTIPLICATION SIGN}"})


@st.composite
def _optics(draw: DrawFn, path: LightPath) -> Optics:
    matrix = draw(st.none() | st.tuples(*[st.floats(-1.0, 1.0)] * 4).filter(any))
    rotation = None if matrix is None else draw(st.none() | st.floats(-4.0, 4.0))
    return Optics(
        **{item.name: getattr(path, item.name) for item in fields(LightPath)},
        pixel_size_um=draw(_UNKNOWN_OR_POSITIVE),
        aspect=draw(_POSITIVE),
        rotation_rad=rotation,
        camera_to_stage=matrix,
    )


@st.composite
def _attributes(draw: DrawFn, components: int, frames: int) -> Attributes:
    width, height = draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    bits, kind = _SAMPLES[draw(st.sampled_from(sorted(_SAMPLES)))]
    tile = st.none() | st.integers(71, 100)
    return Attributes(
        width=width,
        height=height,
        components=components,
        bits_in_memory=bits,
        bits_significant=draw(st.integers(1, bits)),
        row_nbytes=-(-width * components * bits // 8 // 4) * 4,
        sequence_count=frames,
        tile_width=draw(tile),
        tile_height=draw(tile),
        compression=draw(st.sampled_from(["none", "lossless"])),
        compression_param=draw(st.floats(-1.0, 9.0)),
        pixel_type=kind,  # type: ignore[arg-type]
        virtual_components=components,
    )


def _pictures() -> SearchStrategy[Picture]:
    return st.builds(
        Picture,
        x_um=st.none() | _MICROMETRES,
        y_um=st.none() | _MICROMETRES,
        z_um=st.none() | _MICROMETRES,
        z_absolute=st.booleans(),
        temperature_k=_UNKNOWN_OR_POSITIVE,
        x_axis=st.integers(0, 4),
        y_axis=st.integers(0, 4),
        custom=texts(),
        description=texts(),
    )


def _placed(picture: Picture, experiment: Experiment, records: FrameRecords) -> Picture:
    """Picture whose position is known where records or points know it."""
    loop = experiment.position_loop
    point = loop is not None and bool(loop.points)
    return replace(
        picture,
        x_um=picture.x_um or (0.0 if records.x is not None or point else None),
        y_um=picture.y_um or (0.0 if records.y is not None or point else None),
        z_um=picture.z_um or (0.0 if records.z is not None else None),
    )


def _text_infos() -> SearchStrategy[TextInfo]:
    given: dict[str, Any] = {
        **_texts_of(TextInfo),
        "description": known_texts(),
        "optics": known_texts().map(_without_magnification),
    }
    return st.builds(TextInfo, **given)


def _texts_of(cls: Any) -> dict[str, SearchStrategy[str]]:
    return {item.name: texts() for item in fields(cls)}


@st.composite
def _records(
    draw: DrawFn, frames: int
) -> tuple[FrameRecords, tuple[RecordedColumn, ...]]:
    values = st.lists(_MICROMETRES, min_size=frames, max_size=frames).map(np.array)
    found = {"times_ms": draw(values)}
    columns = []
    for name in ("x", "y", "z", "z1", "z2"):
        if draw(st.booleans()):
            found[name] = draw(values)
            columns.append(
                RecordedColumn(
                    id=name.upper(),
                    description=draw(texts()),
                    unit=draw(texts()),
                    kind="float",
                    group=draw(st.integers(0, 4)),
                    size=frames,
                )
            )
    if draw(st.booleans()):
        columns.insert(0, RecordedColumn(id="CameraTemp1", kind="int", size=frames))
    return FrameRecords(**found), tuple(columns)
