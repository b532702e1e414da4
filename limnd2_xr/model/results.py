"""What the companion ``.h5`` says of analysis results (FORMAT 12.1 [1S, vendor reader]).

Here are the attributes of recipes, tables and columns; reading the file is the business
of the layer above. An HDF5 attribute may be a text, bytes, a number or an array of one
of them, whatever wrote it, so values are taken as what they can be read as.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "ATTRIBUTES",
    "ColumnInfo",
    "RecipeRun",
    "TableInfo",
    "attribute_text",
    "parse_column_info",
    "parse_recipe_run",
    "parse_table_info",
    "unique_titles",
]

ATTRIBUTES: Final = (
    "Object",
    "Id",
    "Metadata",
    "NullValue",
    "Creation_time",
    "Application_name",
    "Application_version",
    "Application_build_number",
    "Username",
    "GA3_recipe_hash",
)
"""Names of the attributes that say something of recipes, tables and columns."""

_UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNIX_EPOCH_JULIAN: Final = 2440587.5
_LATEST_JULIAN: Final = 1e7
"""Larger times are seconds since 1970; as Julian day this is the year 22666."""
_DAY_S: Final = 86400.0
_NAME_PREFIX: Final = 11
"""Characters before the title in the name of a column's dataset."""
_NULL: Final = -1
_INTEGER: Final = "int"
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeRun:
    """One run of an analysis recipe."""

    created_s: float | None = None
    """When it ran, seconds since 1970 UTC; None if not said."""
    application: str = ""
    """Program that ran it."""
    version: str = ""
    """Version of the program."""
    build: str = ""
    """Build of the program."""
    user: str = ""
    """Who ran it."""
    recipe_hash: str = ""
    """Digest of the recipe."""

    @property
    def created(self) -> str:
        """When it ran, ISO 8601 in UTC; ``""`` if not said."""
        if self.created_s is None:
            return ""
        try:
            moment = _UNIX_EPOCH + timedelta(seconds=self.created_s)
        except OverflowError:
            return ""
        return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class TableInfo:
    """Description of one table."""

    id: str = ""
    """Identifier."""
    title: str = ""
    """Name that the user sees, where there is one."""
    flags: tuple[str, ...] = ()
    """What the program uses it for, e.g. ``main-left``, ``result``."""
    metadata: str = ""
    """All that is said of it, JSON as stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnInfo:
    """Description of one column of a table."""

    id: str = ""
    """Identifier."""
    title: str = ""
    """Name that the user sees."""
    declared: str = ""
    """Declared type: ``int``, ``double`` or ``QString``."""
    null: int | None = None
    """Whole number that stands for no value; None if none does."""
    feature: str = ""
    """What it holds, e.g. ``jsonRuntimeState``."""
    metadata: str = ""
    """All that is said of it, JSON as stored."""


def parse_recipe_run(attributes: Mapping[str, object]) -> RecipeRun:
    """Return what the attributes of a variant of a result say.

    Examples
    --------
    >>> run = parse_recipe_run({"Creation_time": 2460742.25, "Username": b"me"})
    >>> run.created, run.user
    ('2025-03-07T18:00:00Z', 'me')
    """
    return RecipeRun(
        created_s=_seconds(attributes.get("Creation_time")),
        application=attribute_text(attributes.get("Application_name")),
        version=attribute_text(attributes.get("Application_version")),
        build=attribute_text(attributes.get("Application_build_number")),
        user=attribute_text(attributes.get("Username")),
        recipe_hash=attribute_text(attributes.get("GA3_recipe_hash")),
    )


def parse_table_info(attributes: Mapping[str, object]) -> TableInfo:
    """Return what the attributes of a table say.

    Raises
    ------
    CorruptChunk
        If its metadata are no JSON object.
    """
    metadata = attribute_text(attributes.get("Metadata"))
    found = _json_object(metadata)
    flags = found.get("_systemFlags")
    return TableInfo(
        id=attribute_text(attributes.get("Id")),
        title=_text(found.get("title")),
        flags=tuple(_text(flag) for flag in flags if isinstance(flag, str))
        if isinstance(flags, list)
        else (),
        metadata=metadata,
    )


def parse_column_info(attributes: Mapping[str, object], name: str) -> ColumnInfo:
    """Return what the attributes of a column say.

    Parameters
    ----------
    attributes
        Of its dataset.
    name
        Of its dataset, which ends in the title.

    Raises
    ------
    CorruptChunk
        If its metadata are no JSON object.

    Examples
    --------
    >>> info = parse_column_info({"Metadata": '{"decltype": "int"}'}, "0000000003_Area")
    >>> info.title, info.declared, info.null
    ('Area', 'int', -1)
    """
    metadata = attribute_text(attributes.get("Metadata"))
    found = _json_object(metadata)
    declared = _text(found.get("decltype"))
    null = _whole(attributes.get("NullValue"))
    if null is None and declared == _INTEGER:
        null = _NULL
    title = _text(found.get("title")) or name[_NAME_PREFIX:] or name
    return ColumnInfo(
        id=attribute_text(attributes.get("Id")),
        title=title,
        declared=declared,
        null=null,
        feature=_text(found.get("feature")),
        metadata=metadata,
    )


def unique_titles(titles: Iterable[str]) -> list[str]:
    """Return names of variables: the titles, without slashes, each once.

    Parameters
    ----------
    titles
        Of the columns of a table.

    Examples
    --------
    >>> unique_titles(["Area", "Mean/Area", "Area", ""])
    ['Area', 'Mean_Area', 'Area (2)', 'column']
    """
    taken: set[str] = set()
    found = []
    for title in titles:
        name = base = title.replace("/", "_") or "column"  # a slash is a group
        count = 1
        while name in taken:
            count += 1
            name = f"{base} ({count})"
        taken.add(name)
        found.append(name)
    return found


def attribute_text(value: object) -> str:
    """Return an attribute as text; ``""`` where it is none.

    Examples
    --------
    >>> attribute_text(np.bytes_(b"Table")), attribute_text(np.array(["a"], object))
    ('Table', 'a')
    """
    value = _single(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return _text(value)


def _single(value: object) -> object:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value.item() if isinstance(value, np.generic) else value


def _text(value: object) -> str:
    return _HALF_PAIR.sub("\ufffd", value) if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    value = _single(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _seconds(value: object) -> float | None:
    value = _single(value)
    if type(value) not in {int, float}:
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        return None
    if not math.isfinite(number):
        return None
    if abs(number) < _LATEST_JULIAN:
        # Microseconds are what a Julian day can tell.
        return round((number - _UNIX_EPOCH_JULIAN) * _DAY_S, 4)
    return number


def _json_object(source: str) -> dict[str, Any]:
    if not source:
        return {}
    try:
        found = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise CorruptChunk(f"its metadata are no JSON: {error}") from None
    if not isinstance(found, dict):
        raise CorruptChunk("its metadata are no JSON object")
    return found
