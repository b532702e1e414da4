from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from limnd2_xr.testing.loop_specs import (
    CustomLoop,
    NETimeLoop,
    PositionLoop,
    SpectralLoop,
)
from limnd2_xr.testing.strategies import (
    RELIABLE_MAPS,
    REPAIRABLE_MAPS,
    damaged,
    levels,
    loop_lists,
    specs,
    xml_levels,
)
from limnd2_xr.testing.synthetic import SyntheticSpec, build
from limnd2_xr.variants.tree import LvType

if TYPE_CHECKING:
    from collections.abc import Callable


# Shrinking a whole file description takes long and says nothing here.
FIRST_FOUND = settings(phases=(Phase.generate,), max_examples=2000, database=None)


def test_specs_reach_every_shape() -> None:
    wishes: list[Callable[[SyntheticSpec], object]] = [
        lambda s: len(s.loop_shape) == 3 and s.n_frames > 4,
        lambda s: any(isinstance(loop, CustomLoop) for loop in s.loops),
        lambda s: any(isinstance(loop, SpectralLoop) for loop in s.loops),
        lambda s: any(isinstance(x, NETimeLoop) and x.length == 3 for x in s.loops),
        lambda s: any(
            isinstance(x, PositionLoop) and not all(p.valid for p in x.points)
            for x in s.loops
        ),
        lambda s: s.channels[0].components == 3 and s.row_nbytes % 12,
        lambda s: s.metadata == "xml" and s.missing,
        lambda s: s.metadata == "none" and s.n_frames > 1,
        lambda s: s.compression == "zlib" and s.interleave_metadata,
        lambda s: s.dtype == "float32" and len(s.channels) > 1,
        lambda s: s.map_style == "duplicates",
    ]
    for wish in wishes:

        def granted(spec: SyntheticSpec, wish: Callable[..., object] = wish) -> bool:
            return bool(wish(spec))

        spec = find(specs(), granted, settings=FIRST_FOUND)
        assert granted(spec)


@given(loop_lists(repeats=False))
def test_loops_without_repeats(loops: tuple[object, ...]) -> None:
    axes = [loop.axis for loop in loops if loop.axis]  # type: ignore[attr-defined]
    assert len(axes) == len(set(axes))
    assert math.prod(loop.length for loop in loops) <= 24  # type: ignore[attr-defined]


@given(specs(metadata=("xml",), maps=REPAIRABLE_MAPS, missing=False))
def test_specs_can_be_narrowed(spec: SyntheticSpec) -> None:
    assert spec.metadata == "xml"
    assert spec.map_style not in RELIABLE_MAPS
    assert not spec.missing
    assert "ImageAttributes!" in build(spec).chunks


@given(st.data())
def test_damage_changes_little(data: st.DataObject) -> None:
    good = bytes(range(256)) * 40
    bad = data.draw(damaged(good))
    assert isinstance(bad, bytes)
    assert len(bad) <= len(good) + 3 * 4096
    assert data.draw(damaged(b"")) == b""


def test_trees_reach_depth_and_repeated_names() -> None:
    deep = find(levels(), lambda x: any(len(v.levels()) for v in x.levels()))
    assert LvType.LEVEL in deep.kinds or LvType.OLD_LEVEL in deep.kinds
    twice = find(levels(), lambda x: len(x) > 1 and len(set(x.names)) == 1)
    assert len(twice) > len(set(twice.names))
    assert find(xml_levels(), lambda x: "no_name" in x.names).names
