"""Files made to do harm, what the fuzzer found, and its corpus: read or refused, no more."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.testing.strategies import damaged
from tests.fuzz.exercise import exercise
from tests.fuzz.hostile import FILES, take_apart, with_payloads

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
CAN_READ_ALL = importlib.util.find_spec("imagecodecs") is not None
CORPUS = [
    path
    for path in sorted((HERE / "corpus").glob("*.nd2"))
    if CAN_READ_ALL or path.stem != "legacy"
]
REGRESSIONS = sorted((HERE / "regressions").glob("*.nd2"))
SEEDS = [path.read_bytes() for path in CORPUS]
CHUNKED = [seed for seed in SEEDS if seed.startswith(b"\xda\xce\xbe\x0a")]
HANG_SECONDS = 60
LARGE_NBYTES = 2**29


@pytest.fixture(autouse=True)
def _ends(request: pytest.FixtureRequest) -> Iterator[None]:
    """End a test that hangs, where the system can."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"{request.node.name} takes over {HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANG_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def peak_nbytes(data: bytes) -> int:
    """Read a file; return how much memory Python and numpy took at most for it."""
    tracemalloc.start()
    try:
        assert exercise(data) in {"read", "refused"}
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_corpus_is_read(path: Path) -> None:
    assert exercise(path.read_bytes()) == "read"


def test_what_was_found_before_does_no_harm() -> None:
    for path in REGRESSIONS:
        assert peak_nbytes(path.read_bytes()) < LARGE_NBYTES, path.name


@pytest.mark.parametrize("name", FILES)
def test_hostile_files_do_no_harm(name: str) -> None:
    data = FILES[name]()
    assert len(data) < 2**21
    assert peak_nbytes(data) < LARGE_NBYTES


@given(st.sampled_from(SEEDS).flatmap(damaged))
def test_damaged_corpus_does_no_harm(data: bytes) -> None:
    exercise(data)


@given(st.data())
def test_damaged_chunks_do_no_harm(data: st.DataObject) -> None:
    """Names, headers and map are sound, so that what is in the chunk is looked at."""
    seed = data.draw(st.sampled_from(CHUNKED))
    name, payload = data.draw(st.sampled_from(take_apart(seed)))
    exercise(with_payloads(seed, {name: data.draw(damaged(payload))}))


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.slow
def test_files_that_claim_much_open_in_little_memory(tmp_path: Path) -> None:
    """With a limit that the system itself enforces."""
    claims = (
        "billion_by_billion",
        "wide_zlib_bomb",
        "components_zlib_bomb",
        "most_looped",
    )
    for name in claims:
        (tmp_path / name).write_bytes(FILES[name]())
    script = (
        "import json, resource, sys; from tests.fuzz.exercise import exercise\n"
        "first, *data = [open(path, 'rb').read() for path in sys.argv[1:]]\n"
        "exercise(first)  # what is imported on first use\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))\n"
        "print(json.dumps([exercise(d) for d in data]))"
    )
    done = subprocess.run(  # noqa: S603
        [
            *(sys.executable, "-W", "ignore", "-c", script, str(CORPUS[0])),
            *(str(tmp_path / name) for name in claims),
        ],
        capture_output=True,
        check=False,
        cwd=HERE.parents[1],
        text=True,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == len(claims)
