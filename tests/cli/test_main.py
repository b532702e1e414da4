from __future__ import annotations

import subprocess
import sys

import pytest

BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from limnd2_xr.cli import main
main()
"""


@pytest.mark.parametrize("blocked", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(blocked: str) -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", BLOCK.format(blocked=blocked), "info", "a.nd2"],
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert 'pip install "limnd2-xr[cli]"' in done.stderr


def test_another_missing_module_is_not_hidden() -> None:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", BLOCK.format(blocked="numpy"), "info", "a.nd2"],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 1
    assert "ModuleNotFoundError: No module named 'numpy'" in done.stderr
