"""Drop-ins for other packages: the same names, on this package's reader and writer.

``from limnd2_xr.compat import nd2`` replaces ``import nd2`` in a script. `install` does
it for packages that cannot be changed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import InspectLoader, MetaPathFinder
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

__all__ = ["install", "uninstall"]

_PRIVATE: Final[Mapping[str, Mapping[str, str]]] = {
    "nd2": {"_util": "axis", "_binary": "binary", "_nd2file": "file"},
    "limnd2": {},
}
"""Modules that others import although they are private, and where their content is here."""

_installed: dict[str, _Installed] = {}
"""By the name of the package."""


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
    for known in before:
        del sys.modules[known]
    sys.modules[name] = facade
    for private, ours in _PRIVATE[name].items():  # for `from nd2 import _util`
        setattr(facade, private, importlib.import_module(f"{facade.__name__}.{ours}"))
    _installed[name] = _Installed(name, facade.__name__, before)
    sys.meta_path.insert(0, _installed[name])
    return facade


def uninstall(name: str) -> None:
    """Undo `install`: ``import`` finds what it found before.

    Parameters
    ----------
    name
        ``"nd2"`` or ``"limnd2"``; it need not be installed.
    """
    if name in _installed:
        drop_in = _installed.pop(name)
        sys.meta_path.remove(drop_in)
        for known in _modules_of(name):
            del sys.modules[known]
        sys.modules.update(drop_in.before)


def _modules_of(name: str) -> dict[str, ModuleType]:
    return {
        known: module
        for known, module in sys.modules.items()
        if known == name or known.startswith(f"{name}.")
    }


class _Installed(MetaPathFinder, InspectLoader):
    """Finds the modules of a drop-in under the names that the package has for them."""

    def __init__(
        self, name: str, facade: str, before: Mapping[str, ModuleType]
    ) -> None:
        self._name = name
        self._facade = facade
        self._own: dict[str, ModuleSpec | None] = {}
        self.before = before
        """What was imported before under these names."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return how to load a module of the package, None if it is of another."""
        del path, target
        if not fullname.startswith(f"{self._name}."):
            return None
        if importlib.util.find_spec(self._ours(fullname)) is None:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module of the drop-in itself, not a copy of it."""
        module = importlib.import_module(self._ours(spec.name))
        self._own[module.__name__] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module as it is: it has been loaded."""
        module.__spec__ = self._own.pop(module.__name__)

    def is_package(self, fullname: str) -> bool:
        """Say whether a module has modules within."""
        return self._loader(fullname).is_package(self._ours(fullname))

    def get_code(self, fullname: str) -> CodeType | None:
        """Return what ``python -m nd2.index`` runs."""
        return self._loader(fullname).get_code(self._ours(fullname))

    def get_source(self, fullname: str) -> str | None:
        """Return the text of a module."""
        return self._loader(fullname).get_source(self._ours(fullname))

    def _loader(self, fullname: str) -> InspectLoader:
        spec = importlib.util.find_spec(self._ours(fullname))
        if spec is None or not isinstance(spec.loader, InspectLoader):
            raise ImportError(f"no module {fullname!r}", name=fullname)
        return spec.loader

    def _ours(self, fullname: str) -> str:
        rest = fullname.removeprefix(f"{self._name}.")
        return f"{self._facade}.{_PRIVATE[self._name].get(rest, rest)}"
