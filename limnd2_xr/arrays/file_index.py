"""What a table of many files says of each: read from metadata, in a few milliseconds."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.arrays.labels import layers_of
from limnd2_xr.container.redaction import Secrets
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.damage import DamageReport
from limnd2_xr.errors import Nd2Error
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.model.channels import channel_names
from limnd2_xr.model.times import acquired, frame_times

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["COLUMNS", "FileRow", "first_moment", "index_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One file; what it does not say, or what could not be read, is None."""

    path: str
    """As it was given."""
    name: str
    size: int | None = None
    """Bytes of the file."""
    modified: str | None = None
    """UTC, ISO 8601; of local files."""
    version: str | None = None
    """Of the format, e.g. ``"3.0"``."""
    dims: str | None = None
    """Those of the image, e.g. ``"TZCYX"``."""
    T: int | None = None
    """Length along a dim; 1 where the image does not have it."""
    P: int | None = None
    Z: int | None = None
    C: int | None = None
    Y: int | None = None
    X: int | None = None
    dtype: str | None = None
    bits: int | None = None
    """Of a component, those that carry data."""
    channels: tuple[str, ...] | None = None
    pixel_size: float | None = None
    """In um."""
    z_step: float | None = None
    """In um."""
    objective: str | None = None
    acquired: str | None = None
    """When the first frame was taken, UTC, ISO 8601."""
    software: str | None = None
    compression: str | None = None
    missing: int | None = None
    """Frames that the file should have, and lacks."""
    masks: int | None = None
    """Binary layers."""
    damage: str | None = None
    """What is damaged of a file that can be read."""
    error: str | None = None
    """Why it cannot be read."""

    def to_plain(self) -> dict[str, Any]:
        """Return the columns by name, with a list of channels."""
        plain = asdict(self)
        if self.channels is not None:
            plain["channels"] = list(self.channels)
        return plain


COLUMNS = tuple(field.name for field in fields(FileRow))
"""Names of the columns, in their order."""


def index_file(file: str, storage_options: Mapping[str, Any] | None = None) -> FileRow:
    """Return the row of one file; one that cannot be read has its reason in it.

    Parameters
    ----------
    file
        Path or URL.
    storage_options
        For a URL: arguments of its filesystem.

    Examples
    --------
    >>> import tempfile
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> folder = tempfile.TemporaryDirectory()
    >>> spec = SyntheticSpec(loops=(TimeLoop(3),), width=8, height=6)
    >>> row = index_file(str(build(spec).save(folder.name + "/a.nd2")))
    >>> row.name, row.dims, row.T, row.Z, row.channels
    ('a.nd2', 'TCYX', 3, 1, ('GFP',))
    >>> folder.cleanup()
    """
    spec = SourceSpec.of(file)
    if spec.kind == "url":
        spec = SourceSpec.of(file, storage_options)
    known: dict[str, Any] = {"path": spec.name, "name": _name(spec)}
    try:
        if spec.kind == "path":
            known |= _stat(spec.location)
        with DamageReport(spec.name, "ignore") as report:
            known |= _read(spec)
        known["damage"] = "; ".join(report.texts) or None
    except Exception as error:
        # Libraries for URLs raise anything; of local files it would be a defect.
        local = (ImportError, Nd2Error, OSError, ValueError)
        if spec.kind == "path" and not isinstance(error, local):
            raise
        known["error"] = _reason(spec, error)
    return FileRow(**known)


def _name(spec: SourceSpec) -> str:
    place = spec.name.partition("?")[0].replace(os.sep, "/")
    return place.rpartition("/")[2]


def _stat(path: str) -> dict[str, Any]:
    found = os.stat(path)  # noqa: PTH116 - SourceSpec has texts
    moment = datetime.fromtimestamp(int(found.st_mtime), UTC)
    return {"size": found.st_size, "modified": f"{moment:%Y-%m-%dT%H:%M:%S}Z"}


def _read(spec: SourceSpec) -> dict[str, Any]:
    with FrameStore.open(spec, on_damage="ignore") as store:
        document = store.document
        sizes = dict(zip(store.dims, store.shape, strict=True))
        return {
            "size": store.file_nbytes,
            "version": document.format_version,
            "dims": "".join(sizes),
            **{dim: int(sizes.get(dim, 1)) for dim in "TPZCYX"},
            "dtype": str(store.dtype),
            "bits": document.attributes.bits_significant,
            "channels": tuple(channel_names(document.channels)),
            "pixel_size": document.optics.pixel_size_um,
            "z_step": document.z_step_um,
            "objective": document.optics.objective or None,
            "acquired": _acquired(store),
            "software": document.software.name or None,
            "compression": document.attributes.compression,
            "missing": len(store.table.missing),
            "masks": len(layers_of(store)),
        }


def _acquired(store: FrameStore) -> str | None:
    times_s = frame_times(store.document, store.axes, store.records)
    return first_moment(store, times_s) or None


def first_moment(store: FrameStore, times_s: NDArray[np.float64]) -> str:
    """Return when frame 0 was taken, UTC, ISO 8601; ``""`` if that is not known.

    Parameters
    ----------
    store
        The open file.
    times_s
        Of all frames, see `limnd2_xr.model.times.frame_times`.
    """
    moments = acquired(store.document, store.axes, times_s)
    (first,) = moments[store.axes.sequence() == 0]
    if np.isnat(first):
        return ""
    # A Julian day is good for 40 us.
    millis = round(int(first.astype("datetime64[us]").astype(np.int64)) / 1000)
    return f"{np.datetime64(millis, 'ms')}Z"


def _reason(spec: SourceSpec, error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.__cause__ is None:
        return "no such file"
    if isinstance(error, OSError) and error.strerror and spec.kind == "path":
        return error.strerror
    text = Secrets.of(spec.location, spec.storage_options).scrub(str(error))
    return text.removeprefix(f"{spec.name}: ") or type(error).__name__
