"""Recorded columns of any kind, and the table of frames and events (FORMAT 9.2, 9.3)."""

from __future__ import annotations

import math
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.experiment import XYPositionLoop, ZStackLoop
from limnd2_xr.model.records import TEXT_SLOT_NBYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.events import Event
    from limnd2_xr.model.experiment import Loop
    from limnd2_xr.model.records import RecordedColumn

__all__ = [
    "EVENTS_TITLE",
    "TIME_TITLE",
    "by_sequence",
    "column_chunk",
    "column_titles",
    "decode_recorded",
    "on_axes",
    "recorded_table",
]

TIME_TITLE: Final = "Time [s]"
"""Title of the times in a table."""
EVENTS_TITLE: Final = "Events"
"""Title of the texts of events in a table."""

_UNKNOWN_MS: Final = -1.0
_EXACT: Final = 2**53  # whole numbers up to here are exact in float64
_BYTE_ORDER_MARK: Final = 0xFEFF


def column_chunk(id_: str) -> str:
    """Name of the chunk that holds the values of a column.

    Examples
    --------
    >>> column_chunk("PFS_STATUS")
    'CustomData|PFS_STATUS!'
    """
    return f"CustomData|{id_}!"


def column_titles(
    columns: Iterable[RecordedColumn], taken: Iterable[str] = ()
) -> dict[str, str]:
    """Title of each column in a table, by its ID; each is there once.

    The description, else the ID, and the unit in brackets. Where columns share a title
    the ID tells them apart.

    Parameters
    ----------
    columns
        Descriptions.
    taken
        Titles that other columns of the table have.

    Examples
    --------
    >>> from limnd2_xr.model.records import RecordedColumn
    >>> columns = [
    ...     RecordedColumn(id="Z1", description="Z", unit="um"),
    ...     RecordedColumn(id="Z2", description="Z", unit="um"),
    ... ]
    >>> column_titles(columns)
    {'Z1': 'Z [um]', 'Z2': 'Z2 [um]'}
    """
    titles: dict[str, str] = {}
    used = set(taken)
    for column in columns:
        unit = f" [{column.unit}]" if column.unit.strip() else ""
        name = column.description or column.id
        names = chain(
            (name, column.id),
            (f"{name} ({column.id}{'-' * i})" for i in count()),
        )
        title = next(choice + unit for choice in names if choice + unit not in used)
        if column.id not in titles:
            used.add(title)
            titles[column.id] = title
    return titles


def decode_recorded(
    data: bytes, column: RecordedColumn | None, frames: int
) -> npt.NDArray[Any]:
    r"""Values of a column in a dtype of their own.

    float64 or float32, int32 or int64, or texts (``<U``). The size of an item follows
    from the bytes and the number of values (oddity 29); texts have slots of one size
    (FORMAT 9.3) and end at the first NUL. Columns of unknown kind are numbers.

    Parameters
    ----------
    data
        Payload of the column's chunk.
    column
        Its description, None if the file has none.
    frames
        Number of values to expect where the description does not say.

    Raises
    ------
    CorruptChunk
        If the bytes are no whole number of values.

    Examples
    --------
    >>> from limnd2_xr.model.records import RecordedColumn
    >>> column = RecordedColumn(id="Who", kind="string", size=2)
    >>> decode_recorded("me\0\0you\0".encode("utf-16-le"), column, 2)
    array(['me', 'you'], dtype='<U3')
    """
    size = column.size if column is not None and column.size else frames
    item, rest = divmod(len(data), size) if size else (0, 0)
    if column is not None and column.kind == "string":
        return _texts(data, item if item % 2 == 0 and not rest else 0)
    if rest or item not in (4, 8):
        # a column cut or longer than said: 8 bytes are the rule
        item = 4 if len(data) % 8 else 8
    if len(data) % item:
        raise CorruptChunk(f"{len(data)} bytes are no whole number of values")
    whole = column is not None and column.kind == "int"
    found = np.frombuffer(data, f"<{'i' if whole else 'f'}{item}")
    return found.astype(found.dtype.newbyteorder("="))


def _texts(data: bytes, slot: int) -> npt.NDArray[np.str_]:
    slot = slot or TEXT_SLOT_NBYTES
    if len(data) % slot:
        raise CorruptChunk(f"{len(data)} bytes are no whole number of texts")
    if not data:
        return np.empty(0, "<U1")
    units = np.frombuffer(data, "<u2").reshape(-1, slot // 2)
    ends = units == 0
    length = np.where(ends.any(axis=1), ends.argmax(axis=1), units.shape[1])
    kept = np.arange(units.shape[1]) < length[:, np.newaxis]
    units = np.where(kept, units, 0)[:, : max(int(length.max()), 1)]
    if ((units & 0xF800) == 0xD800).any() or (units[:, 0] == _BYTE_ORDER_MARK).any():
        texts = [
            row[:n].tobytes().decode("utf-16-le", "replace").removeprefix("\ufeff")
            for row, n in zip(units, length.tolist(), strict=True)
        ]
        return np.array(texts)
    wide = np.ascontiguousarray(units, np.uint32)
    return wide.view(f"=U{wide.shape[1]}")[:, 0]


def on_axes(values: npt.NDArray[Any], axes: Axes) -> npt.NDArray[Any]:
    """Values by frame number brought to `axes.shape`.

    Frames that have no value become NaN, which makes whole numbers float64, or ``""``.

    Parameters
    ----------
    values
        One a frame, by frame number; may be fewer than there are frames.
    axes
        Loop dims of the file.

    Examples
    --------
    >>> from limnd2_xr.model.axes import Axes
    >>> on_axes(np.array([1, 2, 3]), Axes(nesting=(("T", 2), ("Z", 2))))
    array([[ 1.,  2.],
           [ 3., nan]])
    """
    numbers = axes.sequence()
    known = numbers < len(values)
    if known.all():
        return np.asarray(values[numbers])
    if values.dtype.kind in "iub":
        values = _widened(values)
    empty = math.nan if values.dtype.kind in "fO" else ""
    found = np.full(numbers.shape, empty, values.dtype)
    found[known] = values[numbers[known]]
    return found


def by_sequence(values: npt.NDArray[Any], axes: Axes) -> npt.NDArray[Any]:
    """Values of shape `axes.shape` by frame number: the inverse of `on_axes`.

    Examples
    --------
    >>> from limnd2_xr.model.axes import Axes
    >>> by_sequence(np.array([["a", "b"]]).T, Axes(nesting=(("Z", 1), ("T", 2))))
    array(['a', 'b'], dtype='<U1')
    """
    found = np.empty(axes.n_frames, values.dtype)
    found[axes.sequence()] = values
    return found


def recorded_table(
    document: Nd2Document,
    axes: Axes,
    *,
    times_ms: npt.NDArray[np.float64] | None = None,
    columns: Mapping[str, npt.NDArray[Any]] | None = None,
    events: Sequence[Event] = (),
    null: Any = math.nan,
) -> dict[str, npt.NDArray[Any]]:
    """Table of what was recorded: a row a frame and a row an event, by time.

    Columns: time in seconds, frame number, index along each dim, names of positions,
    Z relative to the home position, the recorded columns in file order under their
    `column_titles`, and last, if there are events, their texts. That is what nd2 gives
    as ``events(orient="list")``.

    Parameters
    ----------
    document
        Metadata of the file.
    axes
        Its loop dims.
    times_ms
        Milliseconds by frame number, None if the file has no times; -1 and NaN are
        unknown.
    columns
        Values of each recorded column by its ID; those that `document` does not
        describe are left out.
    events
        Events.
    null
        What stands for a value that is not known. If NaN, numbers with gaps are
        float64; otherwise columns with gaps are of dtype object.

    Returns
    -------
    dict
        Arrays of one length by title.

    Examples
    --------
    >>> from limnd2_xr.model.attributes import Attributes
    >>> from limnd2_xr.model.axes import Axes
    >>> from limnd2_xr.model.document import Nd2Document
    >>> from limnd2_xr.model.events import Event
    >>> document = Nd2Document(
    ...     attributes=Attributes(
    ...         width=1,
    ...         height=1,
    ...         components=1,
    ...         bits_in_memory=8,
    ...         bits_significant=8,
    ...         row_nbytes=4,
    ...         sequence_count=2,
    ...     )
    ... )
    >>> table = recorded_table(
    ...     document,
    ...     Axes(nesting=(("T", 2),)),
    ...     times_ms=np.array([0.0, 1000.0]),
    ...     events=[Event(time_ms=500.0, meaning=33)],
    ... )
    >>> for title, values in table.items():
    ...     print(title, values.tolist())
    Time [s] [0.0, 0.5, 1.0]
    Index [0.0, nan, 1.0]
    T Index [0.0, nan, 1.0]
    Events [nan, 'User 1', nan]
    """
    n = axes.n_frames
    table: dict[str, npt.NDArray[Any]] = {}
    times = _seconds(times_ms, n)
    if times is not None:
        table[TIME_TITLE] = times
    table |= _frame_columns(document.experiment.loops, axes)
    values = columns or {}
    for id_, title in column_titles(document.recorded_columns, table).items():
        if id_ in values:
            table[title] = values[id_][:n]
    frames, rows = np.arange(n), n
    if events:
        happened = np.array([event.time_s for event in events])
        order = np.argsort(np.concatenate((_rising(times, n), happened)), kind="stable")
        places = np.argsort(order)
        frames, rows = places[:n], n + len(events)
        table = {TIME_TITLE: np.full(n, math.nan), **table}
    found = {
        title: _with_gaps(values, frames[: len(values)], rows, null)
        for title, values in table.items()
    }
    if events:
        texts = np.array([event.text for event in events], np.object_)
        found[TIME_TITLE][places[n:]] = happened
        found[EVENTS_TITLE] = _with_gaps(texts, places[n:], rows, null)
    return found


def _seconds(
    times_ms: npt.NDArray[np.float64] | None, n: int
) -> npt.NDArray[np.float64] | None:
    if times_ms is None:
        return None
    seconds = np.full(n, math.nan)
    known = np.asarray(times_ms, np.float64)[:n]
    seconds[: len(known)] = np.where(known == _UNKNOWN_MS, math.nan, known / 1000.0)
    return seconds


def _rising(times: npt.NDArray[np.float64] | None, n: int) -> npt.NDArray[np.float64]:
    """Return times to sort by: a frame without one stays behind the frame before it."""
    if times is None:
        return np.zeros(n)
    last = np.where(np.isnan(times), 0, np.arange(n))
    filled = times[np.maximum.accumulate(last)]
    return np.where(np.isnan(filled), -math.inf, filled)


def _frame_columns(loops: Sequence[Loop], axes: Axes) -> dict[str, npt.NDArray[Any]]:
    n = axes.n_frames
    found: dict[str, npt.NDArray[Any]] = {"Index": np.arange(n)}
    counts = [count for _, count in axes.nesting]
    indices = np.unravel_index(np.arange(n), counts) if counts else ()
    for dim in axes.file_order:
        total = np.zeros(n, np.int64)
        for place in axes.loops_along(dim):
            total = total * counts[place] + indices[place]
        found[f"{dim} Index"] = total
    for place, index in enumerate(indices):
        loop = axes.loop(place, loops)
        if isinstance(loop, XYPositionLoop):
            names = [point.name for point in loop.points[: counts[place]]]
            names += [""] * (counts[place] - len(names))
            found["Position Name"] = np.array(names)[index]
        elif isinstance(loop, ZStackLoop):
            steps = np.arange(loop.count) - loop.home_index
            slices = steps if loop.bottom_to_top else steps[::-1]
            found["Z-Series"] = (loop.step_um * slices)[index]
    return found


def _with_gaps(
    values: npt.NDArray[Any], rows: npt.NDArray[np.intp], total: int, null: Any
) -> npt.NDArray[Any]:
    """Values in their rows of a column; as they are if they fill it."""
    if len(values) == total:
        found = np.empty(total, values.dtype)
    elif values.dtype.kind in "fiub" and isinstance(null, float) and math.isnan(null):
        values = _widened(values)
        found = np.full(total, math.nan, values.dtype)
    else:
        found = np.full(total, null, np.object_)
        values = np.array(values.tolist(), np.object_)
    found[rows] = values
    return found


def _widened(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return numbers in a dtype that has NaN, too, and holds them exactly."""
    if values.dtype.kind in "iu" and len(values):
        span = int(values.min()), int(values.max())
        if not -_EXACT <= span[0] <= span[1] <= _EXACT:
            return values.astype(np.object_)
    return values.astype(np.float64)
