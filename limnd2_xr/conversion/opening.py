"""Which files are meant, and which source reads each."""

from __future__ import annotations

import glob
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from limnd2_xr.conversion.array_source import (
    NETCDF_SUFFIXES,
    image_of_dataset,
    open_netcdf,
    open_npy,
)
from limnd2_xr.conversion.bioio_source import open_bioio
from limnd2_xr.conversion.filename_pattern import FilenamePattern
from limnd2_xr.conversion.image_source import IMAGE_SUFFIXES, open_picture
from limnd2_xr.conversion.source_image import natural_key
from limnd2_xr.conversion.tiff_source import is_tiff, open_tiff
from limnd2_xr.conversion.zarr_source import is_zarr, open_zarr
from limnd2_xr.errors import UnsupportedFeature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from limnd2_xr.conversion.source_image import Reading, SourceImage

__all__ = ["READERS", "found_files", "open_images"]

READERS: Final = ("auto", "tiff", "picture", "zarr", "netcdf", "npy", "bioio")
"""How a file may be asked to be read."""

_NEEDS: Final = {
    "tiff": ("tifffile", "export"),
    "picture": ("imagecodecs", "export"),
    "netcdf": ("h5netcdf", "netcdf"),
}
"""What reads a file, and the extra that brings it."""
_MAGIC: Final = "*?["
_SUFFIXES: Final = (".tif", ".tiff", ".btf", ".tf8", *IMAGE_SUFFIXES, ".npy")
"""Of files that are taken from a folder without a pattern."""


def found_files(
    sources: Sequence[str], pattern: FilenamePattern | None
) -> tuple[list[str], FilenamePattern | None, int]:
    """Return the files that are meant, in natural order.

    Parameters
    ----------
    sources
        Files, stores, folders, globs (``**`` for any folders), or one name with groups in
        braces, which is a pattern and says where.
    pattern
        Of the names, if it is given apart.

    Returns
    -------
    files : list of str
        Without those of folders and globs whose names do not fit the pattern.
    pattern : FilenamePattern or None
        Also where a source was one.
    passed : int
        How many files of folders and globs do not fit.

    Raises
    ------
    FileNotFoundError
        If a source is not there.
    ValueError
        If a file that was named does not fit the pattern, or no file fits.
    """
    found: list[str] = []
    passed = 0
    for source in sources:
        if "{" in source and not os.path.lexists(source):
            if pattern is not None or len(sources) > 1:
                raise ValueError(
                    f"{source} is a pattern of names: give it alone, as the only input"
                )
            pattern = _parsed(source)
            candidates = _matching(source)
        elif "://" not in source and Path(source).is_dir() and not is_zarr(source):
            candidates = _in_folder(source, pattern)
        elif any(sign in source for sign in _MAGIC) and not os.path.lexists(source):
            candidates = glob.glob(source, recursive=True)  # noqa: PTH207
            if not candidates:
                raise FileNotFoundError(2, "no file matches", source)
        else:
            if "://" not in source and not os.path.lexists(source):
                raise FileNotFoundError(2, "no such file", source)
            if pattern is not None and pattern.match(source) is None:
                raise ValueError(f"{source} does not fit the pattern {pattern.text!r}")
            found.append(source)
            continue
        fitting = [
            name for name in candidates if pattern is None or pattern.match(name)
        ]
        passed += len(candidates) - len(fitting)
        found += fitting
    if not found:
        what = f" with names as {pattern.text!r}" if pattern else ""
        raise ValueError(f"{', '.join(sources)}: no image files{what}")
    return sorted(dict.fromkeys(found), key=natural_key), pattern, passed


def open_images(
    path: str, reading: Reading, stack: ExitStack, *, one_of_many: bool = False
) -> list[SourceImage]:
    """Open a file or a store; no pixels are read.

    Parameters
    ----------
    path
        Of a file, or folder or URL of a store.
    reading
        How to understand it.
    stack
        What closes it.
    one_of_many
        Keep it closed while nothing is read, where that is possible.

    Returns
    -------
    list of SourceImage
        At least one.
    """
    kind = _kind(path) if reading.reader == "auto" else reading.reader
    if "://" in path and kind not in {"zarr", "nd2", "bioio"}:
        raise ValueError(
            f"{path} is not on this machine: copy it here, and convert that"
        )
    needed, extra = _NEEDS.get(kind, ("", ""))
    if needed and find_spec(needed) is None:
        raise UnsupportedFeature(
            f'{needed} is not installed: pip install "limnd2-xr[{extra}]" brings it',
            path=path,
        )
    match kind:
        case "tiff":
            return open_tiff(path, reading, None if one_of_many else stack)
        case "picture":
            return open_picture(Path(path), reading)
        case "zarr":
            return open_zarr(path, reading, stack)
        case "netcdf":
            return open_netcdf(path, reading, stack)
        case "npy":
            return open_npy(path, reading)
        case "nd2":
            return [_open_nd2(path, reading, stack)]
        case "bioio":
            return open_bioio(path, reading)
    raise ValueError(f"reader must be one of {', '.join(READERS)}, not {kind!r}")


def _kind(path: str) -> str:
    name = path.rstrip("/").lower()
    if name.endswith(".nd2"):
        return "nd2"
    if name.endswith(".npy"):
        return "npy"
    if name.endswith(IMAGE_SUFFIXES):
        return "picture"
    if name.endswith(NETCDF_SUFFIXES):
        return "netcdf"
    if is_zarr(path):
        return "zarr"
    if name.endswith((".tif", ".tiff")):
        return "tiff"
    # The formats of many cameras and scanners are TIFF inside.
    return "tiff" if is_tiff(path) else "bioio"


def _open_nd2(path: str, reading: Reading, stack: ExitStack) -> SourceImage:
    from limnd2_xr.arrays.dataset import open_dataset

    dataset = stack.enter_context(open_dataset(path))
    return image_of_dataset(dataset, path, "nd2", reading)


def _parsed(source: str) -> FilenamePattern:
    """Read the pattern in a path: from its first part with a group on."""
    _, tail = _split(source)
    return FilenamePattern.parse(tail)


def _split(source: str) -> tuple[str, str]:
    parts = source.replace("\\", "/").split("/")
    first = next(i for i, part in enumerate(parts) if "{" in part)
    return "/".join(parts[:first]), "/".join(parts[first:])


def _matching(source: str) -> list[str]:
    """Files beside those that a pattern means, in as many folders."""
    head, tail = _split(source)
    stars = "/".join(["*"] * (tail.count("/") + 1))
    return glob.glob(f"{glob.escape(head)}/{stars}" if head else stars)  # noqa: PTH207


def _in_folder(folder: str, pattern: FilenamePattern | None) -> list[str]:
    depth = pattern.depth if pattern else 1
    stars = "/".join(["*"] * depth)
    names = glob.glob(f"{glob.escape(folder)}/{stars}")  # noqa: PTH207
    if pattern is not None:
        return names
    return [name for name in names if name.lower().endswith(_SUFFIXES)]
