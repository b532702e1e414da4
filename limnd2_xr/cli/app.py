"""The Typer application: global options, and one command a module."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from limnd2_xr.cli.convert import convert
from limnd2_xr.cli.demo import demo
from limnd2_xr.cli.export import export
from limnd2_xr.cli.index import index
from limnd2_xr.cli.info import info
from limnd2_xr.cli.repair import repair
from limnd2_xr.cli.serve import serve
from limnd2_xr.cli.verify import verify

__all__ = ["app"]

app = typer.Typer(
    help="Look at, check, repair, make and export Nikon .nd2 microscope files.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(info)
app.command()(index)
app.command()(verify)
app.command()(repair)
app.command()(convert)
app.command()(export)
app.command()(serve)
app.command()(demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"limnd2-xr {version('limnd2-xr')}")
        raise typer.Exit


@app.callback()
def _global_options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Print the version and stop.",
        ),
    ] = False,
) -> None:
    pass
