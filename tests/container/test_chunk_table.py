"""`ChunkIndex` against a plain dict."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container.chunk_index import (
    UNKNOWN_NBYTES,
    ChunkIndex,
    Entry,
    split_name,
)
from limnd2_xr.container.chunk_table import IndexBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = tuple[str, int, "int | None"]

names = st.one_of(
    st.integers(0, 40).map(lambda n: f"ImageDataSeq|{n}!"),
    st.integers(0, 10**18 - 1).map(lambda n: f"ImageDataSeq|{n}!"),
    st.tuples(st.sampled_from("ABC"), st.integers(0, 9)).map(
        lambda x: f"{x[0]}|{x[1]}!"
    ),
    st.text("ABC|01", min_size=1, max_size=5).map(lambda text: text + "!"),
)
sizes = st.one_of(st.none(), st.integers(0, 20_000), st.integers(0, 2**64 - 2))
rows = st.lists(
    st.tuples(
        names, st.one_of(st.integers(0, 20_000), st.integers(0, 2**64 - 1)), sizes
    )
)


def plain(entries: Sequence[Row]) -> dict[str, Entry]:
    return {name: Entry(offset, nbytes) for name, offset, nbytes in entries}


@given(entries=rows)
def test_index_is_a_dict(entries: list[Row]) -> None:
    index = ChunkIndex.from_entries(entries)
    expected = plain(entries)
    assert dict(index.items()) == expected
    assert len(index) == len(expected)
    assert str(len(expected)) in repr(index)
    for name, entry in expected.items():
        assert name in index
        assert index.find(name) == entry
    for absent in ("X!", "ImageDataSeq|41!", "ImageDataSeq|", "A|10!", "", "!"):
        assert (absent in index) == (absent in expected)
    assert 3 not in index
    families = index.families()
    assert list(families) == sorted(families)
    numbered = {
        family.name(n) for family in families.values() for n, _ in family.items()
    }
    assert sorted(numbered | set(index.names())) == sorted(expected)
    assert index.names() == sorted(
        name for name in expected if split_name(name) is None
    )
    again = pickle.loads(pickle.dumps(index))
    assert dict(again.items()) == expected


@given(entries=rows)
def test_families_are_sorted_arrays(entries: list[Row]) -> None:
    index = ChunkIndex.from_entries(entries)
    expected = plain(entries)
    for prefix, family in index.families().items():
        assert index.family(prefix) is family
        assert len(family) == family.numbers.size > 0
        assert (family.numbers[1:] > family.numbers[:-1]).all()
        dtypes = [family.numbers.dtype, family.offsets.dtype, family.nbytes.dtype]
        assert dtypes == [np.int64, np.uint64, np.uint64]
        for column in (family.numbers, family.offsets, family.nbytes):
            assert not column.flags.writeable
        for number, offset, nbytes in zip(
            family.numbers, family.offsets, family.nbytes, strict=True
        ):
            entry = Entry(
                int(offset), None if nbytes == UNKNOWN_NBYTES else int(nbytes)
            )
            assert expected[family.name(int(number))] == entry == family.find(number)
        assert family.find(-1) is None
        assert family.find(10**18) is None
    assert index.family("nothing") is None


@given(entries=rows, size=st.one_of(st.integers(0, 30_000), st.integers(0, 2**64)))
def test_within_a_file(entries: list[Row], size: int) -> None:
    inside = ChunkIndex.from_entries(entries).within(size)
    assert dict(inside.items()) == {
        name: entry
        for name, entry in plain(entries).items()
        if entry.offset + 16 + (entry.nbytes or 0) <= size
    }


@given(first=rows, second=rows)
def test_without_and_updated(first: list[Row], second: list[Row]) -> None:
    a, b = ChunkIndex.from_entries(first), ChunkIndex.from_entries(second)
    expected = {
        name: entry
        for name, entry in plain(first).items()
        if plain(second).get(name) != entry
    }
    assert dict(a.without(b).items()) == expected
    assert dict(a.updated(b).items()) == {**plain(first), **plain(second)}
    assert len(a.without(a)) == 0


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("ImageDataSeq|0!", ("ImageDataSeq", 0)),
        ("A|B|7!", ("A|B", 7)),
        ("A|999999999999999999!", ("A", 10**18 - 1)),
        ("A|1000000000000000000!", None),
        ("A|00!", None),
        ("A|-1!", None),
        ("A|1 !", None),
        ("A|²!", None),
        ("A|٣!", None),
        ("A|!", None),
        ("|1!", None),
        ("12!", None),
        ("", None),
    ],
)
def test_split_name(name: str, split: tuple[str, int] | None) -> None:
    assert split_name(name) == split


def test_builder_is_empty_after_build() -> None:
    builder = IndexBuilder()
    builder.add("A!", 1, 2)
    builder.add("A|1!", 1, 2)
    assert len(builder.build()) == 2
    assert len(builder.build()) == 0


@pytest.mark.parametrize("spread", [1, 1_000_003])
def test_order_of_many_numbers(spread: int) -> None:
    """Dense and sparse numbers take different ways to the same result."""
    rng = np.random.default_rng(5)
    numbers = rng.integers(0, 500, 2000) * spread
    index = ChunkIndex.from_entries(
        (f"S|{number}!", 4096 * i, i) for i, number in enumerate(numbers)
    )
    last = {int(number): i for i, number in enumerate(numbers)}
    family = index.family("S")
    assert family is not None
    assert (
        dict(zip(family.numbers.tolist(), family.nbytes.tolist(), strict=True)) == last
    )
