"""Form that a laboratory fills in for its images (FORMAT 9.4).

All field names are the vendor's reader's [1S]; only empty forms were seen in files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import numpy as np

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.comparison import same
from limnd2_xr.model.fields import flag, integer, real
from limnd2_xr.model.matching import matched_parts
from limnd2_xr.model.spelling import exact_text
from limnd2_xr.model.tree_building import (
    boolean,
    f64,
    i32,
    i64,
    listed,
    nested,
    string,
    struct,
    u32,
    whole,
)
from limnd2_xr.model.tree_editing import merged, with_fields
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    from limnd2_xr.model.tree_building import Field

__all__ = [
    "DESCRIPTION_CHUNK",
    "ITEM_KINDS",
    "CustomDescription",
    "DescriptionItem",
    "ItemKind",
    "custom_description_tree",
    "parse_custom_description",
]

DESCRIPTION_CHUNK: Final = "CustomData|CustomDescriptionV1_0!"
"""Chunk of the form; NIS-Elements stores it as a compressed document."""

ItemKind: TypeAlias = Literal[
    "unknown", "check", "number", "text", "selection", "long text", "date"
]
"""What an item of the form asks for."""
ITEM_KINDS: Final[tuple[ItemKind, ...]] = get_args(ItemKind)
"""Kinds by their stored code."""

_STRUCT: Final = "CLxCustomDescription"
_ITEM: Final = "CLxItem"
_TEXT_ITEM: Final = "CLxText"
_TEXTS: Final = ("text", "long text")
_PLACES: Final = 3
_SHOWN_PLACES: Final = 17  # more say nothing about a float64
_MAX_MS: Final = 2**62
_FIELDS: Final[dict[ItemKind | int, tuple[str, str]]] = {
    "check": ("iCheck", "iDefault"),
    "number": ("dValue", "dDefault"),
    "text": ("sText", "sDefault"),
    "selection": ("iSelection", "iDefault"),
    "long text": ("sText", "sDefault"),
    "date": ("aDate", "aDefault"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DescriptionItem:
    """One question of the form, and its answer.

    Examples
    --------
    >>> item = DescriptionItem(
    ...     kind="selection", name="Medium", value=1, labels=("air", "oil")
    ... )
    >>> item.shown
    'oil'
    """

    kind: ItemKind | int = "text"
    """What it asks for; a number for an unknown code."""
    id: int = 0
    """Number of the item."""
    name: str = ""
    """Question."""
    description: str = ""
    """Explanation of the question."""
    value: float | None = None
    """Answer: 0 or 1 of a check, a number, the place of the chosen label, or
    milliseconds since 1970 of a date; None for texts, and where only the default is
    stored."""
    default: float | None = None
    """Answer that the form begins with."""
    text: str | None = None
    """Answer of a text; None where only the default is stored."""
    default_text: str | None = None
    """Text that the form begins with."""
    is_empty: bool = False
    """Whether it was left empty."""
    is_empty_default: bool = False
    """Whether it begins empty."""
    is_mandatory: bool = False
    """Whether it must be answered."""
    is_enabled: bool = True
    """Whether it can be answered."""
    unit: str = ""
    """Unit of a number."""
    number_format: int = 0
    """Whether a number is shown plain (0) or with an exponent (1)."""
    places: int = _PLACES
    """Decimal places of a number."""
    labels: tuple[str, ...] = ()
    """Texts to select from."""
    date_format: int = 0
    """Whether a date is shown with seconds (0), minutes (1) or alone (2)."""

    @property
    def answer(self) -> float | str | None:
        """Value or text, else the default; None if neither is stored."""
        if self.kind in _TEXTS:
            return self.default_text if self.text is None else self.text
        return self.default if self.value is None else self.value

    @property
    def shown(self) -> str:
        """Answer as a text, ``""`` where it was left empty.

        Dates are in the clock of the PC that stored them.

        Examples
        --------
        >>> DescriptionItem(kind="number", value=2.5, places=1, unit="mM").shown
        '2.5 mM'
        >>> DescriptionItem(kind="date", value=0, date_format=2).shown
        '1970-01-01'
        """
        answer = self.answer
        if self.is_empty or answer is None:
            return ""
        if isinstance(answer, str):
            return answer
        if self.kind == "check":
            return "yes" if answer else "no"
        if self.kind == "number":
            style = "e" if self.number_format else "f"
            places = min(self.places, _SHOWN_PLACES)
            return f"{answer:.{places}{style}} {self.unit}".rstrip()
        at = int(answer)
        if self.kind == "selection":
            return self.labels[at] if 0 <= at < len(self.labels) else ""
        if self.kind == "date" and abs(at) < _MAX_MS:
            parts = {0: "s", 1: "m", 2: "D"}
            unit = parts.get(self.date_format, "s")
            return str(np.datetime64(at, "ms").astype(f"datetime64[{unit}]"))
        return str(answer)


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomDescription:
    """A form and its answers."""

    name: str = ""
    """Name of the form."""
    items: tuple[DescriptionItem, ...] = ()
    """Questions in the order of the form."""


def parse_custom_description(level: Level) -> CustomDescription:
    """Form of a decoded ``CustomDescriptionV1_0`` [1S].

    Parameters
    ----------
    level
        ``CLxCustomDescription`` or the root that holds it.

    Raises
    ------
    CorruptChunk
        If a field has the wrong type, or an item is no struct.

    Examples
    --------
    >>> form = CustomDescription(items=(DescriptionItem(name="Sample", text="A7"),))
    >>> parse_custom_description(custom_description_tree(form)) == form
    True
    """
    content = _content(level)
    return CustomDescription(
        name=exact_text(content, "sName"),
        items=tuple(map(_item, _stored_items(content))),
    )


def custom_description_tree(
    form: CustomDescription, base: Level | None = None
) -> Level:
    """Root of ``CustomDescriptionV1_0``; to be encoded as a compressed document.

    Parameters
    ----------
    form
        What to store.
    base
        Root of the source: what else it says stays. Itself if nothing changes.

    Raises
    ------
    ValueError
        If a value cannot be stored or does not fit the kind of its item.

    Examples
    --------
    >>> custom_description_tree(CustomDescription()).to_plain()
    {'CLxCustomDescription': {'sName': '', 'vData': {}}}
    """
    if base is None:
        trees = [_tree(item) for item in form.items]
        content = struct(string("sName", form.name), nested("vData", listed(trees)))
        return struct(nested(_STRUCT, content))
    before = parse_custom_description(base)
    if same(form, before):
        return base
    content = _content(base)
    stored = _stored_items(content)
    places = matched_parts(
        form.items,
        before.items,
        lambda item: item,
        lambda item: (item.id, item.name, item.kind),
        lambda item: (item.name, item.kind),
    )
    trees = [
        _tree(item) if at is None else _edited(stored[at], before.items[at], item)
        for item, at in zip(form.items, places, strict=True)
    ]
    fields = [nested("vData", listed(trees))] if form.items != before.items else []
    if form.name != before.name:
        fields.append(string("sName", form.name))
    return struct(nested(_STRUCT, with_fields(content, *fields)))


def _content(level: Level) -> Level:
    inner = level.level(_STRUCT)
    return level if inner is None else inner


def _stored_items(content: Level) -> list[Level]:
    found = content.get("vData")
    if found is None:
        return []
    if not isinstance(found, Level) or len(found.levels()) != len(found):
        raise CorruptChunk("vData is no list of items")
    return found.levels()


def _item(stored: Level) -> DescriptionItem:
    inner = stored.level(_TEXT_ITEM)
    fields = stored if inner is None else inner
    item = fields.level(_ITEM, create=True)
    code = integer(item, "eType", 0)
    kind = ITEM_KINDS[code] if 0 <= code < len(ITEM_KINDS) else code
    answers = [_answer(fields, kind, name) for name in _FIELDS.get(kind, ())]
    value, default = answers or (None, None)
    return DescriptionItem(
        kind=kind,
        id=integer(item, "iID", 0),
        name=exact_text(item, "sName"),
        description=exact_text(item, "sDescription"),
        value=None if isinstance(value, str) else value,
        default=None if isinstance(default, str) else default,
        text=value if isinstance(value, str) else None,
        default_text=default if isinstance(default, str) else None,
        is_empty=flag(item, "bEmpty"),
        is_empty_default=flag(item, "bEmptyDefault"),
        is_mandatory=flag(item, "bMandatory"),
        is_enabled=flag(item, "bEnabled"),
        unit=exact_text(fields, "sUnit"),
        number_format=integer(fields, "eFormat", 0),
        places=integer(fields, "uiPlaces", _PLACES),
        labels=_labels(fields),
        date_format=integer(fields, "eDateFormat", 0),
    )


def _answer(fields: Level, kind: ItemKind | int, name: str) -> float | str | None:
    stored = fields.get(name)
    if stored is None:
        return None
    if kind == "number":
        return real(fields, name)
    if kind not in _TEXTS:
        return integer(fields, name)
    if not isinstance(stored, str):
        raise CorruptChunk(f"field {name} is no text")
    return exact_text(fields, name)


def _labels(fields: Level) -> tuple[str, ...]:
    found = fields.level("vLabels", create=True)
    if not all(isinstance(label, str) for label in found.values):
        raise CorruptChunk("a label in vLabels is no text")
    singles = (struct(("", LvType.STRING, label)) for label in found.values)
    return tuple(exact_text(single, "") for single in singles)


def _edited(stored: Level, before: DescriptionItem, item: DescriptionItem) -> Level:
    old, new = _fields(before), _fields(item)
    inner = stored.level(_TEXT_ITEM)
    if inner is None:
        return merged(stored, old, new)
    return with_fields(stored, nested(_TEXT_ITEM, merged(inner, old, new)))


def _tree(item: DescriptionItem) -> Level:
    # A long text is derived from a text, and holds that as a struct [G].
    fields = _fields(item)
    return struct(nested(_TEXT_ITEM, fields)) if item.kind == "long text" else fields


def _fields(item: DescriptionItem) -> Level:
    head = struct(
        whole("eType", _code(item)),
        i32("iID", item.id),
        string("sName", item.name),
        string("sDescription", item.description),
        boolean("bEmpty", item.is_empty),
        boolean("bEmptyDefault", item.is_empty_default),
        boolean("bMandatory", item.is_mandatory),
        boolean("bEnabled", item.is_enabled),
    )
    fields = [nested(_ITEM, head), *_answers(item)]
    is_number = item.kind == "number"
    if is_number or item.unit:
        fields.append(string("sUnit", item.unit))
    if is_number or item.number_format:
        fields.append(whole("eFormat", item.number_format))
    if is_number or item.places != _PLACES:
        fields.append(u32("uiPlaces", item.places))
    if item.kind == "selection" or item.labels:
        labels = struct(*(string("", label) for label in item.labels))
        fields.append(nested("vLabels", labels))
    if item.kind == "date" or item.date_format:
        fields.append(whole("eDateFormat", item.date_format))
    return struct(*fields)


def _answers(item: DescriptionItem) -> list[Field]:
    is_text = item.kind in _TEXTS
    texts, numbers = (item.text, item.default_text), (item.value, item.default)
    given, other = (texts, numbers) if is_text else (numbers, texts)
    names = _FIELDS.get(item.kind)
    if other != (None, None) or (names is None and given != (None, None)):
        raise ValueError(
            f"item {item.name!r} of kind {item.kind!r} has an answer of another kind"
        )
    pairs = zip(names or (), given, strict=names is not None)
    return [_stored(item, name, value) for name, value in pairs if value is not None]


def _stored(item: DescriptionItem, name: str, value: float | str) -> Field:
    if isinstance(value, str):
        return string(name, value)
    if item.kind == "number":
        return f64(name, value)
    if not float(value).is_integer():
        raise ValueError(f"item {item.name!r} is a {item.kind}, not {value!r}")
    return (i64 if item.kind == "date" else i32)(name, int(value))


def _code(item: DescriptionItem) -> int:
    if isinstance(item.kind, int):
        return item.kind
    if item.kind not in ITEM_KINDS:
        raise ValueError(f"item {item.name!r} is of unknown kind {item.kind!r}")
    return ITEM_KINDS.index(item.kind)
