"""The `limnd2-xr` command."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; what it exits with is the status of the process.

    Without the extra ``cli`` (typer and rich) it says so and exits with status 2.
    """
    try:
        from limnd2_xr.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"click", "rich", "typer"}:
            raise
        sys.stderr.write(
            f"limnd2-xr: {error.name} is not installed: "
            'pip install "limnd2-xr[cli]" brings all that the command line needs\n'
        )
        raise SystemExit(2) from None
    app(prog_name="limnd2-xr")
