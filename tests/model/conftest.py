"""Chunks of the real sample files, for what the model does not read with the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from limnd2_xr.container.chunk_index import read_index
from limnd2_xr.container.source import SourceSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def real_chunk(real_file: Callable[[str], Path]) -> Callable[[str, str], bytes]:
    """Payload of a chunk of a real file, by the stem of the file and the chunk's name."""

    def read(stem: str, name: str) -> bytes:
        source = SourceSpec.of(real_file(stem)).open()
        try:
            loaded = read_index(source)
            entry = loaded.index.find(name)
            assert entry is not None
            return bytes(loaded.prefetch.chunks({name: entry})[name])
        finally:
            source.close()

    return read
