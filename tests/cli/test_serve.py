"""`limnd2-xr serve`."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from limnd2_xr.arrays.serving import ZarrServer
from limnd2_xr.cli.app import app
from limnd2_xr.testing.http_server import HttpServer
from limnd2_xr.testing.synthetic import Point, PositionLoop, SyntheticSpec, build

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["serve", *map(str, arguments)])


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    path = tmp_path / "cells.nd2"
    path.write_bytes(build(SyntheticSpec(width=8, height=6)).data)
    return path


def test_files_are_served_until_it_is_interrupted(
    cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "day 2" / "cells.nd2"
    other.parent.mkdir()
    other.write_bytes(cells.read_bytes())
    seen = {}

    def served(server: ZarrServer) -> None:
        with server:  # in a thread, so that this one can ask
            for name, url in server.urls.items():
                with urlopen(f"{url}/zarr.json", timeout=10) as answer:
                    origin = answer.headers["Access-Control-Allow-Origin"]
                    seen[name] = (json.load(answer)["node_type"], origin)
        raise KeyboardInterrupt

    whole = ZarrServer.serve_forever
    started: list[ZarrServer] = []

    def serve_forever(server: ZarrServer) -> None:
        if started:
            whole(server)
            return
        started.append(server)
        served(server)

    monkeypatch.setattr(ZarrServer, "serve_forever", serve_forever)
    done = run(cells, other, "--port", 0, "--origin", "https://viewer.example")
    assert done.exit_code == 0, done.output
    expected = ("group", "https://viewer.example")
    assert seen == {"cells.zarr": expected, "cells_2.zarr": expected}
    first, viewer, second, _ = done.stdout.splitlines()
    assert first.startswith(f"{cells}: http://127.0.0.1:")
    assert viewer.endswith("?source=" + first.removeprefix(f"{cells}: "))
    assert second.endswith("/cells_2.zarr")
    assert done.stderr.endswith("stopped\n")


def test_a_series_begins_with_its_first_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = (Point(0.0, 0.0), Point(9.0, 0.0))
    spec = SyntheticSpec(loops=(PositionLoop(points),), width=8, height=6)
    (tmp_path / "two.nd2").write_bytes(build(spec).data)
    monkeypatch.setattr(ZarrServer, "serve_forever", lambda server: None)
    url, images, viewer = run(tmp_path / "two.nd2", "--port", 0).stdout.splitlines()
    assert url.endswith("/two.zarr")
    assert images == "  2 images: /0 to /1"
    assert viewer.endswith("/two.zarr/0")


def test_a_file_that_cannot_be_opened_ends_it(cells: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("none")
    done = run(cells, notes, tmp_path / "none.nd2", "--port", 0)
    assert done.exit_code == 2
    assert f"limnd2-xr: {notes}: " in done.stderr
    assert "none.nd2: no such file" in done.stderr
    assert done.stdout == ""


def test_a_port_that_is_taken_is_said(cells: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(cells, "--port", port)
    assert done.exit_code == 2
    assert f"127.0.0.1:{port}: " in done.stderr
    assert "--port 0" in done.stderr


@pytest.mark.parametrize(
    ("host", "shown"),
    [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")],  # noqa: S104
)
def test_urls_are_ones_to_connect_to(
    host: str, shown: str, cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ZarrServer, "serve_forever", lambda server: None)
    done = run(cells, "--host", host, "--port", 0)
    if "Address family" in done.stderr:
        pytest.skip("no IPv6 here")
    url, viewer = done.stdout.splitlines()
    assert f"{cells}: http://{shown}:" in url
    assert viewer.endswith(url.removeprefix(f"{cells}: "))
    assert ("other machines: " in done.stderr) == (host != "::1")


def test_credentials_of_urls_are_not_printed(cells: Path) -> None:
    with HttpServer({"/cells.nd2": cells}) as site:
        good, bad = site.url("/cells.nd2?sig=s3cret"), site.url("/none.nd2?sig=s3cret")
        done = run(good, bad, "--port", 0)
    assert done.exit_code == 2
    assert "/none.nd2?sig=***: HTTP status 404" in done.stderr
    assert "s3cret" not in done.output + done.stderr
