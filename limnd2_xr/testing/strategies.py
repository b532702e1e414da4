"""Hypothesis strategies: small .nd2 files in all shapes, trees, damaged bytes.

Examples
--------
>>> from hypothesis import given
>>> from limnd2_xr.testing.synthetic import build
>>> @given(specs())
... def check(spec):
...     assert len(build(spec).frames) == spec.n_frames
>>> check()
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from hypothesis import strategies as st

from limnd2_xr.testing.loop_specs import (
    CustomLoop,
    NETimeLoop,
    Period,
    Point,
    PositionLoop,
    SpectralLoop,
    TimeLoop,
    ZLoop,
)
from limnd2_xr.testing.specs import ChannelSpec, MapStyle, SyntheticSpec, XmlStyle
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

    from limnd2_xr.testing.loop_specs import Loop

__all__ = [
    "RELIABLE_MAPS",
    "REPAIRABLE_MAPS",
    "channel_lists",
    "damaged",
    "levels",
    "loop_lists",
    "specs",
    "xml_levels",
    "xml_styles",
]

RELIABLE_MAPS: tuple[MapStyle, ...] = (
    "nis",
    "nis4",
    "ascending",
    "size_equals_offset",
    "duplicates",
)
"""Chunk maps that tell where everything is."""

REPAIRABLE_MAPS: tuple[MapStyle, ...] = (
    "missing",
    "zero_footer",
    "zero_offset",
    "wrong_offset",
    "wrong_frame_offsets",
    "outside",
    "garbage",
)
"""Chunk maps that a reader has to rebuild from the chunks."""

_MAX_FRAMES = 24

# No NUL (it ends a stored string) and no surrogates; XML also forbids most controls.
_TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"),
    max_size=8,
)
_MICROMETRES = st.integers(-40_000, 40_000).map(lambda n: n / 8)


@st.composite
def loop_lists(
    draw: DrawFn, *, max_loops: int = 3, repeats: bool = True
) -> tuple[Loop, ...]:
    """Up to `max_loops` loops in any order, at most 24 frames together.

    Parameters
    ----------
    draw
        Given by Hypothesis.
    max_loops
        Most loops that multiply frames; a spectral loop may come on top.
    repeats
        Whether two loops of the same axis may occur, to be merged by a reader.
    """
    loops: list[Loop] = []
    for _ in range(draw(st.integers(0, max_loops))):
        room = _MAX_FRAMES // math.prod(loop.length for loop in loops)
        loop = draw(_loops(min(room, 4)))
        if repeats or loop.axis not in {other.axis for other in loops}:
            loops.append(loop)
    if draw(st.integers(0, 4)) == 0:
        loops.append(SpectralLoop())
    return tuple(loops)


def _loops(room: int) -> SearchStrategy[Loop]:
    count = st.integers(1, room)
    periods = st.sampled_from([0.0, 20.0, 1000.0])
    return st.one_of(
        st.builds(TimeLoop, count, period_ms=periods),
        _netime_loops(room),
        _position_loops(room),
        st.builds(
            ZLoop,
            count,
            step_um=st.sampled_from([0.25, 1.0, 6.0]),
            kind=st.integers(0, 7),
            inverted=st.booleans(),
        ),
        st.builds(CustomLoop, count),
    )


@st.composite
def _netime_loops(draw: DrawFn, room: int) -> NETimeLoop:
    periods = [Period(draw(st.integers(1, room)), period_ms=500.0)]
    left = room - periods[0].count
    for _ in range(draw(st.integers(0, 2))):
        valid = draw(st.booleans()) and left > 0
        count = draw(st.integers(1, left if valid else 3))
        periods.append(Period(count, period_ms=100.0, valid=valid))
        left -= count if valid else 0
    return NETimeLoop(tuple(draw(st.permutations(periods))))


@st.composite
def _position_loops(draw: DrawFn, room: int) -> PositionLoop:
    n_valid = draw(st.integers(1, room))
    flags = [True] * n_valid + [False] * draw(st.integers(0, 2))
    points = tuple(
        Point(
            draw(_MICROMETRES),
            draw(_MICROMETRES),
            draw(_MICROMETRES),
            name=draw(_TEXT),
            valid=valid,
        )
        for valid in draw(st.permutations(flags))
    )
    return PositionLoop(
        points,
        use_z=draw(st.booleans()),
        relative=draw(st.booleans()),
        reference=(draw(_MICROMETRES), draw(_MICROMETRES)),
    )


def channel_lists() -> SearchStrategy[tuple[ChannelSpec, ...]]:
    """One to four mono channels, one or two RGB ones, or a mix of both."""
    wavelength = st.none() | st.sampled_from([405.0, 520.5, 700.0])
    mono = st.builds(
        ChannelSpec,
        _TEXT,
        color=st.none() | st.integers(0, 0xFFFFFF),
        emission_nm=wavelength,
        excitation_nm=wavelength,
        exposure_ms=st.sampled_from([0.0, 12.5, 500.0]),
    )
    rgb = st.builds(ChannelSpec, _TEXT, components=st.just(3))
    return st.one_of(
        st.lists(mono, min_size=1, max_size=4),
        st.lists(rgb, min_size=1, max_size=2),
        st.lists(mono | rgb, min_size=2, max_size=3),
    ).map(tuple)


def xml_styles() -> SearchStrategy[XmlStyle]:
    """Every spelling of XML that can be told apart: cp1252 only where it is declared."""
    texts = st.sampled_from(
        [
            ("utf-8", "UTF-8"),
            ("utf-8", None),
            ("utf-8", "UTF-16"),
            ("utf-16", "UTF-16"),
            ("utf-16-le", "UTF-16"),
            ("cp1252", "windows-1252"),
        ]
    )
    choice = st.booleans()
    return st.builds(
        lambda text, **forms: XmlStyle(encoding=text[0], declared=text[1], **forms),
        texts,
        indented=choice,
        sample_settings=choice,
        direct_parameters=choice,
        point_structs=choice,
        modality_masks=choice,
    )


@st.composite
def specs(
    draw: DrawFn,
    *,
    metadata: Sequence[Literal["lv", "xml", "none"]] = ("lv", "lv", "xml", "none"),
    maps: Sequence[MapStyle] = RELIABLE_MAPS,
    missing: bool = True,
    repeats: bool = True,
) -> SyntheticSpec:
    """Descriptions of small files: every kind of layout, shape and content.

    Parameters
    ----------
    draw
        Given by Hypothesis.
    metadata
        Encodings to choose from.
    maps
        Chunk maps to choose from; see `RELIABLE_MAPS` and `REPAIRABLE_MAPS`.
    missing
        Whether frames may be missing.
    repeats
        Whether two loops of the same axis may occur.
    """
    encoding = draw(st.sampled_from(metadata))
    loops = () if encoding == "none" else draw(loop_lists(repeats=repeats))
    frame_count = draw(st.integers(1, 4)) if encoding == "none" else None
    n = frame_count or math.prod(loop.length for loop in loops)
    dtype, bits = draw(
        st.sampled_from([("uint8", 8), ("uint16", 16), ("uint16", 12), ("float32", 32)])
    )
    return SyntheticSpec(
        loops=loops,
        width=draw(st.integers(1, 33)),
        height=draw(st.integers(1, 17)),
        channels=draw(channel_lists()),
        dtype=dtype,
        significant_bits=bits,
        compression=draw(st.sampled_from([None, None, "zlib"])),
        metadata=encoding,
        xml=draw(xml_styles()) if encoding == "xml" else XmlStyle(),
        calibration_um=draw(st.sampled_from([None, 0.5, 0.323390342594048])),
        frame_count=frame_count,
        missing=(
            frozenset(draw(st.sets(st.integers(0, n - 1), max_size=min(n, 3))))
            if missing and draw(st.booleans())
            else frozenset()
        ),
        frame_order=(draw(st.permutations(range(n))) if draw(st.booleans()) else None),
        frame_name_nbytes=draw(st.none() | st.integers(40, 5000)),
        alignment=draw(st.sampled_from([4096, 4096, 16, 1])),
        interleave_metadata=draw(st.booleans()),
        stale_chunks=draw(st.booleans()),
        repeat_branches=draw(st.booleans()),
        map_style=draw(st.sampled_from(maps)),
        seed=draw(st.integers(0, 3)),
    )


# ---------------------------------------------------------------- trees

_LITE_TEXT = st.text(st.characters(exclude_characters="\0"), max_size=12)
_LITE_SCALARS = st.one_of(
    st.tuples(st.just(LvType.BOOL), st.booleans()),
    st.tuples(st.just(LvType.INT32), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just(LvType.UINT32), st.integers(0, 2**32 - 1)),
    st.tuples(st.just(LvType.INT64), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(LvType.UINT64), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(LvType.POINTER), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(LvType.DOUBLE), st.floats()),
    st.tuples(st.just(LvType.STRING), _LITE_TEXT),
    st.tuples(st.just(LvType.BYTES), st.binary(max_size=12)),
)
_XML_TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r<>&\"'"),
    max_size=12,
)
_XML_SCALARS = st.one_of(
    st.tuples(st.just("bool"), st.booleans()),
    st.tuples(st.just("lx_int32"), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just("lx_uint32"), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("lx_int64"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("lx_uint64"), st.integers(0, 2**64 - 1)),
    st.tuples(st.just("double"), st.floats()),
    st.tuples(st.just("CLxStringW"), _XML_TEXT),
    st.tuples(st.just("CLxByteArray"), st.binary(max_size=12)),
    st.tuples(st.just("unknown"), st.none()),
)


def levels() -> SearchStrategy[Level]:
    """Trees that the lite variant can hold: any names, types and values, repeated names.

    Examples
    --------
    >>> from limnd2_xr.variants import lite
    >>> lite.decode(lite.encode(levels().example()))  # doctest: +SKIP
    """
    names = st.one_of(
        st.sampled_from(["", "", "dZLow", "uiCount", "a0", "a10"]),
        st.text(max_size=6),
    )
    kinds = st.sampled_from([LvType.LEVEL, LvType.LEVEL, LvType.OLD_LEVEL])
    return _trees(names, _LITE_SCALARS, kinds)


def xml_levels() -> SearchStrategy[Level]:
    """Trees that variant XML can hold."""
    names = st.one_of(
        st.sampled_from(["no_name", "no_name", "a0", "CustomTagDescription_v1.0"]),
        st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.\-]{0,6}\Z"),
    )
    kinds = st.sampled_from(["CLxListVariant", "RLxExperiment", "RLxIRect"])
    return _trees(names, _XML_SCALARS, kinds)


def _trees(
    names: SearchStrategy[str],
    scalars: SearchStrategy[tuple[object, object]],
    kinds: SearchStrategy[object],
) -> SearchStrategy[Level]:
    def level(children: list[tuple[str, tuple[object, object]]]) -> Level:
        out = Level()
        for name, (kind, value) in children:
            out.add(name, kind, value)  # type: ignore[arg-type]
        return out

    def deeper(inner: SearchStrategy[Level]) -> SearchStrategy[Level]:
        child = scalars | st.tuples(kinds, inner)
        return st.lists(st.tuples(names, child), max_size=6).map(level)

    flat = st.lists(st.tuples(names, scalars), max_size=6).map(level)
    return st.recursive(flat, deeper, max_leaves=6)


# ---------------------------------------------------------------- damage


@st.composite
def damaged(draw: DrawFn, data: bytes) -> bytes:
    """Injure a copy of `data` in one to three places.

    Cut short, single bits flipped, or a span overwritten with garbage, zeros or bytes
    from elsewhere, removed, or inserted twice.
    """
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        if not out:
            break
        start = draw(st.integers(0, len(out) - 1))
        stop = min(start + draw(st.sampled_from([1, 4, 8, 40, 4096])), len(out))
        injury = draw(
            st.sampled_from(
                ["cut", "flip", "garbage", "zeros", "copy", "gone", "twice"]
            )
        )
        if injury == "cut":
            del out[start:]
        elif injury == "flip":
            out[start] ^= 1 << draw(st.integers(0, 7))
        elif injury == "garbage":
            pattern = draw(st.binary(min_size=1, max_size=8))
            span = stop - start
            out[start:stop] = (pattern * (span // len(pattern) + 1))[:span]
        elif injury == "zeros":
            out[start:stop] = bytes(stop - start)
        elif injury == "copy":
            source = draw(st.integers(0, len(out) - (stop - start)))
            out[start:stop] = out[source : source + stop - start]
        elif injury == "gone":
            del out[start:stop]
        else:
            out[start:start] = out[start:stop]
    return bytes(out)
