from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.guids import GUID_STORE, Guids, guids_tree, parse_guids
from limnd2_xr.model.jobs import (
    Job,
    JobTask,
    ProtectedJob,
    decode_run_id,
    encode_run_id,
    job_kind_tree,
    job_tree,
    parse_job,
    parse_job_kind,
)
from limnd2_xr.model.tree_building import boolean, i32, nested, string, struct, u32
from limnd2_xr.variants.decode import decode
from limnd2_xr.variants.encode import encode
from limnd2_xr.variants.lite import encode as encode_lite

if TYPE_CHECKING:
    from collections.abc import Callable

    from limnd2_xr.model.tree_building import Field

TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")
).filter(lambda text: text != "N/A")
GUIDS = st.builds(
    Guids,
    guid=TEXTS,
    ancestor=TEXTS,
    children=st.lists(TEXTS.filter(bool), max_size=4).map(tuple),
)


def task(name: str, order: int, block: int) -> JobTask:
    return JobTask(id=name, key=f"{name}k", name=f"{name}!", order=order, block=block)


def stored(task: JobTask, prefix: str) -> Field:
    return nested(
        task.id,
        struct(
            string(f"{prefix}Key", task.key),
            string(f"{prefix}Name", task.name),
            i32(f"{prefix}Order", task.order),
            u32(f"{prefix}BlockNumber", task.block),
        ),
    )


TASKS = (task("B", 0, 0), task("A", 1, 0), task("C", 0, 1))


def plate_scan(prefix: str = "") -> Job:
    return Job(
        definition=struct(
            nested("Tasks", struct(*(stored(t, prefix) for t in reversed(TASKS)))),
            nested(
                "Property",
                struct(string(f"{prefix}Name", "Scan"), string(f"{prefix}Desc", "All")),
            ),
        )
    )


@pytest.mark.parametrize("prefix", ["", "m_ws"])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_job_in_the_clear(prefix: str, compressed: bool) -> None:
    job = plate_scan(prefix)
    data = encode_lite(job_tree(job), compressed=compressed)
    found = parse_job(decode(data, lazy=True))
    assert found == job
    assert isinstance(found, Job)
    assert (found.name, found.description, found.tasks) == ("Scan", "All", TASKS)
    assert found.to_plain()["Property"][f"{prefix}Name"] == "Scan"


def test_an_empty_job() -> None:
    found = parse_job(struct(nested("Job", struct())))
    assert isinstance(found, Job)
    assert (found.name, found.tasks, found.to_plain()) == ("", (), {})


@given(st.binary(), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_a_protected_job(data: bytes, encryption: int, size: int) -> None:
    job = ProtectedJob(encryption=encryption, size=size, data=data)
    tree = decode(encode(job_tree(job)))
    assert parse_job(tree) == job
    assert job_tree(job, tree) is tree


def test_what_stands_beside_a_job_stays() -> None:
    for job, other in (
        (plate_scan(), Job(definition=struct())),
        (ProtectedJob(data=b"a"), ProtectedJob(data=b"b", encryption=2)),
    ):
        base = job_tree(job)
        base.add("Custom_wellplate", 11, struct(u32("Rows", 8)))
        assert job_tree(job, base) is base
        edited = job_tree(other, base)
        assert parse_job(edited) == other
        assert edited.names == base.names
    assert parse_job(job_tree(plate_scan(), job_tree(ProtectedJob()))) == plate_scan()


def test_what_is_no_job_is_refused() -> None:
    with pytest.raises(CorruptChunk, match="holds Other, neither Job nor ProtectedJob"):
        parse_job(struct(nested("Other", struct())))
    with pytest.raises(CorruptChunk, match="nothing"):
        parse_job(struct())
    with pytest.raises(CorruptChunk, match="no bytes"):
        parse_job(struct(nested("ProtectedJob", struct(string("Data", "x")))))
    odd = struct(nested("Tasks", struct(nested("T", struct(string("Order", "x"))))))
    with pytest.raises(CorruptChunk, match="field Order"):
        _ = Job(definition=odd).tasks


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_the_type_of_a_job(old: int, new: int) -> None:
    base = struct(
        nested("ProgramDesc", struct(boolean("bNew", True), i32("iJobDefType", 0)))
    )
    assert parse_job_kind(base) == 0
    base = job_kind_tree(old, base)
    assert parse_job_kind(base) == old
    edited = job_kind_tree(new, base)
    assert parse_job_kind(decode(encode(edited))) == new
    assert edited.level("ProgramDesc", create=True).names == ["bNew", "iJobDefType"]
    assert parse_job_kind(decode(encode(job_kind_tree(new)))) == new


def test_a_type_that_is_not_said() -> None:
    base = struct(nested("ProgramDesc", struct()))
    assert parse_job_kind(base) is None
    assert parse_job_kind(job_kind_tree(5, base)) == 5


@given(TEXTS)
def test_the_run_of_a_job(run_id: str) -> None:
    data = encode_run_id(run_id)
    assert decode_run_id(data) == run_id
    assert decode_run_id(data[:-2]) == run_id
    assert decode_run_id(b"\xff\xfe" + data) == run_id


def test_odd_runs() -> None:
    with pytest.raises(CorruptChunk, match="3 bytes"):
        decode_run_id(b"abc")
    with pytest.raises(ValueError, match="NUL"):
        encode_run_id("a\0b")
    assert decode_run_id(b"\x00\xd8a\x00") == "\ufffda"


@given(GUIDS, GUIDS)
def test_identifiers_are_read_back(old: Guids, new: Guids) -> None:
    base = decode(encode(guids_tree(old)))
    assert parse_guids(base) == old
    assert parse_guids(base.levels()[0]) == old
    assert guids_tree(old, base) == base
    base.levels()[0].add("wsOther", 8, "kept")
    edited = guids_tree(new, base)
    assert parse_guids(edited) == new
    assert edited.levels()[0]["wsOther"] == "kept"


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["fluo_c4", "netime_t2_u8", "rgb8", "zstack_z11"])
def test_no_identifiers_are_stored_as_in_real_files(
    real_chunk: Callable[[str, str], bytes], name: str
) -> None:
    payload = real_chunk(name, GUID_STORE)
    assert parse_guids(decode(payload)) == Guids()
    assert encode(guids_tree(Guids())) == payload
