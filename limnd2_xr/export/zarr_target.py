"""Where the objects of an exported hierarchy are put: a folder, or behind a URL.

An export becomes visible under its name at once, when it is complete. In a folder it grows under
the name with ``.partial`` behind it, and is renamed. Stores of objects cannot rename: there
it grows under its final name, but what makes it a zarr hierarchy, the metadata of its
root, comes last; if it replaces another, it grows beside it, and is moved.
"""

from __future__ import annotations

import os
import shutil
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.container.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

__all__ = [
    "JOURNAL",
    "LocalTarget",
    "RemoteTarget",
    "Target",
    "is_store",
    "open_target",
]

JOURNAL: Final = ".export"
"""Prefix of what an export notes while it grows."""
PARTIAL: Final = ".partial"
ROOT_FILES: Final = ("zarr.json", ".zgroup", ".zattrs")
"""What makes a place the root of a hierarchy."""
_STORES: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "memory"})
"""Protocols that know no folders, so that none have to be made."""


class Target(ABC):
    """Where an export goes; picklable."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Path or URL that the export will have."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is something under that name, an unfinished export aside."""

    @abstractmethod
    def final_file(self, key: str) -> bytes | None:
        """Return a file of what is there under the final name, None without it."""

    @abstractmethod
    def has_partial(self) -> bool:
        """Whether there is an unfinished export."""

    @abstractmethod
    def is_foreign(self) -> bool:
        """Whether what lies where the export grows is no unfinished export."""

    @abstractmethod
    def begin(self) -> None:
        """Make room for a new export."""

    @abstractmethod
    def discard(self) -> None:
        """Delete an unfinished export."""

    @abstractmethod
    def put(self, objects: Mapping[str, bytes]) -> None:
        """Store objects of the growing export, each whole or not at all."""

    @abstractmethod
    def get(self, keys: Iterable[str]) -> list[bytes]:
        """Return objects of the growing export, in the order of the keys."""

    @abstractmethod
    def find(self, prefix: str) -> list[str]:
        """Return all keys of the growing export below a prefix."""

    @abstractmethod
    def remove(self, prefix: str) -> None:
        """Delete everything below a prefix of the growing export."""

    @abstractmethod
    def clear_up(self) -> None:
        """Delete what a complete export may have left when it was killed at its end."""

    @abstractmethod
    def commit(self, root: Mapping[str, bytes], *, overwrite: bool) -> None:
        """Give the export its name.

        Parameters
        ----------
        root
            Metadata of the root of the hierarchy.
        overwrite
            Replace what is there.
        """

    @abstractmethod
    def check_replaceable(self) -> None:
        """Refuse to replace what is no zarr hierarchy.

        Raises
        ------
        FileExistsError
            If something else is there.
        """


def open_target(
    dest: str | os.PathLike[str], storage_options: dict[str, Any] | None = None
) -> Target:
    """Return where an export to a path or URL goes.

    Parameters
    ----------
    dest
        Path, or any URL that fsspec knows.
    storage_options
        For a URL: arguments of its filesystem.

    Raises
    ------
    ValueError
        If it is empty, or `storage_options` came with something that is not a URL.
    """
    text = os.fspath(dest)
    for scheme in ("file://", "local://"):
        text = text.removeprefix(scheme)
    if not text.strip("/ "):
        raise ValueError(f"{dest!r} is no name that an export can have")
    if "://" in text or "::" in text:
        return RemoteTarget(url=text.rstrip("/"), storage_options=storage_options or {})
    if storage_options:
        raise ValueError(f"storage_options are for URLs; {text} is a path")
    path = Path(text).expanduser()
    return LocalTarget(path=Path(os.path.abspath(path)))  # noqa: PTH100 - keeps links


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTarget(Target):
    """A folder on this machine."""

    path: Path

    @property
    def name(self) -> str:
        """Path or URL."""
        return str(self.path)

    @property
    def partial(self) -> Path:
        """Folder of the growing export."""
        return self.path.with_name(self.path.name + PARTIAL)

    def exists(self) -> bool:
        """Whether something has the final name."""
        return os.path.lexists(self.path)

    def final_file(self, key: str) -> bytes | None:
        """Return a file under the final name."""
        try:
            return (self.path / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def has_partial(self) -> bool:
        """Whether there is an unfinished export."""
        return os.path.lexists(self.partial)

    def is_foreign(self) -> bool:
        """Whether something else is in the way."""
        if not self.partial.is_dir():
            return self.has_partial()
        names = {path.name for path in self.partial.iterdir()}
        return bool(names) and JOURNAL not in names

    def begin(self) -> None:
        """Make room."""
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        self.partial.mkdir()
        (self.partial / JOURNAL).mkdir()

    def discard(self) -> None:
        """Delete an unfinished export."""
        _delete(self.partial)

    def put(self, objects: Mapping[str, bytes]) -> None:
        """Store objects."""
        for key, data in objects.items():
            # Whole or not at all: what a killed process was writing lies elsewhere, and
            # is deleted with the journal.
            new = self.partial / JOURNAL / f"{uuid.uuid4().hex}{PARTIAL}"
            with new.open("wb", buffering=0) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
            path = self.partial / key
            try:
                new.replace(path)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                new.replace(path)

    def get(self, keys: Iterable[str]) -> list[bytes]:
        """Return objects."""
        return [(self.partial / key).read_bytes() for key in keys]

    def find(self, prefix: str) -> list[str]:
        """Return keys below a prefix."""
        folder = self.partial / prefix
        if not folder.is_dir():
            return []
        return sorted(
            f"{prefix}/{path.name}"
            for path in folder.iterdir()
            if not path.name.endswith(PARTIAL)
        )

    def remove(self, prefix: str) -> None:
        """Delete what is below a prefix."""
        shutil.rmtree(self.partial / prefix, ignore_errors=True)

    def clear_up(self) -> None:
        """Delete the journal of a complete export."""
        shutil.rmtree(self.path / JOURNAL, ignore_errors=True)

    def commit(self, root: Mapping[str, bytes], *, overwrite: bool) -> None:
        """Give the export its name."""
        self.put(root)
        # The journal goes last: whenever this is killed, there is a whole one to go on
        # with, or a complete export.
        if not overwrite:
            if self.exists():
                raise FileExistsError(_exists(self.name))
            self.partial.rename(self.path)
            self.clear_up()
            return
        old = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}.replaced")
        if self.exists():
            self.path.rename(old)
        try:
            self.partial.rename(self.path)
        except BaseException:
            if os.path.lexists(old):
                old.rename(self.path)
            raise
        self.clear_up()
        _delete(old)

    def check_replaceable(self) -> None:
        """Refuse to replace what is no zarr."""
        if not self.path.is_dir():
            raise FileExistsError(_no_zarr(self.name))
        if any((self.path / name).exists() for name in ROOT_FILES):
            return
        if any(self.path.iterdir()):
            raise FileExistsError(_no_zarr(self.name))


@dataclass(frozen=True, kw_only=True)
class RemoteTarget(Target):
    """A prefix in whatever fsspec reaches."""

    url: str
    storage_options: dict[str, Any] = field(default_factory=dict, repr=False)
    beside: bool = False
    """Whether the export grows beside what it will replace."""

    @property
    def name(self) -> str:
        """URL, without what lets one in."""
        return redacted(self.url)

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        fs, path = fsspec.core.url_to_fs(self.url, **self.storage_options)
        return fs, str(path).rstrip("/")

    @property
    def _fs(self) -> Any:
        fs = self._opened[0]
        fs.invalidate_cache()
        return fs

    @property
    def _final(self) -> str:
        return self._opened[1]

    @property
    def _growing(self) -> str:
        return self._final + PARTIAL if self.beside else self._final

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_opened"}

    def growing_beside(self) -> Self:
        """Return the same, that grows beside what is there."""
        return replace(self, beside=True)

    def exists(self) -> bool:
        """Whether something has the final name."""
        fs = self._fs
        if not fs.exists(self._final):
            return False
        return fs.isfile(self._final) or self._is_root() or not self.has_partial()

    def _is_root(self) -> bool:
        fs = self._fs
        return any(fs.exists(f"{self._final}/{name}") for name in ROOT_FILES)

    def final_file(self, key: str) -> bytes | None:
        """Return a file under the final name."""
        try:
            data: bytes = self._fs.cat_file(f"{self._final}/{key}")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        return data

    def has_partial(self) -> bool:
        """Whether there is an unfinished export."""
        found: bool = self._fs.exists(f"{self._growing}/{JOURNAL}/plan.json")
        return found

    def is_foreign(self) -> bool:
        """Whether something else is in the way."""
        return False

    def begin(self) -> None:
        """Nothing has to be made."""

    def discard(self) -> None:
        """Delete an unfinished export."""
        fs = self._fs
        if fs.exists(self._growing):
            fs.rm(self._growing, recursive=True)

    def put(self, objects: Mapping[str, bytes]) -> None:
        """Store objects."""
        fs = self._opened[0]
        named = {f"{self._growing}/{key}": data for key, data in objects.items()}
        if not is_store(fs):
            for folder in {name.rpartition("/")[0] for name in named}:
                fs.makedirs(folder, exist_ok=True)
        fs.pipe(named)

    def get(self, keys: Iterable[str]) -> list[bytes]:
        """Return objects."""
        names = [f"{self._growing}/{key}" for key in keys]
        if not names:
            return []
        found: dict[str, bytes] = self._fs.cat(names)
        return [found[name] for name in names]

    def find(self, prefix: str) -> list[str]:
        """Return keys below a prefix."""
        fs = self._fs
        if not fs.exists(f"{self._growing}/{prefix}"):
            return []
        start = len(self._growing) + 1
        return sorted(name[start:] for name in fs.find(f"{self._growing}/{prefix}"))

    def remove(self, prefix: str) -> None:
        """Delete what is below a prefix."""
        fs = self._fs
        if fs.exists(f"{self._growing}/{prefix}"):
            fs.rm(f"{self._growing}/{prefix}", recursive=True)

    def clear_up(self) -> None:
        """Delete the journal of a complete export."""
        fs = self._fs
        if fs.exists(f"{self._final}/{JOURNAL}"):
            fs.rm(f"{self._final}/{JOURNAL}", recursive=True)

    def commit(self, root: Mapping[str, bytes], *, overwrite: bool) -> None:
        """Give the export its name."""
        del overwrite  # what is replaced was grown beside
        if not self.beside:
            self.put(root)
            self.clear_up()
            return
        fs = self._fs
        if fs.exists(self._final):
            fs.rm(self._final, recursive=True)
        start = len(self._growing)
        journal = f"{self._growing}/{JOURNAL}/"
        names = [
            name for name in fs.find(self._growing) if not name.startswith(journal)
        ]
        finals = [self._final + name[start:] for name in names]
        if not is_store(fs):
            for folder in {name.rpartition("/")[0] for name in finals}:
                fs.makedirs(folder, exist_ok=True)
        fs.copy(names, finals)  # many at a time, where requests are
        replace(self, beside=False).put(root)
        self.discard()

    def check_replaceable(self) -> None:
        """Refuse to replace what is no zarr."""
        fs = self._fs
        is_empty = not fs.exists(self._final)
        # Killed while it replaced another: parts of it, and all of it beside.
        is_part = self.has_partial() or replace(self, beside=True).has_partial()
        if not (is_empty or self._is_root() or is_part) or fs.isfile(self._final):
            raise FileExistsError(_no_zarr(self.name))


def is_store(fs: Any) -> bool:
    """Say whether a filesystem of fsspec stores objects, whole or not at all."""
    names = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return not _STORES.isdisjoint(names)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _exists(name: str) -> str:
    return f"{name} exists: overwrite=True replaces it once the new one is complete"


def _no_zarr(name: str) -> str:
    return f"{name} is no zarr, so it is not replaced"
