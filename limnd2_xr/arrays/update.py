"""Texts, recorded columns and single chunks of an existing file, changed in place."""

from __future__ import annotations

import os
from collections import ChainMap
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import xarray as xr

from limnd2_xr.arrays.described import with_attributes
from limnd2_xr.arrays.label_writing import StoredMasks, label_payloads
from limnd2_xr.arrays.origin import read_payload
from limnd2_xr.arrays.units import in_unit
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.container.update import update_chunks
from limnd2_xr.damage import DamageReport
from limnd2_xr.errors import UnsupportedFeature
from limnd2_xr.frames.opening import find_frames, open_index, read_raw
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.raw import (
    ATTRIBUTES,
    FRAME_TIMES,
    FRAMES_CACHE,
    METADATA_CHUNKS,
    SECOND_CLOCK,
    encode_raw,
)
from limnd2_xr.model.records import RecordedColumn, encode_column
from limnd2_xr.model.to_raw import Base

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from numpy.typing import ArrayLike, NDArray

    from limnd2_xr.arrays.label_writing import Labels
    from limnd2_xr.container.chunk_index import ChunkIndex
    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.model.axes import Axes

__all__ = ["update_nd2"]

_STAGE: Final = {"X": "x", "Y": "y", "Z": "z", "Z1": "z1", "Z2": "z2"}
"""Columns that the metadata know as stage positions, in um."""
_CACHES: Final = (FRAME_TIMES, SECOND_CLOCK, FRAMES_CACHE)


def update_nd2(
    path: str | os.PathLike[str],
    *,
    attrs: Mapping[str, Any] | None = None,
    columns: Mapping[str, xr.DataArray | ArrayLike] | None = None,
    labels: Labels | None = None,
    chunks: Mapping[str, bytes | None] | None = None,
) -> None:
    """Change what a file says, without rewriting its pixels.

    New chunks are appended and the chunk map is replaced: at every moment, also if the
    process is killed, the file is either the old or the new one.

    Parameters
    ----------
    path
        An existing file of format 3.0; of 2.x columns, labels and chunks only.
    attrs
        Attributes as the dataset has them: ``description``, ``author``, ``sample``,
        ``objective``, ``magnification`` ...
    columns
        Recorded columns by their ID: one number or text a frame, in the order of the
        frame numbers, or an array over the loop dims. The attributes ``units`` and
        ``long_name`` of an array are its unit and its title. ``X``, ``Y`` and ``Z`` are
        where the stage was, in um.
    labels
        Label images to add as binary layers, or to put in the place of layers of the
        same name: whole numbers over Y, X and any of the loop dims.
    chunks
        Payloads by chunk name; None removes a chunk.

    Raises
    ------
    ValueError
        If an attribute or a chunk name is not one that can be changed, or a column has
        not one value a frame.
    UnsupportedFeature
        If attributes of a file of format 2.x are to be changed.
    CorruptChunk
        If the file's chunk map is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, build
    >>> folder = tempfile.TemporaryDirectory()
    >>> file = build(SyntheticSpec(width=8, height=6)).save(folder.name + "/a.nd2")
    >>> update_nd2(file, attrs={"author": "A. Author"})
    >>> xr.load_dataset(file, engine="nd2").attrs["author"]
    'A. Author'
    >>> folder.cleanup()
    """
    spec = SourceSpec.of(os.fspath(path))
    if spec.kind != "path":
        raise ValueError(f"{path} is not a file on this machine: it cannot be changed")
    with spec.open() as source, DamageReport(spec.name, "warn"):
        opened = open_index(source)
        raw = read_raw(opened)
        document, records = Nd2Document.from_raw(raw)
        axes, table = find_frames(source, opened, document)
    changed = with_attributes(document, attrs or {})
    made: dict[str, bytes] = {}
    before = {column.id: column for column in document.recorded_columns}
    placed = records
    for name, values in (columns or {}).items():
        chunk_name = f"CustomData|{name}!"
        if chunk_name in _CACHES or (chunk_name in opened.index and name not in before):
            raise ValueError(
                f"{name!r} is no column: the chunk {chunk_name} is another"
            )
        column, found = _column(name, values, axes, table.n_frames, before.get(name))
        if name in _STAGE:
            placed = replace(placed, **{_STAGE[name]: found})
            changed = _with_first(changed, name, float(found[0]))
        else:
            made[chunk_name] = encode_column(found, name)[1]
        changed = _with_column(changed, column)
    base = Base(raw=raw, document=document, records=records)
    stored = opened.payloads
    new = changed.to_raw(placed, base=base)
    if new.version != raw.version:
        # Its XML would become chunks that readers expect in files of format 3.0 only.
        version = ".".join(map(str, raw.version))
        raise UnsupportedFeature(
            f"attributes and stage positions of a file of format {version} cannot be "
            "changed in place: write a copy that has them, with ds.nd2.to_nd2(...)",
            path=spec.name,
        )
    encoded = encode_raw(new)
    put: MutableMapping[str, bytes | None] = {
        **{
            name: payload
            for name, payload in encoded.items()
            if stored.get(name) != payload
        },
        **made,
    }
    if labels is not None:
        shape = (table.layout.height, table.layout.width)
        had = StoredMasks(
            read=partial(_payload, spec, opened.index), has=opened.index.__contains__
        )
        # Made once more when they are written: only one of them is in memory then.
        masks = label_payloads(labels, axes, shape, had)
        put = ChainMap(put, cast("dict[str, bytes | None]", masks))
    remove = [
        name for name in METADATA_CHUNKS if name in opened.index and name not in encoded
    ]
    for name, chunk in (chunks or {}).items():
        if name in ATTRIBUTES:
            raise ValueError(
                f"chunk {name} says how the frames are stored: it cannot be changed"
            )
        if chunk is None:
            remove.append(name)
        else:
            put[name] = chunk
    update_chunks(path, put, [name for name in remove if name not in put])


def _payload(spec: SourceSpec, index: ChunkIndex, name: str) -> bytes | None:
    entry = index.find(name)
    if entry is None:
        return None
    source: ByteSource
    with spec.open() as source:
        return read_payload(source, name, entry)


def _column(
    name: str,
    values: xr.DataArray | ArrayLike,
    axes: Axes,
    n_frames: int,
    before: RecordedColumn | None,
) -> tuple[RecordedColumn, NDArray[Any]]:
    """Return the description of a column and its values by frame number."""
    if not name or "!" in name or "|" in name:
        raise ValueError(f"{name!r} cannot be the ID of a column")
    title, unit = name, "um" if name in _STAGE else ""
    if before is not None:
        title, unit = before.description, before.unit
    if isinstance(values, xr.DataArray):
        if name in _STAGE:
            values = values.copy(data=in_unit(values.rename(name), "um"))
            values.attrs["units"] = unit
        title = str(values.attrs.get("long_name", title))
        unit = str(values.attrs.get("units", unit))
        found = _by_number(values.rename(name), axes)
    else:
        found = np.asarray(values)
    if found.shape != (n_frames,):
        raise ValueError(
            f"column {name} has the shape {found.shape}, but the file has {n_frames} frames"
        )
    if name in _STAGE:
        if found.dtype.kind not in "iuf":
            raise ValueError(f"column {name} holds {found.dtype} values, not numbers")
        found = found.astype(np.float64)
    kind, _ = encode_column(found, name)
    column = RecordedColumn(
        id=name,
        description=title,
        unit=unit,
        kind=kind,
        group=before.group if before is not None else 1,
        size=n_frames,
    )
    return column, found


def _with_column(document: Nd2Document, column: RecordedColumn) -> Nd2Document:
    """Describe a column, in the place of one of the same name."""
    columns = {known.id: known for known in document.recorded_columns}
    columns[column.id] = column
    return replace(document, recorded_columns=tuple(columns.values()))


def _with_first(document: Nd2Document, name: str, value: float) -> Nd2Document:
    """Have the position of frame 0, which other readers ask, agree with its column."""
    if name not in {"X", "Y", "Z"} or not np.isfinite(value):
        return document
    changed: dict[str, Any] = {f"{name.lower()}_um": value}
    return replace(document, picture=replace(document.picture, **changed))


def _by_number(values: xr.DataArray, axes: Axes) -> NDArray[Any]:
    """Bring an array over loop dims to the order of the frame numbers."""
    strange = set(values.dims) - set(axes.dims)
    if strange:
        raise ValueError(
            f"column {values.name} runs along {', '.join(map(str, strange))}, but the loops "
            f"of the file are {', '.join(axes.dims) or 'none'}"
        )
    for dim, length in zip(axes.dims, axes.shape, strict=True):
        if dim in values.dims and values.sizes[dim] != length:
            raise ValueError(
                f"column {values.name} has {values.sizes[dim]} values along {dim}, the "
                f"file {length}"
            )
    template = xr.DataArray(np.empty(axes.shape), dims=axes.dims)
    spread = values.drop_vars(list(values.coords)).broadcast_like(template)
    ordered = spread.transpose(*axes.dims).values
    found = np.empty(axes.n_frames, dtype=ordered.dtype)
    found[axes.sequence().ravel()] = ordered.ravel()
    return found
