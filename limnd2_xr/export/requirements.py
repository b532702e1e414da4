"""What exports need beside what every installation has."""

from __future__ import annotations

from importlib import import_module

__all__ = ["require"]


def require(what: str, *modules: str) -> None:
    """Import modules, so that nothing is written if one is not there.

    Parameters
    ----------
    what
        Needs them.
    *modules
        Their names.

    Raises
    ------
    ModuleNotFoundError
        If one is not installed: what brings it is said.
    """
    for name in modules:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f'{what} needs {name}: pip install "limnd2-xr[export]"', name=name
            ) from error
