"""Shape of what `ND2File.jobs` returns; like nd2's it is for type checkers only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, TypeAlias, TypedDict

    class ProgramDesc(TypedDict, total=False):
        """What kind of job it is."""

        JobDefType: int

    class ProtectedJob(TypedDict, total=False):
        """A job that its author encrypted."""

        EncryptionType: int
        DataSize: int
        Data: list[int]

    class JobProperty(TypedDict, total=False):
        """Name and description of a job."""

        Name: str
        Desc: str
        State: int
        Usability: int

    Task: TypeAlias = dict[str, Any]
    TasksDict: TypeAlias = dict[str, Task]

    class Job(TypedDict, total=False):
        """A job in the clear."""

        CustomDefinitions: dict[str, Any]
        Tasks: TasksDict
        PropertyDefinitions: dict[str, Any]
        Property: JobProperty
        ProgramParameters: dict[str, Any]

    class JobsDict(TypedDict, total=False):
        """What `ND2File.jobs` returns."""

        JobRunGUID: str
        ProgramDesc: ProgramDesc
        Job: Job | None
        ProtectedJob: ProtectedJob | None
