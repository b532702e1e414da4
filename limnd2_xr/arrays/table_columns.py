"""Columns of the tables of ROIs and events: made of plain values, and read again.

A table that was saved, loaded, concatenated or edited holds the same in other dtypes:
texts as objects, whole numbers as floats, and NaN where something is not given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from limnd2_xr.arrays.units import in_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["TableColumns", "text_column", "whole_column"]

_T = TypeVar("_T")
_MOST_NBYTES: Final = 1 << 26
"""Of texts in slots of one size: a single long one must not make all of them large."""
_INT64: Final = 2**63


def text_column(texts: Sequence[str]) -> NDArray[Any]:
    """Return texts as an array: of one size, or as objects if some are much longer.

    Examples
    --------
    >>> text_column(["a", "bc"])
    array(['a', 'bc'], dtype='<U2')
    """
    longest = max(map(len, texts), default=0)
    large = 4 * longest * len(texts) > _MOST_NBYTES
    return np.array(texts, np.object_ if large else np.str_)


def whole_column(numbers: Sequence[int]) -> NDArray[Any]:
    """Return whole numbers as int64; as uint64 or float64 where they do not fit.

    Examples
    --------
    >>> whole_column([1, 2]).dtype, whole_column([2**64 - 1]).dtype
    (dtype('int64'), dtype('uint64'))
    """
    low, high = min(numbers, default=0), max(numbers, default=0)
    if low >= -_INT64 and high < _INT64:
        return np.array(numbers, np.int64)
    if low >= 0 and high < 2 * _INT64:
        return np.array(numbers, np.uint64)
    return np.array(numbers, np.float64)


@dataclass(frozen=True, slots=True)
class TableColumns:
    """A table, read column by column; None stands for what is not given."""

    dataset: xr.Dataset
    """Variables along one dim, or without one for a single row."""
    kind: str
    """What a row is, for messages."""

    @property
    def names(self) -> list[str]:
        """Names of all columns; coordinates along the rows count, others do not.

        A group of a tree has coordinates of the image, too.
        """
        dims = self._dims
        coords = [
            name
            for name, values in self.dataset.coords.items()
            if dims and name not in dims and values.dims == tuple(dims)
        ]
        return [str(name) for name in (*self.dataset.data_vars, *coords)]

    @property
    def n_rows(self) -> int:
        """Number of rows.

        Raises
        ------
        ValueError
            If the dataset is no table.
        """
        dims = self._dims
        if len(dims) > 1:
            raise ValueError(
                f"a table of {self.kind}s has one dim, not {', '.join(map(str, dims))}"
            )
        if not dims:
            return 1 if self.dataset.data_vars else 0
        return int(self.dataset.sizes[dims[0]])

    @property
    def _dims(self) -> list[Any]:
        found = (values.dims for values in self.dataset.data_vars.values())
        return list(dict.fromkeys(dim for dims in found for dim in dims))

    def texts(self, name: str) -> list[str | None]:
        """Return a column of texts.

        Parameters
        ----------
        name
            Of the column; one that is not there is not given in any row.

        Raises
        ------
        ValueError
            If it holds something else.
        """
        return self._each(name, self._text)

    def whole(self, name: str) -> list[int | None]:
        """Return a column of whole numbers, as `texts` does."""
        return self._each(name, self._whole)

    def numbers(self, name: str) -> list[float | None]:
        """Return a column of numbers, as `texts` does."""
        return self._each(name, self._number)

    def seconds(self, name: str) -> NDArray[np.float64] | None:
        """Return times in seconds, whatever their unit is; None without the column.

        NaN is a time, too: one that is not known.
        """
        if name not in self.names:
            return None
        found = np.atleast_1d(in_unit(self.dataset[name], "s"))
        return np.broadcast_to(found, (self.n_rows,))

    def _each(self, name: str, read: Callable[[str, Any], _T]) -> list[_T | None]:
        rows = self.n_rows
        if name not in self.names:
            return [None] * rows
        values: Iterable[Any] = np.atleast_1d(self.dataset[name].values).tolist()
        found = [None if _is_absent(value) else read(name, value) for value in values]
        return found * rows if len(found) < rows else found

    def _text(self, name: str, value: Any) -> str:
        if isinstance(value, str):
            return str(value)
        raise self._error(name, value, "a text")

    def _whole(self, name: str, value: Any) -> int:
        if isinstance(value, (bool, int)):
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        raise self._error(name, value, "a whole number")

    def _number(self, name: str, value: Any) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        raise self._error(name, value, "a number")

    def _error(self, name: str, value: Any, wanted: str) -> ValueError:
        return ValueError(
            f"column {name} of the table of {self.kind}s holds {value!r}, which is not "
            f"{wanted}"
        )


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
