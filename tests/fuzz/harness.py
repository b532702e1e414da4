"""Fuzz the whole read path with atheris: see README.md beside this file.

Half of the inputs are mutated as bytes. Of the others one chunk is, and the file is put
together again around it: headers, names and map stay sound, so that what is behind them
is reached.
"""

from __future__ import annotations

import random
import resource
import struct
import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["limnd2_xr"]):
    import limnd2_xr.arrays.groups  # what is imported later is not instrumented
    import limnd2_xr.arrays.regions_of_interest
    import limnd2_xr.frames.store  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.fuzz.exercise import exercise
from tests.fuzz.hostile import put_together, take_apart

MAX_SECONDS = 5.0
"""Of work: other programs may slow it down."""
COUNTS = {"read": 0, "refused": 0, "slowest": 0.0}


def test_one_input(data: bytes) -> None:
    """Read one file."""
    began = time.process_time()
    COUNTS[exercise(bytes(data))] += 1
    took = time.process_time() - began
    COUNTS["slowest"] = max(COUNTS["slowest"], took)
    if took > MAX_SECONDS:
        raise TimeoutError(f"{took:.1f} s of work for {len(data)} bytes")
    if not (COUNTS["read"] + COUNTS["refused"]) % 500:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        sys.stderr.write(f"{COUNTS}, peak {peak} MB\n")


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Return another file like the one given."""
    chance = random.Random(seed)  # noqa: S311 - which file is no secret
    chunks = take_apart(data) if chance.random() < 0.5 else []
    if not chunks:
        mutated: bytes = atheris.Mutate(data, max_size)
        return mutated
    at = chance.randrange(len(chunks))
    name, payload = chunks[at]
    if payload and chance.random() < 0.5:
        payload = _with_odd_number(payload, chance)
    else:
        payload = atheris.Mutate(payload, len(payload) + 64)
    chunks[at] = (name, payload)
    if chance.random() < 0.1:
        chunks.append(chance.choice(chunks))
    made = put_together(chunks)
    return made if len(made) <= max_size else data


def _with_odd_number(payload: bytes, chance: random.Random) -> bytes:
    """Put a number that tempts to allocate, to overflow or to loop at some place."""
    value = chance.choice(
        [
            0,
            1,
            2,
            255,
            65535,
            2**24,
            2**31 - 1,
            2**31,
            2**32 - 1,
            10**9,
            2**63,
            2**64 - 1,
        ]
    )
    code = chance.choice(["<B", "<H", "<I", "<Q"])
    packed = struct.pack("<Q", value)[: struct.calcsize(code)]
    at = chance.randrange(len(payload))
    return payload[:at] + packed + payload[at + len(packed) :]


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input, custom_mutator=mutate)
    atheris.Fuzz()
