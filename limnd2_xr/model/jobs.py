"""JOBS: the program that ran an acquisition (FORMAT 12.4).

Three chunks: the identifier of the run, the type of the job, and the job itself, a tree
that may be stored compressed, or encrypted and then is opaque. All is [1S]; the
encoding of the tree was seen in a stand-alone job [V]. Whether names of fields carry a
prefix is not known, so both are read.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF16_LE
from dataclasses import dataclass
from typing import Any, Final

from limnd2_xr.errors import CorruptChunk
from limnd2_xr.model.fields import integer, text, unwrap
from limnd2_xr.model.tree_building import blob, nested, struct, u32, u64
from limnd2_xr.model.tree_editing import merged, replaced_struct, with_fields
from limnd2_xr.variants.tree import Level

__all__ = [
    "JOB_DEFINITION",
    "JOB_KIND",
    "JOB_RUN_ID",
    "Job",
    "JobTask",
    "ProtectedJob",
    "decode_run_id",
    "encode_run_id",
    "job_kind_tree",
    "job_tree",
    "parse_job",
    "parse_job_kind",
]

JOB_RUN_ID: Final = "CustomData|JobRunGUIDV1_0!"
"""Chunk with the identifier of the run."""
JOB_KIND: Final = "CustomData|JobDefinitionDescV1_0!"
"""Chunk with the type of the job."""
JOB_DEFINITION: Final = "CustomData|JobDefinitionV1_0!"
"""Chunk with the job itself."""

_JOB: Final = "Job"
_PROTECTED: Final = "ProtectedJob"
_PROGRAM: Final = "ProgramDesc"
_KIND: Final = "JobDefType"
_PREFIX: Final = re.compile("[_a-z]*")
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobTask:
    """One task of a job."""

    id: str
    """Name under which the job holds it."""
    key: str = ""
    """What other tasks refer to it by."""
    name: str = ""
    """Name that the user sees."""
    order: int = 0
    """Place within its block."""
    block: int = 0
    """Number of the block of tasks that it belongs to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job in the clear.

    Examples
    --------
    >>> from limnd2_xr.model.tree_building import string
    >>> names = struct(string("Name", "Plate scan"), string("Desc", ""))
    >>> job = Job(definition=struct(nested("Property", names)))
    >>> job.name, job.tasks
    ('Plate scan', ())
    """

    definition: Level
    """All that the file says of the job: its tasks, parameters and properties."""

    @property
    def name(self) -> str:
        """Name of the job."""
        return _word(_child(self.definition, "Property"), "Name")

    @property
    def description(self) -> str:
        """What its author wrote about it."""
        return _word(_child(self.definition, "Property"), "Desc")

    @property
    def tasks(self) -> tuple[JobTask, ...]:
        """Tasks in the order of their blocks.

        Raises
        ------
        CorruptChunk
            If a field of a task has the wrong type.
        """
        tasks = _child(self.definition, "Tasks")
        found = [_task(name, task) for name, task in tasks if isinstance(task, Level)]
        found.sort(key=lambda task: (task.block, task.order))
        return tuple(found)

    def to_plain(self) -> dict[str, Any]:
        """Nested dicts and lists of the whole definition."""
        plain = self.definition.to_plain()
        return plain if isinstance(plain, dict) else {"": plain}


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtectedJob:
    """A job that its author encrypted."""

    encryption: int = 0
    """Number of the method."""
    size: int = 0
    """Bytes, as announced."""
    data: bytes = b""
    """The encrypted job."""


def decode_run_id(data: bytes) -> str:
    """Return the identifier of a run.

    Parameters
    ----------
    data
        Payload of the chunk: UTF-16, little-endian.

    Raises
    ------
    CorruptChunk
        If the bytes are no such text.

    Examples
    --------
    >>> decode_run_id(encode_run_id("7c4a2b10"))
    '7c4a2b10'
    """
    if len(data) % 2:
        raise CorruptChunk(f"{len(data)} bytes are no text in UTF-16")
    plain = data.removeprefix(BOM_UTF16_LE).decode("utf-16-le", "surrogatepass")
    return _HALF_PAIR.sub("\ufffd", plain.rstrip("\0"))


def encode_run_id(run_id: str) -> bytes:
    """Return the payload that holds the identifier of a run, with a closing NUL [G].

    Raises
    ------
    ValueError
        If it contains NUL.
    """
    if "\0" in run_id:
        raise ValueError(f"the identifier of a run contains NUL: {run_id!r}")
    return f"{run_id}\0".encode("utf-16-le")


def parse_job_kind(level: Level) -> int | None:
    """Return the type of a job from ``JobDefinitionDescV1_0``; None if it is not said.

    Raises
    ------
    CorruptChunk
        If it is no number.
    """
    content = _content(level, _PROGRAM)
    name = _name_of(content, _KIND)
    return None if name is None else integer(content, name)


def job_kind_tree(kind: int, base: Level | None = None) -> Level:
    """Return the root of ``JobDefinitionDescV1_0``: the inverse of `parse_job_kind`.

    Parameters
    ----------
    kind
        Type of the job.
    base
        Root of the source, whose other fields stay.

    Raises
    ------
    ValueError
        If the number does not fit.

    Examples
    --------
    >>> parse_job_kind(job_kind_tree(2))
    2
    """
    if base is None:
        return struct(nested(_PROGRAM, struct(u32(_KIND, kind))))
    content = _content(base, _PROGRAM)
    before = parse_job_kind(base)
    if before == kind:
        return base
    name = _name_of(content, _KIND) or _KIND
    old = struct() if before is None else struct(u32(name, before))
    return replaced_struct(base, merged(content, old, struct(u32(name, kind))))


def parse_job(level: Level) -> Job | ProtectedJob:
    """Return the job of a decoded ``JobDefinitionV1_0``.

    Parameters
    ----------
    level
        Root of the chunk.

    Raises
    ------
    CorruptChunk
        If it holds no job.
    """
    protected = level.level(_PROTECTED)
    if protected is not None:
        return _protected(protected)
    job = level.level(_JOB)
    if job is None:
        names = ", ".join(level.names[:5]) or "nothing"
        raise CorruptChunk(f"holds {names}, neither Job nor ProtectedJob")
    return Job(definition=job)


def job_tree(job: Job | ProtectedJob, base: Level | None = None) -> Level:
    """Return the root of ``JobDefinitionV1_0`` to be written: inverse of `parse_job`.

    Parameters
    ----------
    job
        What to store.
    base
        Root of the source; itself if it holds the same job, else what stands beside
        the job is kept.

    Raises
    ------
    ValueError
        If a number does not fit.

    Examples
    --------
    >>> job = ProtectedJob(encryption=1, size=3, data=b"abc")
    >>> parse_job(job_tree(job)) == job
    True
    """
    if isinstance(job, Job):
        new = struct(nested(_JOB, job.definition))
    else:
        fields = struct(
            u32("EncryptionType", job.encryption),
            u64("DataSize", job.size),
            blob("Data", job.data),
        )
        new = struct(nested(_PROTECTED, fields))
    if base is None:
        return new
    before = parse_job(base)
    if before == job:
        return base
    if isinstance(job, ProtectedJob) and isinstance(before, ProtectedJob):
        return merged(base, job_tree(before), new)
    if isinstance(job, Job) and isinstance(before, Job):
        return with_fields(base, nested(_JOB, job.definition))
    return new


def _protected(level: Level) -> ProtectedJob:
    name = _name_of(level, "Data")
    data = b"" if name is None else level[name]
    if not isinstance(data, bytes):
        raise CorruptChunk("the data of the protected job are no bytes")
    return ProtectedJob(
        encryption=_number(level, "EncryptionType", 0),
        size=_number(level, "DataSize", len(data)),
        data=data,
    )


def _task(name: str, level: Level) -> JobTask:
    return JobTask(
        id=name,
        key=_word(level, "Key"),
        name=_word(level, "Name"),
        order=_number(level, "Order", 0),
        block=_number(level, "BlockNumber", 0),
    )


def _word(level: Level, name: str) -> str:
    found = _name_of(level, name)
    return "" if found is None else text(level, found)


def _number(level: Level, name: str, default: int) -> int:
    found = _name_of(level, name)
    return default if found is None else integer(level, found, default)


def _content(level: Level, name: str) -> Level:
    return unwrap(level.level(name) or level)


def _child(level: Level, name: str) -> Level:
    found = _name_of(level, name)
    return Level() if found is None else level.level(found, create=True)


def _name_of(level: Level, name: str) -> str | None:
    """Return the stored name of a field, which may have a prefix (FORMAT 4.0)."""
    if name in level:
        return name
    return next(
        (stored for stored in level.names if _PREFIX.sub("", stored, count=1) == name),
        None,
    )
