"""Where the bytes of a file come from: `SourceSpec` says it, `ByteSource` reads it."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import unquote

from limnd2_xr.container.byte_source import (
    BaseSource,
    ByteSource,
    FileStamp,
    ReadObserver,
    WritableBuffer,
    observe_reads,
)
from limnd2_xr.container.local_source import (
    FileObjectSource,
    FileSource,
    MemorySource,
    ReadableFile,
    file_object_name,
)
from limnd2_xr.container.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "BaseSource",
    "ByteSource",
    "FileObjectSource",
    "FileSource",
    "FileStamp",
    "MemorySource",
    "ReadObserver",
    "ReadableFile",
    "SourceLike",
    "SourceSpec",
    "WritableBuffer",
    "observe_reads",
]

SourceLike: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | ReadableFile"
)
"""What `SourceSpec.of` takes: path, URL, bytes, or an open binary file."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(://|::)")
_LOCAL_URL = re.compile(r"(file|local)://", re.IGNORECASE)


@dataclass(frozen=True)
class SourceSpec:
    """Which file it is: small, hashable, picklable, and opens the file anywhere.

    Make one with `SourceSpec.of`.

    Attributes
    ----------
    kind
        ``"path"``, ``"url"``, ``"bytes"`` or ``"object"``.
    name
        How to call the file in messages: the path as it was given, or the URL without
        credentials.
    location
        Absolute path, URL, or path in the file system `content`; not shown, as a URL may
        hold credentials.
    storage_options
        For fsspec; neither shown nor hashed.
    content
        The bytes, the file object, or the file system a file object came from.

    Examples
    --------
    >>> spec = SourceSpec.of(b"abcdef")
    >>> with spec.open() as source:
    ...     spec.name, source.read_at(1, 2)
    ('<bytes>', b'bc')
    >>> SourceSpec.of("s3://bucket/a.nd2").kind
    'url'
    """

    kind: Literal["path", "url", "bytes", "object"]
    name: str = field(compare=False)
    location: str = field(repr=False)
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    content: Any = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        filename_or_obj: SourceLike,
        storage_options: Mapping[str, Any] | None = None,
    ) -> SourceSpec:
        """Return the spec of a path, a URL, bytes or an open binary file.

        Parameters
        ----------
        filename_or_obj
            A path (``~`` is expanded), an fsspec URL (``file://`` becomes a path),
            bytes, or a file object. A bytearray or memoryview is copied, as its
            owner may change it. A file object opened by fsspec is opened again from
            its file system, hence pickles; other file objects are used as they are.
        storage_options
            For fsspec; only URLs take them.

        Raises
        ------
        TypeError
            It is none of these.
        ValueError
            `storage_options` came with something that is not a URL.
        """
        options = dict(storage_options or {})
        spec = cls._of(filename_or_obj, options)
        if options and (spec.kind != "url" or spec.content is not None):
            raise ValueError(
                f"storage_options are for URLs; {spec.name} is a {spec.kind}"
            )
        return spec

    @classmethod
    def _of(cls, obj: Any, options: dict[str, Any]) -> SourceSpec:
        if isinstance(obj, bytes):
            return cls("bytes", "<bytes>", "", content=obj)
        if isinstance(obj, bytearray | memoryview):
            return cls("bytes", "<bytes>", "", content=bytes(obj))
        if not isinstance(obj, str) and (remote := _fsspec_file(obj)) is not None:
            return remote
        if isinstance(obj, str | os.PathLike):
            text = os.fspath(obj)
            if not isinstance(text, str):
                raise TypeError(f"bytes paths are not supported: {text!r}")
            if _LOCAL_URL.match(text):
                return _path_spec(_path_of_url(text), text)
            if _URL.match(text):
                return cls("url", redacted(text), text, options)
            return _path_spec(text, text)
        if hasattr(obj, "read") and hasattr(obj, "seek"):
            return cls("object", file_object_name(obj), "", content=obj)
        raise TypeError(
            "expected a path, a URL, bytes or a binary file object, got"
            f" {type(obj).__name__}"
        )

    def open(self) -> BaseSource:
        """Return a new open source; the caller closes it.

        Raises
        ------
        FileNotFoundError, IsADirectoryError, PermissionError
            As the system raises them.
        RemoteError
            The server of a URL refuses, or cannot be reached.
        Nd2Error
            The server of a URL does not tell the size of the file.
        """
        if self.kind == "path":
            return FileSource(self.location, self.name)
        if self.kind == "bytes":
            return MemorySource(self.content, self.name)
        if self.kind == "object":
            return FileObjectSource(self.content, self.name)
        # Here, as most files are local and these need half of Python's network library.
        from limnd2_xr.container.direct_source import DirectSource
        from limnd2_xr.container.fsspec_source import FsspecSource

        if self.content is not None:
            return FsspecSource.from_filesystem(self.content, self.location, self.name)
        source = DirectSource.maybe(self.location, self.storage_options)
        return source or FsspecSource(self.location, self.storage_options)

    @property
    def identity(self) -> str:
        """Which file it is, without credentials: two signed URLs of a file are the same."""
        return redacted(self.location) if self.kind == "url" else self.location

    def stamp(self) -> FileStamp:
        """Return size and version of the file as it is now.

        Equal to `ByteSource.stamp` of a source opened earlier as long as the file
        did not change. Costs a ``stat``, or a request for a URL.
        """
        if self.kind == "path":
            stat = os.stat(self.location)  # noqa: PTH116
            return FileStamp(stat.st_size, mtime_ns=stat.st_mtime_ns)
        with self.open() as source:
            return source.stamp

    def __hash__(self) -> int:
        content = id(self.content) if self.kind == "object" else self.content
        return hash((self.kind, self.location, content))

    def __deepcopy__(self, memo: dict[int, Any]) -> SourceSpec:
        # It does not change; and an open file object has no copy.
        return self

    def __reduce__(self) -> tuple[Callable[..., SourceSpec], tuple[Any, ...]]:
        if self.kind == "object":
            raise TypeError(
                f"an open file object ({self.name}) cannot be pickled; pass a path, a"
                " URL or bytes to use the file in other processes"
            )
        state = (self.kind, self.name, self.location, dict(self.storage_options))
        return SourceSpec, (*state, self.content)


def _path_spec(path: str, name: str) -> SourceSpec:
    # Absolute, as the spec may be opened by a process that runs elsewhere.
    location = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111
    return SourceSpec("path", name, location)


def _path_of_url(url: str) -> str:
    path = _LOCAL_URL.sub("", url)
    path = path.removeprefix("localhost") if path.startswith("localhost/") else path
    if os.name == "nt" and re.match(r"/[A-Za-z]:", path):
        path = path[1:]
    # fsspec takes the text as it is, `Path.as_uri` escapes: believe the disk.
    return path if os.path.exists(path) else unquote(path)  # noqa: PTH110


def _fsspec_file(obj: Any) -> SourceSpec | None:
    """Return a spec that opens anew what fsspec opened, None for other objects."""
    fsspec = sys.modules.get("fsspec")
    fs, path = getattr(obj, "fs", None), getattr(obj, "path", None)
    if fsspec is None or not isinstance(fs, fsspec.AbstractFileSystem):
        return None
    if not isinstance(path, str) or getattr(obj, "compression", None):
        return None
    if "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol):
        return _path_spec(path, path)
    name = redacted(fs.unstrip_protocol(path))
    return SourceSpec("url", name, path, content=fs)
