"""The commands `limnd2-xr` and `limnd2-ome-zarr-export`."""

from __future__ import annotations

import sys
from importlib import import_module

__all__ = ["main", "main_ome_zarr_export"]


def main() -> None:
    """Run `limnd2-xr`; what it exits with is the status of the process.

    Without the extra ``cli`` (typer and rich) it says so and exits with status 2.
    """
    _run("limnd2_xr.cli.app", "app", "limnd2-xr")


def main_ome_zarr_export() -> None:
    """Run `limnd2-ome-zarr-export`, in the same manner."""
    module = "limnd2_xr.cli.ome_zarr_export"
    _run(module, "ome_zarr_app", "limnd2-ome-zarr-export")


def _run(module: str, name: str, command: str) -> None:
    try:
        app = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"click", "rich", "typer"}:
            raise
        sys.stderr.write(
            f"{command}: {error.name} is not installed: "
            'pip install "limnd2-xr[cli]" brings all that the command line needs\n'
        )
        raise SystemExit(2) from None
    app(prog_name=command)
