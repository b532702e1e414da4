"""Names of files made from a template and from labels, safe on every system."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = [
    "check_distinct",
    "check_template",
    "file_name",
    "safe_part",
    "template_fields",
]

_UNSAFE: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\ud800-\udfff]')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_MAX_NBYTES: Final = 200
_FORMATTER: Final = string.Formatter()


def safe_part(text: str) -> str:
    """Return a text as part of a file name: what names cannot have becomes ``_``.

    Parameters
    ----------
    text
        A label.

    Examples
    --------
    >>> safe_part("5-FAM/pH 9.0"), safe_part("A:1?"), safe_part("..")
    ('5-FAM_pH 9.0', 'A_1_', '_')
    """
    safe = _UNSAFE.sub("_", text).strip(" ")
    if not safe.strip("."):
        return "_" if safe else ""
    encoded = safe.encode("utf-8")[:_MAX_NBYTES]
    return encoded.decode("utf-8", "ignore")


def template_fields(template: str) -> tuple[str, ...]:
    """Return the fields that a template names.

    Raises
    ------
    ValueError
        If its braces do not match, or a field has no name.

    Examples
    --------
    >>> template_fields("{name}_t{T:03}_{C}.tif")
    ('name', 'T', 'C')
    """
    try:
        parts = list(_FORMATTER.parse(template))
    except ValueError as error:
        raise ValueError(f"template {template!r}: {error}") from None
    names = [name for _, name, _, _ in parts if name is not None]
    for name in names:
        if not name.isidentifier():
            raise ValueError(
                f"template {template!r}: a field has no name, but {name!r}"
            )
    return tuple(names)


def check_template(template: str, known: Iterable[str], needed: Iterable[str]) -> None:
    """Refuse a template that names what is not known, or leaves out what is needed.

    Parameters
    ----------
    template
        Of file names.
    known
        Fields that may be named.
    needed
        Fields without which names would repeat.

    Raises
    ------
    ValueError
        What is wrong, and what to do.
    """
    fields = template_fields(template)
    strange = [field for field in fields if field not in set(known)]
    if strange:
        raise ValueError(
            f"template {template!r} has {', '.join(strange)}; possible are "
            f"{', '.join(known)}"
        )
    lacking = [field for field in needed if field not in fields]
    if lacking:
        more = "".join(f"_{name.lower()}{{{name}}}" for name in lacking)
        raise ValueError(
            f"template {template!r} gives several images the same name: it lacks "
            f"{', '.join(lacking)}, e.g. {more!r}"
        )


def file_name(template: str, values: Mapping[str, Any]) -> str:
    """Return the name that a template gives for some values.

    Parameters
    ----------
    template
        With fields in braces, e.g. ``{name}_t{T:03}.tif``.
    values
        Texts, which are made safe, and whole numbers.

    Raises
    ------
    ValueError
        If a format does not fit a value, or the name is none that a file can have.

    Examples
    --------
    >>> file_name("t{T:03}_{C}.tif", {"T": 7, "C": "a/b"})
    't007_a_b.tif'
    """
    parts = []
    try:
        for text, name, form, conversion in _FORMATTER.parse(template):
            parts.append(text)
            if name is not None:
                value = _FORMATTER.convert_field(values[name], conversion)
                formatted = format(value, form or "")
                parts.append(safe_part(formatted))
    except (ValueError, TypeError) as error:
        raise ValueError(f"template {template!r}: {error}") from None
    found = "".join(parts)
    if _UNSAFE.search(found) or _RESERVED.match(found) or found.endswith((".", " ")):
        raise ValueError(
            f"template {template!r} gives {found!r}, which is no name of a file"
        )
    if not found or len(found.encode("utf-8")) > 255:
        raise ValueError(
            f"template {template!r} gives a name of {len(found)} characters"
        )
    return found


def check_distinct(paths: Iterable[Path]) -> None:
    """Refuse names that repeat, also where only case differs.

    Raises
    ------
    ValueError
        With the first that repeats.
    """
    seen: dict[str, Path] = {}
    for path in paths:
        key = str(path).casefold()
        if key in seen:
            raise ValueError(
                f"two images would have the file name {path.name!r}: labels that differ in "
                "what names cannot have are the same there; use {c}, {p} (numbers) in the "
                "template, or rename"
            )
        seen[key] = path
