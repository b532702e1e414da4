"""Everything that is decided before a byte is written: what, where and how.

All errors that the metadata can give surface here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.arrays.attrs import document_of
from limnd2_xr.arrays.beside import Overlay, beside_chunks
from limnd2_xr.arrays.carried import ChunkPayloads, carried_chunks, selected_columns
from limnd2_xr.arrays.column_writing import DescribedColumns, described_columns
from limnd2_xr.arrays.described import UNKNOWN_MS, Description, describe
from limnd2_xr.arrays.described_loops import loop_order
from limnd2_xr.arrays.display_writing import display_chunks
from limnd2_xr.arrays.opened_pixels import opened_pixels
from limnd2_xr.arrays.origin import Origin, find_origin
from limnd2_xr.arrays.readback import Known, differences, read_back
from limnd2_xr.arrays.stored_pixels import (
    OnLoss,
    WriteOptions,
    pixel_attributes,
    pixel_layout,
)
from limnd2_xr.arrays.units import milliseconds
from limnd2_xr.arrays.well_writing import well_chunks
from limnd2_xr.errors import warn_user
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.packing import check_dtype
from limnd2_xr.frames.pyramid import LEVEL_FAMILY
from limnd2_xr.model.description_text import agreeing_description
from limnd2_xr.model.document import RECORD_CHUNKS, Nd2Document
from limnd2_xr.model.raw import METADATA_CHUNKS, encode_raw
from limnd2_xr.model.recorded import column_chunk
from limnd2_xr.model.records import FrameRecords
from limnd2_xr.model.to_raw import Base

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.arrays.beside import Beside
    from limnd2_xr.model.attributes import Attributes
    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.raw import RawMetadata

__all__ = [
    "WritePlan",
    "plan_write",
    "report_losses",
    "with_image_dims",
]

_DIMS: Final = ("U", "T", "P", "Z", "C", "Y", "X", "S")
_RGB: Final = ("R", "G", "B")
_PER_FRAME: Final = {
    "time": ("times_ms",),
    "acquired": ("times_ms",),
    "stage_x": ("x",),
    "stage_y": ("y",),
    "stage_z": ("z", "z1", "z2"),
}
"""Coordinates of frames, and what a file records of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WritePlan:
    """An array in the terms of a file, checked."""

    image: xr.DataArray
    """The pixels: loop dims in file order, then C, Y, X and, for RGB, S."""
    numbers: NDArray[np.int64]
    """Frame number of every index of the loop dims, of their shape."""
    document: Nd2Document
    records: FrameRecords
    layout: PixelLayout
    level: int | None
    chunks: Mapping[str, bytes | None]
    """All chunks of the file but frames and map, by name; None for one that turns out
    not to be needed."""
    version: tuple[int, int]
    """Format version of the file."""
    pyramid: bool
    """Whether smaller copies are made of the frames: because that is wanted, or because
    those of the file that the array came from may not be true of its pixels any more."""

    @property
    def n_frames(self) -> int:
        """How many frames the file will have."""
        return int(self.numbers.size)

    @property
    def times_ms(self) -> NDArray[np.float64]:
        """Time to store with each frame, by frame number; NaN where unknown."""
        times = self.records.times_ms
        found = np.full(self.n_frames, np.nan)
        if times is not None:
            found[: len(times)] = times[: self.n_frames]
        return np.where(found == -1.0, np.nan, found)


def plan_write(
    image: xr.DataArray, options: WriteOptions, beside: Beside | None = None
) -> WritePlan:
    """Describe an array as a file, and check that the file can hold it.

    Parameters
    ----------
    image
        Pixels with any of the dims T, P, Z, C, Y, X, S (and U), in any order.
    options
        How to write them.
    beside
        What to write beside the pixels.

    Raises
    ------
    ValueError
        If dims, labels, axes or units do not fit a file; what to do is said.
    TypeError
        If the pixels have a type that no file holds.

    Warns
    -----
    Nd2Warning
        Of coordinates, attributes and chunks that cannot be written, if `on_loss` is
        ``"warn"``.
    """
    if options.on_loss not in {"warn", "raise", "ignore"}:
        raise ValueError(
            f'on_loss must be "warn", "raise" or "ignore", not {options.on_loss!r}'
        )
    opened = opened_pixels(image)
    image = with_image_dims(image)
    has_events = beside is not None and beside.decides("events")
    origin, unused = find_origin(image, has_events=has_events)
    base = origin.state.document if origin else document_of(image.attrs)
    attributes = pixel_attributes(image, base, options)
    found, raw, losses = _description(image, attributes, origin, base)
    losses += [unused] if unused else []
    order = loop_order(image, found.document.experiment)
    image = image.transpose(*order, "C", "Y", "X", *("S" if "S" in image.dims else ""))
    n_frames = math.prod(image.sizes[dim] for dim in order)
    axes = found.document.axes(n_frames, n_frames)
    if axes.n_frames != n_frames:
        raise AssertionError(f"{axes} for {dict(image.sizes)}")  # pragma: no cover
    numbers = axes.sequence().transpose([axes.dims.index(dim) for dim in order])
    layout = pixel_layout(attributes, image)
    frames = _numbers_in_origin(origin, numbers, order)
    if beside is not None:
        beside.check_aligned(image)
    columns = None
    if beside is not None and (beside.exact or beside.columns is not None):
        columns = _columns(found, beside, axes, origin, frames)
        found, raw = _stored(
            Description(document=columns.document, records=columns.records), origin
        )
    made, lost = _chunks(found, raw, origin, frames)
    if columns is not None:
        overlay = Overlay(
            made=(columns.payloads,), replaces=columns.removed.__contains__
        )
        made = made.overlaid(overlay)
        lost = [name for name in lost if name not in columns.removed]
    for part in (
        well_chunks(image, origin, axes, frames),
        display_chunks(image, origin, attributes),
    ):
        made, lost, losses = part.over(made, lost, losses)
    if beside is not None and not beside.is_empty:
        overlay = beside_chunks(
            beside,
            origin,
            axes=axes,
            layout=layout,
            frames=frames,
        )
        made = made.overlaid(overlay)
        lost = [name for name in lost if not overlay.replaces(name)]
    pyramid = options.pyramid or (
        made.carries(LEVEL_FAMILY) and (opened is None or not opened.is_whole)
    )
    if pyramid:
        made = made.without(LEVEL_FAMILY)
        lost = [name for name in lost if not name.startswith(LEVEL_FAMILY)]
    if "missing" in image.coords and bool(image.coords["missing"].any()):
        count = int(image.coords["missing"].sum())
        losses.append(f"coordinate missing ({count} missing frames are written as 0)")
    if lost:
        losses.append(
            f"chunks {', '.join(lost[:5])}{', ...' if len(lost) > 5 else ''} of the "
            "original file (they may not be true of what was selected)"
        )
    report_losses(losses, options.on_loss)
    return WritePlan(
        image=image,
        numbers=numbers,
        document=found.document,
        records=found.records,
        layout=layout,
        level=options.level,
        chunks=made,
        version=raw.version,
        pyramid=pyramid,
    )


def with_image_dims(image: xr.DataArray) -> xr.DataArray:
    """Give the array C, Y and X, refuse what no file has, turn samples to R, G, B.

    Coordinates are loaded, all at once: they are looked at again and again.
    """
    strange = [str(dim) for dim in image.dims if dim not in _DIMS]
    if strange:
        raise ValueError(
            f"dims {', '.join(map(repr, strange))} are not among T, P, Z, C, Y, X and S: "
            "rename them, e.g. da.rename({'time': 'T', 'y': 'Y', 'x': 'X'})"
        )
    lacking = [dim for dim in ("Y", "X") if dim not in image.dims]
    if lacking:
        raise ValueError(
            f"the array has no dim {' and '.join(lacking)}: frames are images over Y and X"
        )
    if not image.size:
        raise ValueError(f"the array is empty: {dict(image.sizes)}")
    check_dtype(image.dtype)
    image = _with_loaded_coordinates(image)
    if "C" not in image.dims:
        image = image.expand_dims("C")
    if "S" not in image.dims:
        return image
    if image.sizes["S"] != 3:
        raise ValueError(
            f"dim S has length {image.sizes['S']}, but colour images are R, G, B: drop an "
            "alpha component with da.isel(S=slice(3)), or rename S to C for channels"
        )
    if "S" in image.coords and tuple(image.coords["S"].values) != _RGB:
        labels = tuple(map(str, image.coords["S"].values))
        if sorted(labels) != sorted(_RGB):
            raise ValueError(
                f"labels of S are {', '.join(labels)}, not R, G, B: set them with "
                "da.assign_coords(S=['R', 'G', 'B']), or rename S to C for channels"
            )
        image = image.isel(S=[labels.index(letter) for letter in _RGB])
    return image


def _with_loaded_coordinates(image: xr.DataArray) -> xr.DataArray:
    lazy = [name for name, known in image.coords.items() if known.chunks is not None]
    if not lazy:
        return image
    loaded = image.coords.to_dataset()[lazy].compute()
    return image.assign_coords({name: loaded[name].variable for name in lazy})


def _description(
    image: xr.DataArray,
    attributes: Attributes,
    origin: Origin | None,
    base: Nd2Document | None,
) -> tuple[Description, RawMetadata, list[str]]:
    """Metadata as the file will have them, their chunks, and what they do not tell.

    First those that the array came with, as they are: if they read as what the array
    has, nothing was changed. Else those that its coordinates describe.
    """
    layout = pixel_layout(attributes, image)
    if origin is not None and _fits(image, origin):
        kept = Description(
            document=replace(origin.state.document, attributes=attributes),
            records=origin.state.records,
        )
        beside = {} if kept.records.has_times else _beside_frames(origin)
        if not _losses(image, kept, layout, origin.known, beside):
            made, raw = _stored(kept, origin)
            if beside:
                times = _by_number(beside["time"], origin)
                made = replace(made, records=made.records.with_times(times))
            return made, raw, []
    known = origin.known if origin else _known(image, base)
    made = describe(image, attributes, base, known)
    if origin is not None and origin.knows_frames:
        made = _with_recorded(made, image, origin)
    made, raw = _stored(made, origin)
    return made, raw, _losses(image, made, layout, known)


def _beside_frames(origin: Origin) -> dict[str, xr.Variable]:
    """Coordinates of a whole file that lie with its frames and nowhere else."""
    return {name: origin.known.coords[name].variable for name in ("time", "acquired")}


def _by_number(time: xr.Variable, origin: Origin) -> NDArray[np.float64]:
    """Milliseconds of each frame, by its number."""
    found = np.full(time.size, UNKNOWN_MS)
    ms = milliseconds(time.values).ravel()
    found[origin.state.axes.sequence().ravel()] = ms
    return np.where(np.isfinite(found), found, UNKNOWN_MS)


def _losses(
    image: xr.DataArray,
    made: Description,
    layout: PixelLayout,
    known: Known,
    beside: Mapping[str, xr.Variable] | None = None,
) -> list[str]:
    """Say what of an array will be read back differently."""
    count = made.document.attributes.sequence_count
    found = read_back(made.document, made.records, layout, count)
    found = found.assign_coords(beside or {})
    text = image.attrs.get("description")
    if isinstance(text, str) and text != found.attrs.get("description"):
        # Its counts of frames and channels follow them: nothing is lost by that.
        agreed = agreeing_description(text, made.document)
        image = image.assign_attrs(description=agreed)
    return differences(image, found, known.attrs)


def _stored(
    made: Description, origin: Origin | None
) -> tuple[Description, RawMetadata]:
    """Return metadata as they will be read, and as they are stored."""
    base = None
    if origin is not None:
        base = Base(
            raw=origin.raw,
            document=origin.state.document,
            records=origin.state.records,
        )
    raw = made.document.to_raw(made.records, base=base)
    document, records = Nd2Document.from_raw(raw)
    return Description(document=document, records=records), raw


def _fits(image: xr.DataArray, origin: Origin) -> bool:
    """Whether the array has the frames and channels of its file, in its order."""
    dims = {dim for dim in ("U", "T", "P", "Z") if dim in image.dims}
    return (
        origin.has_all_frames
        and origin.has_all_channels
        and {dim for dim in dims if image.sizes[dim] > 1}
        == {dim for dim in origin.state.axes.dims if origin.state.axes.size(dim) > 1}
        and dims == set(origin.state.axes.dims)
    )


def _known(image: xr.DataArray, base: Nd2Document | None) -> Known:
    """Return what the document of an array tells, where its file is not at hand."""
    if base is None:
        return Known()
    count = max(base.attributes.sequence_count, 1)
    attributes = base.attributes
    layout = PixelLayout(
        height=attributes.height,
        width=attributes.width,
        channels=len(base.channels),
        samples=attributes.components // max(len(base.channels), 1),
        dtype=attributes.dtype,
        row_nbytes=attributes.row_nbytes,
    )
    return Known.of(read_back(base, FrameRecords(), layout, count), image)


def _with_recorded(
    made: Description, image: xr.DataArray, origin: Origin
) -> Description:
    """Keep what was recorded of the frames where the array tells nothing else of them."""
    order = loop_order(image, made.document.experiment)
    frames = origin.frames(order).ravel()
    old = origin.state.records
    columns = {
        name: None
        if (values := getattr(old, name)) is None
        else _picked(values, frames)
        for name in FrameRecords.__dataclass_fields__
    }
    changed = [name for name in _PER_FRAME if not origin.known.same(image, name)]
    for name, fields in _PER_FRAME.items():
        if name in changed:
            columns |= dict.fromkeys(fields)
            columns[fields[0]] = getattr(made.records, fields[0])
    if not old.has_times:
        columns["times_ms"] = made.records.times_ms
    document, source = made.document, origin.state.document
    if origin.has_all_frames and not changed:
        acquisition = replace(
            source.acquisition, start_jd=document.acquisition.start_jd
        )
        document = replace(document, picture=source.picture, acquisition=acquisition)
    lost = {
        chunk
        for name, chunk in RECORD_CHUNKS.items()
        if columns[name] is None and getattr(old, name) is not None
    }
    recorded = tuple(
        replace(column, size=len(frames))
        for column in source.recorded_columns
        if f"CustomData|{column.id}!" not in lost
    )
    return Description(
        document=replace(document, recorded_columns=recorded),
        records=FrameRecords(**columns),
    )


def _picked(
    values: NDArray[np.float64], frames: NDArray[np.int64]
) -> NDArray[np.float64]:
    known = np.append(values, np.nan)
    return known[np.minimum(frames, len(values))]


def _chunks(
    found: Description,
    raw: RawMetadata,
    origin: Origin | None,
    by_number: NDArray[np.int64] | None,
) -> tuple[ChunkPayloads, list[str]]:
    """Payloads of all chunks, and the names of those of the origin that are left out."""
    if origin is None:
        return ChunkPayloads(encode_raw(raw), None, ()), []
    # Trees that did not change are not encoded anew: some details of that are free.
    kept = tuple(
        name
        for name, level in raw.levels.items()
        if origin.raw.levels.get(name) is level
    )
    changed = {name: level for name, level in raw.levels.items() if name not in kept}
    made = encode_raw(replace(raw, levels=changed))
    described = {f"CustomData|{c.id}!" for c in found.document.recorded_columns}
    if by_number is not None and not origin.is_whole:
        told = described - (made.keys() & METADATA_CHUNKS)
        made |= selected_columns(origin, by_number, told)
    carried = carried_chunks(origin, frozenset({*made, *METADATA_CHUNKS}))
    lost = [name for name in carried.lost if name not in described]
    return ChunkPayloads(made, origin, (*kept, *carried.names)), lost


def _columns(
    found: Description,
    beside: Beside,
    axes: Axes,
    origin: Origin | None,
    frames: NDArray[np.int64] | None,
) -> DescribedColumns:
    """Describe the recorded columns that are given, beside those of the file or alone."""
    stored: dict[str, bytes] = {}
    if origin is not None and frames is not None:
        known = {column_chunk(c.id) for c in origin.state.document.recorded_columns}
        stored = selected_columns(origin, frames, known)
    columns = described_columns(
        found.document,
        found.records,
        axes,
        beside.columns or {},
        stored=stored.get,
        exact=beside.exact,
    )
    for name in ("x", "y", "z"):
        told, now = getattr(found.records, name), getattr(columns.records, name)
        if told is None or now is told or np.array_equal(told, now, equal_nan=True):
            continue
        before = stored.get(column_chunk(name.upper()))
        if before is None or not np.array_equal(np.frombuffer(before, "<f8"), told):
            raise ValueError(
                f"recorded column {name.upper()} and coordinate stage_{name} say different "
                "things of where the stage was: drop one of them"
            )
    return columns


def _numbers_in_origin(
    origin: Origin | None, numbers: NDArray[np.int64], order: tuple[str, ...]
) -> NDArray[np.int64] | None:
    """Return the number in its file of each frame to be written; None if it has none."""
    if origin is None or not origin.knows_frames:
        return None
    frames = origin.frames(order)
    found = np.empty(frames.size, np.int64)
    found[numbers.ravel()] = frames.ravel()
    return found


def report_losses(losses: list[str], on_loss: OnLoss) -> None:
    """Warn of, or refuse, what a file cannot hold."""
    if not losses or on_loss == "ignore":
        return
    text = (
        f"an .nd2 file cannot hold {'; '.join(losses)}; drop or change them, or pass "
        'on_loss="ignore"'
    )
    if on_loss == "raise":
        raise ValueError(text)
    warn_user(text)
