"""`limnd2-xr serve`: files as OME-Zarr over HTTP, for viewers in a browser."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote, urlsplit

import typer

from limnd2_xr.cli.messages import EXPECTED, complain, is_remote
from limnd2_xr.container.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limnd2_xr.arrays.zarr_store import Nd2ZarrStore

__all__ = ["serve"]

_VIEWER: Final = "https://hms-dbmi.github.io/vizarr/?source="
_EVERYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104 - only where asked for


def serve(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="Paths or URLs of .nd2 files."),
    ],
    *,
    host: Annotated[
        str,
        typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in."),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one."),
    ] = 8000,
    origin: Annotated[
        str,
        typer.Option(help="Web site whose pages may read; * means all."),
    ] = "*",
) -> None:
    """Serve .nd2 files as OME-Zarr, for viewers in a browser.

    Prints the URL of each file, and one that shows it in a viewer; serves until it is
    interrupted (Ctrl-C). Nothing is converted or written. The command exits with 2 if a
    file could not be opened.
    """
    from limnd2_xr.arrays.serving import ZarrServer

    with ExitStack() as stack:
        stores = _opened(files, stack)
        try:
            server = ZarrServer(stores, host=host, port=port, origin=origin)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                reason += "; --port 0 takes a free one"
            typer.echo(f"limnd2-xr: {host}:{port}: {reason}", err=True)
            raise typer.Exit(2) from error
        stack.callback(server.close)
        for name, file in zip(stores, files, strict=True):
            url, images = server.urls[name], stores[name].images
            # Viewers of one image are shown the first of a series; plates they know.
            first = "/0" if images[0] == "0" else ""
            typer.echo(f"{redacted(file)}: {url}")
            if len(images) > 1:
                typer.echo(f"  {len(images)} images: /{images[0]} to /{images[-1]}")
            typer.echo(f"  {_VIEWER}{quote(url + first, safe=':/[]%')}")
        if host in _EVERYWHERE:
            typer.echo(
                f"other machines: {socket.gethostname()}:{server.port}", err=True
            )
        typer.echo("serving until Ctrl-C", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)


def _opened(files: Sequence[str], stack: ExitStack) -> dict[str, Nd2ZarrStore]:
    """Open all files as stores, by the names that they are served under."""
    from limnd2_xr.arrays.zarr_store import zarr_store

    stores: dict[str, Nd2ZarrStore] = {}
    for file in files:
        try:
            # Few viewers know zarr's codec for zlib.
            store = zarr_store(file, inflate=True)
        except EXPECTED as error:
            complain(file, error)
            continue
        except Exception as error:
            if not is_remote(file):
                raise
            complain(file, error)
            continue
        stores[_name(file, stores)] = stack.enter_context(store)
    if len(stores) < len(files):
        raise typer.Exit(2)
    return stores


def _name(file: str, taken: dict[str, Nd2ZarrStore]) -> str:
    path = urlsplit(file).path if is_remote(file) else file.replace("\\", "/")
    stem = PurePosixPath(path).stem or "image"
    name, count = f"{stem}.zarr", 1
    while name in taken:
        count += 1
        name = f"{stem}_{count}.zarr"
    return name
