"""Every Python block of README.md and docs runs, or says that it does not."""

from __future__ import annotations

import re
import runpy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from limnd2_xr.cli.demo_scene import Scene, experiment

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).resolve().parents[1]
PAGES = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>[^\n]*)\n(?P<body>.*?)"
    r"^(?P=indent)(?P=ticks) *$",
    re.MULTILINE | re.DOTALL,
)
PYTHON_NAMES = {"py", "python", "python3", "pycon", "py3", "ipython"}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    info: str
    body: str

    @property
    def language(self) -> str:
        return re.split(r"[\s{]", self.info.strip(), maxsplit=1)[0].lower()

    @property
    def runs(self) -> bool:
        return self.info.strip() == "python"

    @property
    def is_excused(self) -> bool:
        return self.info.strip() == 'python exec="false"'

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPO)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        indent = len(match["indent"])
        body = "\n".join(row[indent:] for row in match["body"].split("\n"))
        yield Block(page, line, match["info"], body)


def runnable_pages() -> list[Path]:
    return [page for page in PAGES if any(block.runs for block in blocks_of(page))]


@pytest.fixture(scope="module")
def cells() -> bytes:
    """Return the bytes of the cells.nd2 that the pages talk about."""
    data: bytes = runpy.run_path(str(REPO / "tests" / "docs_sample.py"))[
        "build_cells"
    ]()
    return data


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the demo.nd2 that `limnd2-xr demo` writes."""
    path = tmp_path_factory.mktemp("demo") / "demo.nd2"
    experiment(Scene()).nd2.write_nd2(path)
    return path


# zarr 3.1 says of its own type for text that it has no specification yet.
@pytest.mark.filterwarnings("ignore:The data type:FutureWarning")
@pytest.mark.parametrize(
    "page", runnable_pages(), ids=lambda page: str(page.relative_to(REPO))
)
def test_the_blocks_of_a_page_run(
    page: Path,
    cells: bytes,
    demo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "cells.nd2").write_bytes(cells)
    (tmp_path / "demo.nd2").symlink_to(demo)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    # Blank lines first, so that a traceback shows the line of the page.
    codes = [
        compile("\n" * block.line + block.body, str(page), "exec")
        for block in blocks_of(page)
        if block.runs
    ]
    try:
        for code in codes:
            exec(code, namespace)  # noqa: S102
    finally:
        close_datasets(namespace)


def close_datasets(namespace: dict[str, Any]) -> None:
    """Close what a page left open: pages show reading, not housekeeping."""
    for value in namespace.values():
        close = getattr(value, "close", None)
        if callable(close) and not isinstance(value, (type, ModuleType)):
            close()


def test_pages_with_python_are_found() -> None:
    names = {page.relative_to(REPO).as_posix() for page in runnable_pages()}
    assert {"README.md", "docs/index.md", "docs/tutorials/first-steps.md"} <= names


def test_every_python_block_runs_or_says_that_it_does_not() -> None:
    unclear = [
        f"{block}: ```{block.info}"
        for page in PAGES
        for block in blocks_of(page)
        if (block.language in PYTHON_NAMES or "python" in block.info)
        and not (block.runs or block.is_excused)
    ]
    assert unclear == []


def test_every_fence_is_closed() -> None:
    odd = [
        str(page.relative_to(REPO))
        for page in PAGES
        if len(re.findall(r"^ *(?:```|~~~)", page.read_text("utf-8"), re.MULTILINE)) % 2
    ]
    assert odd == []


def test_the_readme_gives_its_two_commands() -> None:
    commands = [
        line
        for block in blocks_of(REPO / "README.md")
        if block.language == "sh"
        for line in block.body.splitlines()
        if line
    ]
    assert commands == [
        'python -m pip install ".[all]" && limnd2-xr demo',
        'python -m pip install -e ".[all,test]" && python -m pytest',
    ]


def test_the_readme_output_is_what_the_example_prints(
    demo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "demo.nd2").symlink_to(demo)
    monkeypatch.chdir(tmp_path)
    blocks = list(blocks_of(REPO / "README.md"))
    (example,) = [block for block in blocks if block.runs]
    (output,) = [block for block in blocks if block.language == "text"]
    namespace: dict[str, Any] = {}
    try:
        exec(example.body, namespace)  # noqa: S102
    finally:
        close_datasets(namespace)
    assert capsys.readouterr().out.splitlines() == output.body.splitlines()
