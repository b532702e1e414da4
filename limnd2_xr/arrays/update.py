"""What an existing file says, changed in place: all but its frames."""

from __future__ import annotations

import os
from collections import ChainMap
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from limnd2_xr.arrays.column_writing import described_columns
from limnd2_xr.arrays.described import with_attributes
from limnd2_xr.arrays.description_writing import description_payloads
from limnd2_xr.arrays.event_writing import event_payloads
from limnd2_xr.arrays.label_writing import StoredMasks, label_payloads
from limnd2_xr.arrays.regions_of_interest import ROI_RASTER
from limnd2_xr.arrays.roi_writing import roi_payloads
from limnd2_xr.container.prefetch import read_payload
from limnd2_xr.container.source import SourceSpec
from limnd2_xr.container.update import update_chunks
from limnd2_xr.damage import DamageReport
from limnd2_xr.errors import UnsupportedFeature
from limnd2_xr.frames.opening import find_frames, open_index, read_raw
from limnd2_xr.model.custom_description import DESCRIPTION_CHUNK
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.events import EVENT_CHUNKS
from limnd2_xr.model.raw import ATTRIBUTES, METADATA_CHUNKS, encode_raw
from limnd2_xr.model.rois import ROI_CHUNK
from limnd2_xr.model.to_raw import Base

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    import xarray as xr

    from limnd2_xr.arrays.beside import Columns, Events, Rois
    from limnd2_xr.arrays.label_writing import Labels
    from limnd2_xr.container.chunk_index import ChunkIndex
    from limnd2_xr.container.source import ByteSource
    from limnd2_xr.model.custom_description import CustomDescription

__all__ = ["update_nd2"]


def update_nd2(
    path: str | os.PathLike[str],
    *,
    attrs: Mapping[str, Any] | None = None,
    columns: Columns | xr.Dataset | None = None,
    labels: Labels | None = None,
    rois: Rois | None = None,
    events: Events | None = None,
    custom_description: CustomDescription | None = None,
    chunks: Mapping[str, bytes | None] | None = None,
) -> None:
    """Change what a file says, without rewriting its pixels.

    New chunks are appended and the chunk map is replaced: at every moment, also if the
    process is killed, the file is either the old or the new one.

    Parameters
    ----------
    path
        An existing file of format 3.0; of 2.x all but attributes and where the stage
        was.
    attrs
        Attributes as the dataset has them: ``description``, ``author``, ``sample``,
        ``objective``, ``magnification`` ...
    columns
        Recorded columns by their ID: one number or text a frame, in the order of the
        frame numbers, or an array over the loop dims. The attributes ``units`` and
        ``long_name`` of an array are its unit and its title. ``X``, ``Y`` and ``Z`` are
        where the stage was, in um. Or a dataset such as the group ``recorded``. Columns
        that are not given stay.
    labels
        Label images to add as binary layers, or to put in the place of layers of the
        same name: whole numbers over Y, X and any of the loop dims.
    rois
        All ROIs that the file shall have: `Roi`, `ImageRoi`, or a table such as the
        group ``rois``. What else the file says of those that stay is kept. Those with
        the number 0 get a free one.
    events
        All events that it shall have: `Event`, or a table such as the group ``events``.
        What else the file says of those that stay is kept.
    custom_description
        The form that a laboratory fills in.
    chunks
        Payloads by chunk name; None removes a chunk.

    Raises
    ------
    ValueError
        If an attribute or a chunk name is not one that can be changed, a column has not
        one value a frame, or something does not fit the image or cannot be stored.
    UnsupportedFeature
        If attributes of a file of format 2.x are to be changed.
    CorruptChunk
        If the file's chunk map is damaged.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr
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
    stored_chunk = partial(_payload, spec, opened.index)
    described = described_columns(
        with_attributes(document, attrs or {}),
        records,
        axes,
        columns or {},
        stored=stored_chunk,
    )
    shape = (table.layout.height, table.layout.width)
    made = {
        **described.payloads,
        **_beside(rois, events, custom_description, shape, stored_chunk),
    }
    base = Base(raw=raw, document=document, records=records)
    stored = opened.payloads
    new = described.document.to_raw(described.records, base=base)
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
        name: payload
        for name, payload in encoded.items()
        if stored.get(name) != payload
    }
    remove = [
        name for name in METADATA_CHUNKS if name in opened.index and name not in encoded
    ]
    for name, payload in made.items():
        if payload is None:
            remove.append(name)
        elif payload != stored_chunk(name):
            put[name] = payload
    for name, chunk in (chunks or {}).items():
        if name in ATTRIBUTES:
            raise ValueError(
                f"chunk {name} says how the frames are stored: it cannot be changed"
            )
        if name in made:
            raise ValueError(
                f"chunk {name} is given twice: as chunk, and by what it holds"
            )
        if chunk is None:
            remove.append(name)
        else:
            put[name] = chunk
    if labels is not None:
        had_masks = StoredMasks(read=stored_chunk, has=opened.index.__contains__)
        # Made once more when they are written: only one of them is in memory then.
        masks = label_payloads(labels, axes, shape, had_masks)
        put = ChainMap(put, cast("dict[str, bytes | None]", masks))
    update_chunks(path, put, [name for name in remove if name not in put])


def _beside(
    rois: Rois | None,
    events: Events | None,
    form: CustomDescription | None,
    shape: tuple[int, int],
    stored: Callable[[str], bytes | None],
) -> dict[str, bytes | None]:
    """Return chunks of what is given; None for one that goes."""
    made: dict[str, bytes | None] = {}
    if rois is not None:
        made |= roi_payloads(rois, shape, stored(ROI_CHUNK), stored(ROI_RASTER))
    if events is not None:
        found = {name: stored(name) for name in EVENT_CHUNKS}
        had = {name: data for name, data in found.items() if data is not None}
        made |= event_payloads(events, had)
    if form is not None:
        made |= description_payloads(form, stored(DESCRIPTION_CHUNK))
    return made


def _payload(spec: SourceSpec, index: ChunkIndex, name: str) -> bytes | None:
    entry = index.find(name)
    if entry is None:
        return None
    source: ByteSource
    with spec.open() as source:
        return read_payload(source, name, entry)
