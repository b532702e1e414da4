"""Everything that is decided before a byte is written: what, where and how.

All errors that the metadata can give surface here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from limnd2_xr.arrays.attrs import document_of
from limnd2_xr.arrays.beside import Overlay, beside_chunks
from limnd2_xr.arrays.carried import ChunkPayloads, carried_chunks, selected_columns
from limnd2_xr.arrays.column_writing import DescribedColumns, described_columns
from limnd2_xr.arrays.described import Description
from limnd2_xr.arrays.described_loops import loop_order
from limnd2_xr.arrays.display_writing import display_chunks
from limnd2_xr.arrays.image_dims import with_image_dims
from limnd2_xr.arrays.opened_pixels import opened_pixels
from limnd2_xr.arrays.origin import Origin, find_origin
from limnd2_xr.arrays.planned_metadata import planned_metadata, stored_metadata
from limnd2_xr.arrays.stored_pixels import (
    OnLoss,
    WriteOptions,
    pixel_attributes,
    pixel_layout,
)
from limnd2_xr.arrays.well_writing import well_chunks
from limnd2_xr.errors import warn_user
from limnd2_xr.frames.pyramid import LEVEL_FAMILY
from limnd2_xr.model.raw import METADATA_CHUNKS, encode_raw
from limnd2_xr.model.recorded import column_chunk

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.arrays.beside import Beside
    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.raw import RawMetadata
    from limnd2_xr.model.records import FrameRecords

__all__ = [
    "WritePlan",
    "plan_write",
    "report_losses",
]


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
    found, raw, losses = planned_metadata(image, attributes, origin, base)
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
        found, raw = stored_metadata(
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
