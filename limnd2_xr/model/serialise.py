"""Model objects as JSON and back, driven by their type hints.

Dataclasses become objects with the fields that differ from their defaults; members of
a union of dataclasses carry their class name. JSON has no NaN or infinity, so those
are written as texts.
"""

from __future__ import annotations

import json
import math
import types
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as _type_hints

from limnd2_xr.errors import CorruptChunk

__all__ = ["SCHEMA", "from_json", "from_plain", "to_json", "to_plain"]

SCHEMA: Final = 1
"""Version of the JSON layout."""

_NONE: Final = object()
_T = TypeVar("_T")
_KIND: Final = "kind"
_NOT_FINITE: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def to_json(value: object) -> str:
    """Return a dataclass as compact JSON text with the schema version.

    Examples
    --------
    >>> from limnd2_xr.model.optics import Optics
    >>> to_json(Optics(pixel_size_um=0.5))
    '{"schema":1,"pixel_size_um":0.5}'
    """
    plain = {"schema": SCHEMA, **to_plain(value)}
    return json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def from_json(cls: type[_T], source: str) -> _T:
    """Read an object of type `cls` from the text of `to_json`.

    Raises
    ------
    CorruptChunk
        If the text is no JSON, of another schema, or does not fit the type. It is a
        `ValueError` too.
    """
    try:
        plain = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise CorruptChunk(f"the metadata text is no JSON: {error}") from None
    schema = plain.pop("schema", None) if isinstance(plain, dict) else None
    if schema != SCHEMA:
        raise CorruptChunk(
            f"the metadata text is of schema {schema}; this version reads {SCHEMA}"
        )
    try:
        found: _T = from_plain(cls, plain)
    except (ValueError, OverflowError) as error:
        raise CorruptChunk(f"the metadata text is damaged: {error}") from None
    return found


def to_plain(value: object) -> Any:
    """Nested dicts, lists, numbers and texts of a model object."""
    if is_dataclass(value) and not isinstance(value, type):
        return _object(value)
    if isinstance(value, tuple):
        return [_tagged(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def from_plain(hint: Any, plain: Any) -> Any:
    """Object of the type `hint` from what `to_plain` returned.

    Raises
    ------
    ValueError
        If the value does not fit the type.
    """
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _from_union(get_args(hint), plain)
    if origin is tuple:
        return _from_tuple(get_args(hint), plain)
    if origin is Literal:
        if plain not in get_args(hint):
            raise ValueError(f"{plain!r} is none of {get_args(hint)}")
        return plain
    if is_dataclass(hint):
        return _from_object(hint, plain)
    if hint is float and isinstance(plain, str) and plain in _NOT_FINITE:
        return _NOT_FINITE[plain]
    if hint is float and type(plain) is int:
        return float(plain)
    if type(plain) is not hint:
        raise ValueError(f"{plain!r} is no {getattr(hint, '__name__', hint)}")
    return plain


def _object(value: Any) -> dict[str, Any]:
    plain = {}
    cls: Any = type(value)
    for name, default in _defaults(cls):
        held = getattr(value, name)
        # by text too: -0.0 is not 0.0, 1 is not True
        if held is default or (held == default and repr(held) == repr(default)):
            continue
        plain[name] = to_plain(held)
    return plain


@cache
def _defaults(cls: Any) -> tuple[tuple[str, object], ...]:
    """Name and default of each field; one that equals nothing where there is none."""
    return tuple((item.name, _default(item)) for item in fields(cls))


def _default(item: Field[Any]) -> object:
    if item.default_factory is not MISSING:
        return item.default_factory()
    return _NONE if item.default is MISSING else item.default


def _tagged(value: object) -> Any:
    plain = to_plain(value)
    if isinstance(plain, dict) and type(value).__name__ in _tagged_names():
        return {_KIND: type(value).__name__, **plain}
    return plain


@cache
def _tagged_names() -> frozenset[str]:
    from limnd2_xr.model.experiment import Loop

    return frozenset(cls.__name__ for cls in get_args(Loop))


@cache
def _hints(cls: type) -> dict[str, Any]:
    return _type_hints(cls)


def _from_object(cls: Any, plain: Any) -> Any:
    if not isinstance(plain, dict):
        raise ValueError(f"{plain!r} is no {cls.__name__}")  # noqa: TRY004
    hints = _hints(cls)
    unknown = plain.keys() - {name for name, _ in _defaults(cls)}
    if unknown:
        raise ValueError(f"{cls.__name__} has no field {min(unknown)!r}")
    held = {name: from_plain(hints[name], value) for name, value in plain.items()}
    try:
        return cls(**held)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _from_union(options: tuple[Any, ...], plain: Any) -> Any:
    if plain is None and types.NoneType in options:
        return None
    rest = [option for option in options if option is not types.NoneType]
    if len(rest) == 1:
        return from_plain(rest[0], plain)
    if not isinstance(plain, dict):
        return _from_scalars(rest, plain)
    kind = plain.get(_KIND)
    for option in rest:
        if option.__name__ == kind:
            return from_plain(option, {k: v for k, v in plain.items() if k != _KIND})
    raise ValueError(f"{kind!r} is no known kind")


def _from_scalars(options: list[Any], plain: Any) -> Any:
    """Value of the first option that it fits: a known word, else its code."""
    for option in options:
        if not is_dataclass(option):
            try:
                return from_plain(option, plain)
            except ValueError:
                continue
    raise ValueError(f"{plain!r} names no kind")


def _from_tuple(items: tuple[Any, ...], plain: Any) -> tuple[Any, ...]:
    if not isinstance(plain, list):
        raise ValueError(f"{plain!r} is no list")  # noqa: TRY004
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(from_plain(items[0], value) for value in plain)
    if len(items) != len(plain):
        raise ValueError(f"{len(plain)} values where {len(items)} belong")
    return tuple(from_plain(h, v) for h, v in zip(items, plain, strict=True))
