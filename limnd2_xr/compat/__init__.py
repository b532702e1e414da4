"""Drop-ins for other packages: the same names, on this package's reader and writer.

``from limnd2_xr.compat import nd2`` replaces ``import nd2`` in a script. `install` does
it for packages that cannot be changed.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

__all__ = ["install", "uninstall"]

_PRIVATE: Final[Mapping[str, Mapping[str, str]]] = {
    "nd2": {"_util": "axis", "_binary": "binary", "_nd2file": "file"},
    "limnd2": {},
}
"""Modules that others import although they are private, and where their content is here."""

_replaced: dict[str, dict[str, ModuleType]] = {}
"""Modules that were there before, by the name of the package."""


def install(name: str, *, force: bool = False) -> ModuleType:
    """Let ``import nd2`` or ``import limnd2`` find the drop-in, in this process.

    To be called before anything imports that package: what has it already keeps it.

    Parameters
    ----------
    name
        ``"nd2"`` or ``"limnd2"``.
    force
        Replace the package although it has been imported.

    Returns
    -------
    module
        The drop-in.

    Raises
    ------
    ValueError
        If there is no drop-in of that name.
    RuntimeError
        If the package itself has been imported already, and not `force`.

    Examples
    --------
    >>> import sys
    >>> nd2 = install("nd2", force=True)
    >>> import nd2 as found
    >>> found is nd2
    True
    >>> uninstall("nd2")
    """
    if name not in _PRIVATE:
        known = ", ".join(map(repr, _PRIVATE))
        raise ValueError(f"there is a drop-in for {known}, not for {name!r}")
    facade = importlib.import_module(f"{__name__}.{name}")
    if sys.modules.get(name) is facade:
        return facade
    before = _modules_of(name)
    if before and not force:
        raise RuntimeError(
            f"{name} has been imported already: call install({name!r}) before anything "
            "imports it, or with force=True; what has it already then keeps it"
        )
    modules = {name: facade, **_submodules(name, facade)}
    for known in before:
        del sys.modules[known]
    sys.modules.update(modules)
    _replaced[name] = before
    return facade


def uninstall(name: str) -> None:
    """Undo `install`: ``import`` finds what it found before.

    Parameters
    ----------
    name
        ``"nd2"`` or ``"limnd2"``; it need not be installed.
    """
    if name in _replaced:
        for known in _modules_of(name):
            del sys.modules[known]
        sys.modules.update(_replaced.pop(name))


def _modules_of(name: str) -> dict[str, ModuleType]:
    return {
        known: module
        for known, module in sys.modules.items()
        if known == name or known.startswith(f"{name}.")
    }


def _submodules(name: str, facade: ModuleType) -> dict[str, ModuleType]:
    """Modules of a drop-in under the names that the package has for them."""
    found = {}
    prefix = f"{facade.__name__}."
    for info in pkgutil.walk_packages(facade.__path__, prefix):
        if info.name.endswith("__main__"):
            continue
        found[f"{name}.{info.name.removeprefix(prefix)}"] = importlib.import_module(
            info.name
        )
    for private, ours in _PRIVATE[name].items():
        found[f"{name}.{private}"] = found[f"{name}.{ours}"]
        setattr(facade, private, found[f"{name}.{ours}"])  # for `from nd2 import _util`
    return found
