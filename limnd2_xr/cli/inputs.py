"""Files named on the command line: paths, folders, globs and URLs, as a list of files."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from limnd2_xr.cli.messages import is_remote
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.conversion.source_image import natural_key
from limnd2_xr.export.file_names import safe_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["InputFile", "find_inputs", "local_path", "storage_options_of"]

_SUFFIX: Final = ".nd2"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """One file to read."""

    name: str
    """Path or URL."""
    below: tuple[str, ...] = ()
    """Folders between the folder that was named and the file."""

    @property
    def is_remote(self) -> bool:
        """Whether it is a URL."""
        return is_remote(self.name)

    @property
    def file_name(self) -> str:
        """Last part of its path."""
        if not self.is_remote:
            return Path(self.name).name
        parts = [part for part in self.name.split("::") if "://" in part]
        address = urlsplit(parts[0])
        path = address.path.rstrip("/") or address.netloc
        return safe_part(unquote(path.rpartition("/")[2])) or "image"

    @property
    def stem(self) -> str:
        """Its name without ``.nd2``."""
        name = self.file_name
        if name.lower().endswith(_SUFFIX) and len(name) > len(_SUFFIX):
            return name[: -len(_SUFFIX)]
        return name

    @property
    def identity(self) -> str:
        """What is the same however the file was named."""
        return self.name if self.is_remote else os.path.abspath(self.name)  # noqa: PTH100


def find_inputs(
    names: Iterable[str],
    *,
    recurse: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> tuple[InputFile, ...]:
    """Return the files that names stand for, each once, in the order of the names.

    A name is a file, a URL, a folder (of .nd2 files), or a glob that no shell has
    expanded, also of a URL. Files of a folder or glob come in natural order, `2` before
    `10`. A file that does not exist is returned all the same: opening it says so.

    Parameters
    ----------
    names
        As given.
    recurse
        Look into folders of folders.
    storage_options
        For globs of URLs.

    Raises
    ------
    ValueError
        If a glob matches nothing, or a folder has no .nd2 file.
    OSError
        If a folder cannot be listed.
    """
    found: dict[str, InputFile] = {}
    for given in names:
        name = local_path(given)
        for file in _files_of(name, recurse, storage_options or {}):
            found.setdefault(file.identity, file)
    return tuple(found.values())


def local_path(name: str) -> str:
    """Return a path for a ``file://`` URL or one that begins with ``~``; others as is."""
    if "://" in name and not is_remote(name):
        return SourceSpec.of(name).location
    return os.path.expanduser(name)  # noqa: PTH111 - it would mend URLs


def _files_of(
    name: str, recurse: bool, options: Mapping[str, Any]
) -> Iterator[InputFile]:
    if is_remote(name):
        yield from _remote(name, options)
    elif os.path.isdir(name):  # noqa: PTH112 - as the user wrote it
        yield from _folder(name, recurse)
    elif not os.path.lexists(name) and glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True), key=natural_key)  # noqa: PTH207
        if not matches:
            raise ValueError(f"{name}: no file matches")
        for match in matches:
            if os.path.isdir(match):  # noqa: PTH112
                yield from _folder(match, recurse, may_be_empty=True)
            else:
                yield InputFile(name=match)
    else:
        yield InputFile(name=name)


def _folder(
    folder: str, recurse: bool, *, may_be_empty: bool = False
) -> Iterator[InputFile]:
    """Yield the .nd2 files of a folder; links to folders are not followed."""
    is_empty = True
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(folders, key=natural_key) if recurse else []
        below = Path(place).relative_to(folder).parts
        for name in sorted(files, key=natural_key):
            if name.lower().endswith(_SUFFIX) and not name.startswith("."):
                is_empty = False
                yield InputFile(name=os.path.join(place, name), below=below)  # noqa: PTH118
    if is_empty and not may_be_empty:
        hint = "" if recurse else "; --recurse looks into its folders"
        raise ValueError(f"{folder}: the folder has no .nd2 file{hint}")


def _raise(error: OSError) -> None:
    raise error


def _remote(url: str, options: Mapping[str, Any]) -> Iterator[InputFile]:
    """Yield a URL, or what matches it: of stores, where ? and * are no query."""
    if "*" not in url or url.lower().startswith(("http://", "https://")):
        yield InputFile(name=url)
        return
    import fsspec

    fs, path = fsspec.core.url_to_fs(url, **options)
    try:
        matches = sorted(map(str, fs.glob(path)), key=natural_key)
    except Exception as error:
        raise ValueError(f"{url}: {str(error) or type(error).__name__}") from error
    if not matches:
        raise ValueError(f"{url}: no file matches")
    for match in matches:
        yield InputFile(name=fs.unstrip_protocol(match))


def storage_options_of(words: Iterable[str]) -> dict[str, Any]:
    """Return what ``--storage-option`` says.

    Parameters
    ----------
    words
        ``key=value`` each. A value is JSON if it is valid JSON (``true``, ``5``,
        ``"5"``, ``{"a": 1}``), else text; a key with dots goes into nested options.

    Raises
    ------
    ValueError
        If a word has no key.

    Examples
    --------
    >>> storage_options_of(["anon=true", "client_kwargs.region_name=eu-west-1"])
    {'anon': True, 'client_kwargs': {'region_name': 'eu-west-1'}}
    """
    import json

    options: dict[str, Any] = {}
    for word in words:
        key, mark, text = word.partition("=")
        *above, last = key.strip().split(".")
        if not mark or not all((*above, last)):
            # What it is is not shown: it may be a secret.
            raise ValueError("--storage-option takes key=value, such as anon=true")
        place = options
        for name in above:
            nested = place.setdefault(name, {})
            if not isinstance(nested, dict):
                reason = f"--storage-option {key}: {name} is a value already"
                raise ValueError(reason)  # noqa: TRY004 - of what the user wrote
            place = nested
        try:
            place[last] = json.loads(text)
        except ValueError:
            place[last] = text
    return options
