"""Recorded columns to be written: read from the group ``recorded``, described, encoded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.arrays.tables import variable_name
from limnd2_xr.arrays.units import in_unit
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.document import RECORD_CHUNKS
from limnd2_xr.model.raw import FRAME_TIMES, FRAMES_CACHE, SECOND_CLOCK
from limnd2_xr.model.recorded import (
    by_sequence,
    column_chunk,
    decode_recorded,
    on_axes,
)
from limnd2_xr.model.records import FrameRecords, RecordedColumn, encode_column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.document import Nd2Document

__all__ = ["DescribedColumns", "columns_from_dataset", "described_columns"]

_STAGE: Final = {name.upper(): name for name in RECORD_CHUNKS}
"""Columns that the metadata know as stage positions, in um."""
_STAGE_NAMES: Final = {variable_name(id_): id_ for id_ in _STAGE}
_CACHES: Final = (FRAME_TIMES, SECOND_CLOCK, FRAMES_CACHE)
_DEVICE: Final = 1
_RENAMED: Final = "column_"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedColumns:
    """What a file says with some columns."""

    document: Nd2Document
    """Its metadata, which describe them."""
    records: FrameRecords
    """Where the stage was, with those columns that say it."""
    payloads: dict[str, bytes] = field(default_factory=dict)
    """Values of the other columns by chunk name: those given, whether new or not."""
    removed: tuple[str, ...] = ()
    """Chunks of columns that are described no more."""


def columns_from_dataset(dataset: xr.Dataset) -> dict[str, xr.DataArray]:
    """Columns of a dataset such as the group ``recorded``, by their ID.

    The attribute ``id`` is the ID, without it the name of the variable: ``stage_z`` is
    that of column ``Z``, ``column_T`` that of ``T``.

    Parameters
    ----------
    dataset
        Variables over the loop dims.

    Raises
    ------
    ValueError
        If two variables have one ID.

    Examples
    --------
    >>> ds = xr.Dataset({"stage_z": ("T", [1.0, 2.0]), "PFS": ("T", [0, 1])})
    >>> list(columns_from_dataset(ds))
    ['Z', 'PFS']
    """
    found: dict[str, xr.DataArray] = {}
    for name, values in dataset.data_vars.items():
        text = str(name)
        plain = text.removeprefix(_RENAMED)
        if plain == text or variable_name(plain) != text:
            plain = _STAGE_NAMES.get(text, text)
        id_ = str(values.attrs.get("id", plain))
        if id_ in found:
            raise ValueError(f"two variables are the recorded column {id_}")
        found[id_] = values
    return found


def described_columns(
    document: Nd2Document,
    records: FrameRecords,
    axes: Axes,
    columns: Mapping[str, xr.DataArray | ArrayLike] | xr.Dataset,
    *,
    stored: Callable[[str], bytes | None] = lambda _: None,
    exact: bool = False,
) -> DescribedColumns:
    """Describe recorded columns in the metadata of a file, and encode their values.

    Parameters
    ----------
    document, records
        What the file says so far.
    axes
        Its loops.
    columns
        Values by ID: one number or text a frame, in the order of the frame numbers, or
        an array over the loop dims, whose attributes ``units``, ``long_name`` and
        ``group`` describe it; or a dataset such as the group ``recorded``. ``X``, ``Y``, ``Z``, ``Z1`` and ``Z2`` are where the stage
        was, in um unless they state another unit; they become part of the records.
    stored
        Returns the payload of a chunk, one value for each of these frames, None
        without. A column that holds the same keeps payload and kind.
    exact
        Whether there are no other columns than these. Where the stage was stays.

    Raises
    ------
    ValueError
        If a column has not one value a frame, its values cannot be stored, or its ID is
        that of another chunk.

    Examples
    --------
    >>> from limnd2_xr.arrays.dataset import open_state
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> spec = SyntheticSpec(loops=(TimeLoop(2),), width=8, height=6)
    >>> state = open_state(build(spec).data)
    >>> found = described_columns(
    ...     state.document, state.records, state.axes, {"PFS": [0, 1]}
    ... )
    >>> found.document.recorded_columns[-1].kind, list(found.payloads)
    ('int', ['CustomData|PFS!'])
    """
    if isinstance(columns, xr.Dataset):
        columns = columns_from_dataset(columns)
    before = {column.id: column for column in document.recorded_columns}
    described = dict(before)
    payloads: dict[str, bytes] = {}
    for id_, given in columns.items():
        chunk = column_chunk(id_)
        there = stored(chunk)
        if chunk in _CACHES or (there is not None and id_ not in before):
            raise ValueError(f"{id_!r} is no column: the chunk {chunk} is another")
        values = _by_frame(id_, given, axes)
        known = before.get(id_)
        column = _described(id_, given, known, axes.n_frames)
        if id_ in _STAGE:
            values = _micrometres(id_, given, values)
        if (
            known is not None
            and there is not None
            and _holds(there, known, values, axes)
        ):
            described[id_] = replace(column, kind=known.kind, size=known.size)
            if id_ not in _STAGE:
                payloads[chunk] = there
            continue
        kind, payload = encode_column(values, id_)
        described[id_] = replace(column, kind=kind)
        if id_ in _STAGE:
            document = _with_first(document, records, id_, float(values[0]))
            records = replace(records, **{_STAGE[id_]: values})
        else:
            payloads[chunk] = payload
    removed = []
    if exact:
        removed = [id_ for id_ in before if id_ not in columns and id_ not in _STAGE]
    return DescribedColumns(
        document=replace(
            document,
            recorded_columns=tuple(
                column for id_, column in described.items() if id_ not in removed
            ),
        ),
        records=records,
        payloads=payloads,
        removed=tuple(map(column_chunk, removed)),
    )


def _described(
    id_: str,
    given: xr.DataArray | ArrayLike,
    known: RecordedColumn | None,
    n_frames: int,
) -> RecordedColumn:
    """Return the description of a column, of a kind that is yet to be found."""
    if not id_ or "!" in id_ or "|" in id_:
        raise ValueError(f"{id_!r} cannot be the ID of a column")
    unit = "\N{MICRO SIGN}m" if id_ in _STAGE else ""
    column = known or RecordedColumn(
        id=id_, description=id_, unit=unit, group=_DEVICE, size=n_frames
    )
    if isinstance(given, xr.DataArray):
        title = str(given.attrs.get("long_name", column.description))
        if title != id_ or column.description:  # an empty one is shown as the ID
            column = replace(column, description=title)
        group = given.attrs.get("group", column.group)
        if isinstance(group, Integral):
            column = replace(column, group=int(group))
        if id_ not in _STAGE:
            stated = str(given.attrs.get("units", column.unit))
            column = replace(column, unit=stated)
    return replace(column, size=n_frames)


def _by_frame(id_: str, given: xr.DataArray | ArrayLike, axes: Axes) -> NDArray[Any]:
    """Return the values of a column by frame number."""
    if isinstance(given, xr.DataArray):
        found = _by_number(given.rename(id_), axes)
    else:
        found = np.asarray(given)
    if found.dtype.kind == "T":  # texts of any length, as newer stores have them
        found = found.astype(np.str_)
    if found.shape != (axes.n_frames,):
        raise ValueError(
            f"column {id_} has the shape {found.shape}, but the file has {axes.n_frames} "
            "frames"
        )
    return found


def _by_number(values: xr.DataArray, axes: Axes) -> NDArray[Any]:
    """Bring an array over loop dims to the order of the frame numbers."""
    strange = set(values.dims) - set(axes.dims)
    if strange:
        raise ValueError(
            f"column {values.name} runs along {', '.join(map(str, strange))}, but the loops "
            f"of the file are {', '.join(axes.dims) or 'none'}"
        )
    for dim, length in zip(axes.dims, axes.shape, strict=True):
        if dim in values.dims and values.sizes[dim] != length:
            raise ValueError(
                f"column {values.name} has {values.sizes[dim]} values along {dim}, the "
                f"file {length}"
            )
    template = xr.DataArray(np.empty(axes.shape), dims=axes.dims)
    spread = values.drop_vars(list(values.coords)).broadcast_like(template)
    return by_sequence(spread.transpose(*axes.dims).values, axes)


def _holds(
    payload: bytes, column: RecordedColumn, values: NDArray[Any], axes: Axes
) -> bool:
    """Say whether a stored column reads as these values."""
    try:
        stored = by_sequence(
            on_axes(decode_recorded(payload, column, axes.n_frames), axes), axes
        )
    except CorruptChunk:
        return False
    if _sort(stored) != _sort(values):
        return False
    return np.array_equal(stored, values, equal_nan=stored.dtype.kind == "f")


def _sort(values: NDArray[Any]) -> str:
    sorts = {"i": "whole", "u": "whole", "U": "text", "O": "text"}
    return sorts.get(values.dtype.kind, values.dtype.kind)


def _micrometres(
    id_: str, given: xr.DataArray | ArrayLike, values: NDArray[Any]
) -> NDArray[np.float64]:
    """Return where the stage was, in um."""
    if values.dtype.kind not in "iuf":
        raise ValueError(f"column {id_} holds {values.dtype} values, not numbers")
    attrs = given.attrs if isinstance(given, xr.DataArray) else {}
    return in_unit(xr.DataArray(values, dims="frame", name=id_, attrs=attrs), "um")


def _with_first(
    document: Nd2Document, records: FrameRecords, id_: str, value: float
) -> Nd2Document:
    """Have the position of frame 0, which other readers ask, agree with its column."""
    if id_ not in {"X", "Y", "Z"} or not np.isfinite(value):
        return document
    before = getattr(records, _STAGE[id_])
    if before is not None and before[:1].tolist() == [value]:
        return document
    changed: dict[str, Any] = {f"{id_.lower()}_um": value}
    return replace(document, picture=replace(document.picture, **changed))
