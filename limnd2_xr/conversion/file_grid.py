"""Where the files of a sequence go: by what their names tell, without gaps in silence."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from limnd2_xr.conversion.source_image import natural_key
from limnd2_xr.model.plates import canonical_well, parse_well

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from limnd2_xr.conversion.filename_pattern import FilenamePattern

    Value: TypeAlias = tuple[Any, ...]

__all__ = ["FileGrid", "grid_of_files", "grid_of_list"]

_DIMS: Final = ("T", "P", "Z", "C")
_SOME: Final = 5
"""So many are named in a message."""
_FEW: Final = 1000
"""So many places may always be empty."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileGrid:
    """Files of a sequence, at the place of each."""

    dims: tuple[str, ...]
    """Dims that the names tell, among T, P, Z and C."""
    labels: Mapping[str, tuple[str, ...]]
    """What is at each index of a dim, as names tell it."""
    files: NDArray[np.object_]
    """Path at each place, None where there is no file."""
    wells: tuple[str, ...] | None = None
    """Well of each position, None where names do not tell."""

    @property
    def missing(self) -> list[str]:
        """Places without a file, in words."""
        return [self.words(place) for place in zip(*_empty(self.files), strict=True)]

    def words(self, place: Sequence[int]) -> str:
        """Return a place in words: ``T=3, C=GFP``."""
        return ", ".join(
            f"{dim}={self.labels[dim][int(i)]}"
            for dim, i in zip(self.dims, place, strict=True)
        )

    def places(self) -> Iterator[tuple[tuple[int, ...], str | None]]:
        """Yield each place and its file."""
        files: list[str | None] = self.files.ravel().tolist()
        yield from zip(np.ndindex(self.files.shape), files, strict=True)


def grid_of_list(paths: Sequence[str], dim: str) -> FileGrid:
    """Put files one after the other along a dim."""
    files = np.empty(len(paths), object)
    files[:] = paths
    stems = [path.replace("\\", "/").rpartition("/")[2] for path in paths]
    plain = tuple(stem.rpartition(".")[0] or stem for stem in stems)
    return FileGrid(dims=(dim,), labels={dim: plain}, files=files)


def grid_of_files(
    paths: Sequence[str], pattern: FilenamePattern, *, fill_missing: bool
) -> FileGrid:
    """Put files where their names say that they belong.

    Numbers along T and Z are evenly spaced: where the next is further away than the
    others, those between are missing. Positions are those that there are, well by well.

    Parameters
    ----------
    paths
        Files whose names fit the pattern.
    pattern
        Of the names.
    fill_missing
        Whether places without a file are accepted.

    Raises
    ------
    ValueError
        If two files tell the same place, or a place has none and `fill_missing` is not
        set, or most have none.
    """
    told = [(path, pattern.match(path) or {}) for path in paths]
    names = {name for _, values in told for name in values}
    lacking = [path for path, values in told if values.keys() != names]
    if lacking:
        raise ValueError(
            f"{lacking[0]} does not tell {', '.join(sorted(names))}, as other names do"
        )
    dims = tuple(
        dim for dim in _DIMS if (dim in names or (dim == "P" and names & {"W", "F"}))
    )
    keys = {dim: _keys(dim, [values for _, values in told]) for dim in dims}
    order = {dim: _ordered(dim, keys[dim]) for dim in dims}
    total = math.prod(len(values) for values in order.values())
    if total > _FEW + 10 * len(paths):
        raise ValueError(
            f"{len(paths)} files would be {total} frames and channels "
            f"({', '.join(f'{len(v)} along {d}' for d, v in order.items())}): too many "
            "would be missing; is the pattern right?"
        )
    files = np.empty([len(order[dim]) for dim in dims], object)
    at = {dim: {key: i for i, (key, _) in enumerate(order[dim])} for dim in dims}
    for number, path in enumerate(paths):
        place = tuple(at[dim][keys[dim][number][0]] for dim in dims)
        if files[place] is not None:
            raise ValueError(
                f"{files[place]} and {path} are the same frame and channel by their names"
            )
        files[place] = path
    grid = FileGrid(
        dims=dims,
        labels={dim: tuple(text for _, text in order[dim]) for dim in dims},
        files=files,
        wells=_wells(order["P"]) if "W" in names else None,
    )
    _refuse_gaps(grid, fill_missing=fill_missing)
    return grid


def _refuse_gaps(grid: FileGrid, *, fill_missing: bool) -> None:
    empty = _empty(grid.files)
    count = len(empty[0]) if empty else 0
    if not count or fill_missing:
        return
    some = itertools.islice(zip(*empty, strict=True), _SOME)
    words = "; ".join(grid.words(place) for place in some)
    raise ValueError(
        f"{count} of {grid.files.size} files are missing: {words}"
        f"{'; ...' if count > _SOME else ''}. fill_missing=True (--fill-missing) stores "
        "zeros in their place"
    )


def _empty(files: NDArray[np.object_]) -> tuple[NDArray[np.int64], ...]:
    return np.nonzero(
        np.frompyfunc(lambda path: path is None, 1, 1)(files).astype(bool)
    )


def _keys(dim: str, told: Sequence[Mapping[str, str]]) -> list[tuple[Value, str]]:
    """Return for each file what sorts its place along a dim, and how it is called."""
    if dim != "P":
        texts = [values[dim] for values in told]
        return list(zip(_comparable(texts), texts, strict=True))
    parts = []
    for name in ("W", "F", "P"):
        if any(name in values for values in told):
            texts = [values[name] for values in told]
            if name == "W":
                texts = [canonical_well(text) for text in texts]
                parts.append([(parse_well(text), text) for text in texts])
            else:
                parts.append(list(zip(_comparable(texts), texts, strict=True)))
    return [
        (tuple(key for key, _ in place), " ".join(text for _, text in place))
        for place in zip(*parts, strict=True)
    ]


def _comparable(texts: Sequence[str]) -> list[Value]:
    if all(text.isdecimal() for text in texts):
        return [(int(text),) for text in texts]
    return [(*natural_key(text), (2, 0, text)) for text in texts]


def _ordered(dim: str, keys: Sequence[tuple[Value, str]]) -> list[tuple[Value, str]]:
    """Return what is along a dim, in order and with what is missing."""
    found: dict[Value, str] = {}
    for key, text in keys:
        found.setdefault(key, text)
    order = sorted(found.items())
    if dim not in {"T", "Z"} or not all(text.isdecimal() for text in found.values()):
        return order
    numbers = [key[0] for key, _ in order]
    step = math.gcd(*(b - a for a, b in itertools.pairwise(numbers))) or 1
    count = (numbers[-1] - numbers[0]) // step + 1
    if count > _FEW + 10 * len(keys):
        raise ValueError(
            f"along {dim} there are {len(numbers)} numbers from {numbers[0]} to "
            f"{numbers[-1]}: too many would be missing; is the pattern right?"
        )
    width = max(len(text) for text in found.values())
    return [
        ((number,), found.get((number,)) or str(number).zfill(width))
        for number in range(numbers[0], numbers[-1] + 1, step)
    ]


def _wells(positions: Sequence[tuple[Value, str]]) -> tuple[str, ...]:
    return tuple(text.partition(" ")[0] for _, text in positions)
