"""What else users and NIS-Elements keep in a file: a form, identifiers, the job, settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.arrays.chunk_access import read_chunk
from limnd2_xr.damage import DamageReport
from limnd2_xr.errors import CorruptChunk
from limnd2_xr.frames.chunk_reading import ChunkReader
from limnd2_xr.model.custom_description import (
    DESCRIPTION_CHUNK,
    CustomDescription,
    parse_custom_description,
)
from limnd2_xr.model.guids import GUID_STORE, Guids, parse_guids
from limnd2_xr.model.jobs import (
    JOB_DEFINITION,
    JOB_KIND,
    JOB_RUN_ID,
    Job,
    ProtectedJob,
    decode_run_id,
    parse_job,
    parse_job_kind,
)
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limnd2_xr.container.source import SourceSpec

__all__ = [
    "CustomData",
    "JobRun",
    "custom_description_of",
    "guids_of",
    "job_of",
]

_SETTINGS: Final = "CustomDataVar|"
"""What the names of chunks of settings begin with (FORMAT 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """The run of a JOBS program that acquired a file."""

    run_id: str | None = None
    """Identifier of the run."""
    kind: int | None = None
    """Code of the type of the job."""
    job: Job | ProtectedJob | None = None
    """The program: `Job.to_plain` gives all of it, unless its author protected it."""


def custom_description_of(spec: SourceSpec) -> CustomDescription | None:
    """Return the form that the user filled in, None without one.

    Parameters
    ----------
    spec
        The file.

    Raises
    ------
    CorruptChunk
        If its chunk is damaged.
    """
    form: CustomDescription | None = _parsed(
        spec, DESCRIPTION_CHUNK, lambda data: parse_custom_description(decode(data))
    )
    return form


def guids_of(spec: SourceSpec) -> Guids | None:
    """Return the identifiers of a file, None without any; as `custom_description_of`."""
    found: Guids | None = _parsed(
        spec, GUID_STORE, lambda data: parse_guids(decode(data))
    )
    return found


def job_of(spec: SourceSpec) -> JobRun | None:
    """Return the job that acquired a file, None without one; as `custom_description_of`."""
    job: Job | ProtectedJob | None = _parsed(
        spec, JOB_DEFINITION, lambda data: parse_job(decode(data))
    )
    run = JobRun(
        run_id=_parsed(spec, JOB_RUN_ID, decode_run_id),
        kind=_parsed(spec, JOB_KIND, lambda data: parse_job_kind(decode(data))),
        job=job,
    )
    return None if run == JobRun() else run


def _parsed(spec: SourceSpec, name: str, parse: Callable[[bytes], Any]) -> Any:
    try:
        payload = read_chunk(spec, name, raw=True)
    except KeyError:
        return None
    try:
        return parse(payload)
    except CorruptChunk as error:
        raise error.located(path=spec.name, chunk=name) from error


@dataclass(frozen=True, slots=True)
class CustomData(Mapping[str, Any]):
    """Settings in a file by name, each read and decoded when it is asked for."""

    spec: SourceSpec
    """The file."""
    names: tuple[str, ...]
    """Of the settings, in the order of the file's chunk map."""

    @classmethod
    def of(cls, spec: SourceSpec) -> CustomData:
        """List the settings of a file."""
        with spec.open() as source:
            with DamageReport(spec.name, "ignore"):  # told when it was opened
                names = ChunkReader(source).index.names()
            found = [
                name.removeprefix(_SETTINGS).removesuffix("!")
                for name in names
                if name.startswith(_SETTINGS)
            ]
        return cls(spec, tuple(found))

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        return read_chunk(self.spec, f"{_SETTINGS}{name}!")

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
