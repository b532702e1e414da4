"""What ``--select`` takes of an image: ``T=0:10,C=DAPI``, ``Z=-2um:2um``, ``P=A01``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from limnd2_xr.arrays.units import in_unit
from limnd2_xr.model.plates import canonical_well

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.arrays.units import Unit

__all__ = ["Selection", "parse_selection"]

_DIMS: Final = ("T", "P", "Z", "C", "Y", "X", "U")
_NAMED: Final = frozenset("PC")
_UNITS: Final[dict[str, Unit]] = {"T": "s", "Z": "um", "Y": "um", "X": "um"}
_FACTORS: Final[dict[Unit, dict[str, float]]] = {
    "s": {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0},
    "um": {"nm": 1e-3, "um": 1.0, "\u00b5m": 1.0, "\u03bcm": 1.0, "mm": 1e3},
    "nm": {},
}
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}")
_VALUE: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\D+)")
_TOKEN: Final = re.compile(r'\s*("(?:[^"]*)"|\'(?:[^\']*)\'|[^,"\'][^,]*)\s*(?:,|$)')
_ITEM: Final = re.compile(r"([A-Za-z])\s*=\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Index:
    """A place along a dim, from 0; from the end if below 0."""

    at: int


@dataclass(frozen=True, slots=True)
class Range:
    """Places along a dim, as a slice of Python."""

    start: int | None
    stop: int | None
    step: int | None


@dataclass(frozen=True, slots=True)
class Name:
    """A label: of a channel, a position or a well; a whole number may be a place."""

    text: str
    is_quoted: bool = False


@dataclass(frozen=True, slots=True)
class Values:
    """Labels from one to another, both included; of one value the nearest label."""

    low: float | None
    high: float | None
    is_single: bool = False


Term: TypeAlias = Index | Range | Name | Values


@dataclass(frozen=True, slots=True)
class Selection:
    """What is taken along each dim; one after the other where there are several."""

    text: str
    terms: tuple[tuple[str, tuple[Term, ...]], ...]

    def apply(self, dataset: xr.Dataset) -> xr.Dataset:
        """Return the part of a dataset, with the same dims.

        Parameters
        ----------
        dataset
            Opened from a file.

        Raises
        ------
        ValueError
            If there is no such place, or nothing is left.
        """
        for dim, terms in self.terms:
            indices = np.concatenate([_indices(dataset, dim, one) for one in terms])
            if not indices.size:
                raise ValueError(f"--select {self.text}: nothing is left along {dim}")
            if len(np.unique(indices)) != len(indices):
                raise ValueError(f"--select {self.text}: a place of {dim} comes twice")
            if dim in dataset.dims:
                dataset = dataset.isel({dim: _plain(indices)})
        return dataset


def parse_selection(text: str) -> Selection:
    """Understand a selection.

    Parameters
    ----------
    text
        ``DIM=PLACE`` of dims T, P, Z, C, Y, X and U, parted by commas; further places of
        the same dim follow without its name. A place is a number from 0, ``-1`` from the
        end, or a slice ``0:10`` or ``::2``; along C the name of a channel, along P of a
        position or a well; along T, Z, Y and X a value with a unit, or two,
        ``-2um:2um``, both of which are included. Names with commas stand in quotes.

    Raises
    ------
    ValueError
        If it is something else.

    Examples
    --------
    >>> parse_selection("T=0:10,C=DAPI,GFP").terms[1]
    ('C', (Name(text='DAPI', is_quoted=False), Name(text='GFP', is_quoted=False)))
    """
    terms: dict[str, list[Term]] = {}
    dim = ""
    for dim_or_none, word, is_quoted in _words(text):
        if dim_or_none is not None:
            dim = dim_or_none.upper()
            if dim not in _DIMS:
                raise ValueError(
                    f"--select {text}: {dim_or_none} is no dim; they are {', '.join(_DIMS)}"
                )
            if dim in terms:
                raise ValueError(f"--select {text}: {dim} is there twice")
            terms[dim] = []
        if not dim:
            raise ValueError(f"--select {text}: begin with a dim, as in T=0:10")
        terms[dim].append(_term(text, dim, word, is_quoted))
    if not terms:
        raise ValueError("--select is empty; an example is T=0:10,C=DAPI")
    return Selection(text, tuple((dim, tuple(found)) for dim, found in terms.items()))


def _words(text: str) -> Iterator[tuple[str | None, str, bool]]:
    """Yield each place: the dim if it is named there, its text, whether it has quotes."""
    rest = text
    while rest.strip():
        found = _ITEM.match(rest.lstrip())
        dim = found[1] if found else None
        if found:
            rest = found[2]
        token = _TOKEN.match(rest)
        if token is None:
            raise ValueError(f"--select {text}: nothing stands at {rest[:20]!r}")
        word, rest = token[1].strip(), rest[token.end() :]
        is_quoted = word[0] in "\"'"
        yield dim, word[1:-1] if is_quoted else word, is_quoted


def _term(text: str, dim: str, word: str, is_quoted: bool) -> Term:
    if dim in _NAMED and (is_quoted or not _looks_like_range(word)):
        return Name(word, is_quoted)
    if _INTEGER.fullmatch(word):
        return Index(int(word))
    if _looks_like_range(word):
        start, stop, *step = (int(part) if part else None for part in _parts(word))
        if step == [0]:
            raise ValueError(f"--select {text}: the step of {word} is 0")
        return Range(start, stop, step[0] if step else None)
    unit = _UNITS.get(dim)
    if unit is not None:
        values = [_value(part, unit) for part in _parts(word)]
        if len(values) == 1 and values[0] is not None:
            return Values(values[0], values[0], is_single=True)
        if len(values) == 2 and not any(
            value is None and part
            for value, part in zip(values, _parts(word), strict=True)
        ):
            return Values(values[0], values[1])
    raise ValueError(f"--select {text}: {word!r} is no place along {dim}; {_hint(dim)}")


def _hint(dim: str) -> str:
    if dim in _NAMED:
        return f"examples are {dim}=0, {dim}=0:2, {dim}=NAME"
    if dim == "T":
        return "examples are T=0, T=0:10, T=-1, T=30s:2min"
    if dim in _UNITS:
        return f"examples are {dim}=0, {dim}=0:10, {dim}=-2um:2um"
    return f"examples are {dim}=0, {dim}=0:10, {dim}=-1"


def _parts(word: str) -> list[str]:
    return [part.strip() for part in word.split(":")]


def _looks_like_range(word: str) -> bool:
    parts = _parts(word)
    return 2 <= len(parts) <= 3 and all(
        not part or _INTEGER.fullmatch(part) for part in parts
    )


def _value(text: str, unit: Unit) -> float | None:
    found = _VALUE.fullmatch(text)
    factor = _FACTORS[unit].get(found[2].strip()) if found else None
    return None if found is None or factor is None else float(found[1]) * factor


def _plain(indices: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return a slice that gives the same, where there is one: it is read faster."""
    first, count = int(indices[0]), len(indices)
    step = int(indices[1]) - first if count > 1 else 1
    if step > 0 and bool((np.diff(indices) == step).all()):
        return slice(first, first + step * (count - 1) + 1, step)
    return indices


def _indices(dataset: xr.Dataset, dim: str, term: Term) -> NDArray[np.intp]:
    """Return the places that a term stands for; a dim that is not there has one."""
    length = dataset.sizes.get(dim, 1)
    every = np.arange(length)
    match term:
        case Index(at):
            if not -length <= at < length:
                raise ValueError(f"{dim}={at}: there are {length} along {dim}, from 0")
            return every[[at]]
        case Range(start, stop, step):
            return every[start:stop:step]
        case Values():
            return _by_value(dataset, dim, term)
        case Name():
            return _by_name(dataset, dim, term, length)


def _by_value(dataset: xr.Dataset, dim: str, term: Values) -> NDArray[np.intp]:
    stated = dataset.coords[dim].attrs.get("units") if dim in dataset.coords else None
    if dim not in dataset.dims or not stated:
        raise ValueError(f"{dim} has no unit in this file: select by number")
    labels = in_unit(dataset.coords[dim], _UNITS[dim])
    if term.is_single and term.low is not None:
        return np.array([int(np.abs(labels - term.low).argmin())])
    low = -np.inf if term.low is None else term.low
    high = np.inf if term.high is None else term.high
    # What is written in decimals is meant to be included.
    slack = 1e-9 * max(1.0, float(np.abs(labels).max()))
    return np.flatnonzero((labels >= low - slack) & (labels <= high + slack))


def _by_name(
    dataset: xr.Dataset, dim: str, term: Name, length: int
) -> NDArray[np.intp]:
    labels = (
        [str(label) for label in np.atleast_1d(dataset[dim].values)]
        if (dim in dataset.coords)
        else []
    )
    for found in (
        [i for i, label in enumerate(labels) if label == term.text],
        _of_well(dataset, term.text) if dim == "P" else [],
    ):
        if found:
            return np.array(found)
    if not term.is_quoted and _INTEGER.fullmatch(term.text):
        return _indices(dataset, dim, Index(int(term.text)))
    folded = [i for i, label in enumerate(labels) if label.lower() == term.text.lower()]
    if len(folded) == 1:
        return np.array(folded)
    shown = ", ".join(labels[:8]) + (", ..." if len(labels) > 8 else "")
    raise ValueError(
        f"{dim}={term.text}: there is none of that name"
        + (f" among {length}: {shown}" if labels else "")
    )


def _of_well(dataset: xr.Dataset, text: str) -> list[int]:
    """Return the positions in a well; none if there is no such well."""
    if "well" not in dataset.coords:
        return []
    wanted = canonical_well(text)
    wells = np.atleast_1d(dataset.coords["well"].values)
    return [i for i, well in enumerate(wells) if canonical_well(str(well)) == wanted]
