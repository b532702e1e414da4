"""What nd2 tells of a file in the root of an OME-Zarr: the attribute ``nd2``."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["add_attribute", "as_json"]


def add_attribute(folder: Path, name: str, value: Any) -> None:
    """Add an attribute to a Zarr group of format 3; nothing is done if there is none.

    Parameters
    ----------
    folder
        Of the group.
    name
        Of the attribute; one that is there is replaced.
    value
        Of anything that `as_json` takes.
    """
    path = folder / "zarr.json"
    if not path.is_file():  # a URL
        return
    group: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    group["attributes"] = group.get("attributes", {}) | {name: as_json(value)}
    # Under another name first: a group that is half written cannot be read.
    fresh = path.with_name(".zarr.json.new")
    fresh.write_text(json.dumps(group, indent=2, allow_nan=False), encoding="utf-8")
    os.replace(fresh, path)  # noqa: PTH105 - also over what is there


def as_json(value: Any) -> Any:
    """Return what JSON has for nested dicts and lists.

    Numbers that are not finite become the texts that Zarr has for them, bytes become
    texts, and so does whatever else JSON lacks.

    Examples
    --------
    >>> as_json({"a": (1, math.nan, b"x"), 2: None})
    {'a': [1, 'NaN', 'x'], '2': None}
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    if hasattr(value, "items"):
        return _members(value)
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if hasattr(value, "tolist"):  # of NumPy
        return as_json(value.tolist())
    return str(value)


def _members(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): as_json(item) for name, item in value.items()}
