"""`StoredStruct`: dataclasses whose fields are the tags of a metadata tree.

limnd2 shows metadata as it is stored: the attributes of its objects are the names of the
records in the file. A struct here is made from a decoded tree and gives itself back as
one. Tags that its class does not name travel along, so that what was read from one file
and is written to another loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, InitVar, dataclass, field, fields
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from limnd2_xr.model.fields import unwrap
from limnd2_xr.model.modern_trees import lite_tree
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from limnd2_xr.variants.tree import Value

    Choose: TypeAlias = Callable[[Level], "type[StoredStruct]"]

__all__ = ["StoredStruct", "record", "struct", "structs"]

_T = TypeVar("_T")

_PYTHON_TYPES: dict[LvType, tuple[type, ...]] = {
    LvType.BOOL: (bool,),
    LvType.INT32: (int,),
    LvType.UINT32: (int,),
    LvType.INT64: (int,),
    LvType.UINT64: (int,),
    LvType.POINTER: (int,),
    LvType.DOUBLE: (float,),
    LvType.STRING: (str,),
    LvType.BYTES: (bytes,),
}


def record(kind: LvType, default: _T, enum: type[IntEnum] | None = None) -> _T:
    """Declare a field that is one value in the file.

    Parameters
    ----------
    kind
        How a value is stored where the file does not say.
    default
        The field's value where the file lacks it.
    enum
        Names of its values; one without a name stays a number.
    """
    stored: _T = field(default=default, metadata={"kind": kind, "enum": enum})
    return stored


def struct(cls: type[_T] | None = None, *, choose: Choose | None = None) -> _T | None:
    """Declare a field that is a struct itself; None where the file lacks it.

    Parameters
    ----------
    cls
        Class of the struct.
    choose
        From the tree that holds the field to the class of the struct, where that
        depends on its neighbours.
    """
    stored: _T | None = field(default=None, metadata={"struct": cls, "choose": choose})
    return stored


def structs(cls: type[_T] | None = None, name: str = "") -> list[_T]:
    """Declare a field that is a list of structs.

    Parameters
    ----------
    cls
        Class of each; that of the struct itself if none is given.
    name
        How an item is called that was not in the file: ``"a{}"`` is filled with its
        number.
    """
    stored: list[_T] = field(
        default_factory=list, metadata={"items": cls, "item_name": name}
    )
    return stored


@dataclass(frozen=True, kw_only=True)
class StoredStruct(Mapping[str, Any]):
    """Base of structs: made from a tree, given back as one, and read like a mapping."""

    wrapper: ClassVar[str] = ""
    """Name of the record around the struct in a chunk of its own."""
    absent: ClassVar[frozenset[str]] = frozenset()
    """Attributes that are None where the file lacks them, and else as it has them."""

    # What the struct was made from. No field: `asdict` shows what the class names, and
    # `replace`, which takes the values of such arguments from the attribute, keeps it.
    _stored: InitVar[Level | None] = None

    def __post_init__(self, _stored: Level | None) -> None:
        object.__setattr__(self, "_stored", _stored)
        for name, enum in _enums(type(self)):
            with suppress(ValueError):
                object.__setattr__(self, name, enum(getattr(self, name)))

    def _tree(self) -> Level | None:
        """Return what the struct was made from."""
        return self.__dict__.get("_stored")

    @classmethod
    def from_var(cls, tree: Level) -> Self:
        """Return the struct of a decoded tree; its wrapper may be around it.

        Parameters
        ----------
        tree
            A lite variant, or the XML of version 2.
        """
        if any(isinstance(kind, str) for kind in tree.kinds):
            tree = lite_tree(tree)
        if cls.wrapper and cls.wrapper in tree:
            tree = tree.level(cls.wrapper, create=True)
        return cls._of(unwrap(tree))

    @classmethod
    def from_lv(cls, data: bytes | memoryview) -> Self:
        """Return the struct of a metadata chunk.

        Parameters
        ----------
        data
            Payload of the chunk, in either encoding.
        """
        return cls.from_var(decode(data))

    @classmethod
    def _of(cls, tree: Level) -> Self:
        values: dict[str, Any] = {"_stored": tree}
        for entry in _entries(cls):
            if entry.name in tree:
                values[entry.name] = _parsed(cls, entry, tree)
        return cls(**values)

    def to_tree(self) -> Level:
        """Return the struct as a tree: stored tags in their order, then the others."""
        out = Level()
        own = {entry.name: entry for entry in _entries(type(self))}
        stored = self._tree()
        if stored is not None:
            last = {name: at for at, name in enumerate(stored.names)}
            for at, name in enumerate(stored.names):
                if name in own and at == last[name]:  # of repeated ones the last counts
                    _add(out, own[name], getattr(self, name), stored)
                else:
                    out.add(name, stored.kinds[at], stored.values[at])
        for name, entry in own.items():
            value = getattr(self, name)
            if name not in out and (stored is None or value != _default(entry)):
                _add(out, entry, value, None)
        return out

    def to_lv(self) -> bytes:
        """Return the payload of a metadata chunk."""
        tree = self.to_tree()
        if self.wrapper:
            inner, tree = tree, Level()
            tree.add(self.wrapper, LvType.LEVEL, inner)
        return encode(tree)

    def __getitem__(self, name: str) -> Any:
        if name in _names(type(self)):
            return getattr(self, name)
        stored = self._tree()
        if stored is not None:
            return _shown(stored[name])
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        yield from _names(type(self))
        stored = self._tree()
        if stored is not None:
            seen = set(_names(type(self)))
            for name in stored.names:
                if name not in seen:
                    seen.add(name)
                    yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    if not TYPE_CHECKING:  # where it would hide misspelt names

        def __getattr__(self, name: str) -> Any:
            """Return a stored tag that has no field."""
            stored = self._tree()
            if stored is not None and not name.startswith("_") and name in stored:
                return _shown(stored[name])
            if name in type(self).absent:
                return None
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    __hash__ = None  # type: ignore[assignment]


@cache
def _entries(cls: type[StoredStruct]) -> tuple[Field[Any], ...]:
    return tuple(entry for entry in fields(cls) if entry.metadata)


@cache
def _names(cls: type[StoredStruct]) -> tuple[str, ...]:
    return tuple(entry.name for entry in _entries(cls))


@cache
def _enums(cls: type[StoredStruct]) -> tuple[tuple[str, type[IntEnum]], ...]:
    found = ((entry.name, entry.metadata.get("enum")) for entry in _entries(cls))
    return tuple((name, enum) for name, enum in found if enum is not None)


def _default(entry: Field[Any]) -> Any:
    if entry.default_factory is not MISSING:
        return entry.default_factory()
    return entry.default


def _class_in(entry: Field[Any], around: Level) -> type[StoredStruct] | None:
    choose = entry.metadata.get("choose")
    found: type[StoredStruct] | None = entry.metadata.get("struct")
    return choose(around) if choose is not None else found


def _parsed(cls: type[StoredStruct], entry: Field[Any], tree: Level) -> Any:
    """Value of a field; its default where something else is stored under its name."""
    value: Value = tree[entry.name]
    meta = entry.metadata
    if "kind" in meta:
        return _read_as(meta["kind"], value, _default(entry))
    if not isinstance(value, Level):
        return _default(entry)
    if "items" in meta:
        item = meta["items"] or cls
        return [item._of(unwrap(child)) for child in value.levels()]
    inner = _class_in(entry, tree)
    return inner._of(unwrap(value)) if inner is not None else None


def _read_as(kind: LvType, value: Value, default: Any) -> Any:
    """Return a value as its field has it; the default if it is nothing of that kind."""
    if kind is LvType.DOUBLE and isinstance(value, int):
        return float(value)
    if isinstance(value, float) and int in _PYTHON_TYPES[kind] and value.is_integer():
        return int(value)
    if kind is LvType.BOOL and isinstance(value, int):
        return bool(value)
    return value if isinstance(value, _PYTHON_TYPES[kind]) else default


def _add(out: Level, entry: Field[Any], value: Any, stored: Level | None) -> None:
    """Add a field; `stored` is the tree that has it, None if none has."""
    meta = entry.metadata
    if "kind" in meta:
        _add_record(out, entry, value, stored)
        return
    at = _place(stored, entry.name) if stored is not None else 0
    was = stored.values[at] if stored is not None else None
    before = was if isinstance(was, Level) else None
    made: Level | None = None
    if "items" in meta:
        if value or before is not None:
            made = _list(value, before, meta["item_name"])
    elif value is not None:
        made = value.to_tree()
    if made is not None:
        kind = LvType.LEVEL if before is None or stored is None else stored.kinds[at]
        out.add(entry.name, kind, made)
    elif stored is not None and (before is None or _class_in(entry, stored) is None):
        out.add(entry.name, stored.kinds[at], stored.values[at])


def _place(tree: Level, name: str) -> int:
    """Return where a tag is: of repeated ones the last counts."""
    return len(tree.names) - 1 - tree.names[::-1].index(name)


def _add_record(
    out: Level, entry: Field[Any], value: Any, stored: Level | None
) -> None:
    kind: LvType = entry.metadata["kind"]
    if stored is not None:
        at = _place(stored, entry.name)
        found = stored.kinds[at]
        if value in (
            stored.values[at],
            _read_as(kind, stored.values[at], _default(entry)),
        ):
            out.add(entry.name, found, stored.values[at])
            return
        if isinstance(found, int) and isinstance(
            value, _PYTHON_TYPES.get(LvType(found), ())
        ):
            kind = LvType(found)
    if isinstance(value, IntEnum):
        value = value.value
    if value is not None:
        out.add(entry.name, kind, float(value) if kind is LvType.DOUBLE else value)


def _list(items: list[StoredStruct], before: Level | None, name: str) -> Level:
    """Return the level of a list; items keep the names that they had, others stay."""
    out = Level()
    left = list(enumerate(items))
    if before is not None:
        for known, kind, value in zip(
            before.names, before.kinds, before.values, strict=True
        ):
            if not isinstance(value, Level):
                out.add(known, kind, value)
            elif left:
                out.add(known, kind, left.pop(0)[1].to_tree())
    for number, item in left:
        out.add(name.format(number), LvType.LEVEL, item.to_tree())
    return out


def _shown(value: Value) -> Any:
    return value.to_plain() if isinstance(value, Level) else value
