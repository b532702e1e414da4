"""What OME has no element for, as structured annotations.

Values that are no texts are JSON, so that nothing of them is lost.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limnd2_xr.arrays.attrs import METADATA_ATTR
from limnd2_xr.arrays.coords import DISPLAY_COORDS, WELL_COORDS
from limnd2_xr.arrays.tables import events_dataset, events_of
from limnd2_xr.errors import Nd2Error
from limnd2_xr.export.xml_text import xml_text
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from ome_types import model as m

    from limnd2_xr.arrays.origin import Origin
    from limnd2_xr.export.export_image import ExportImage, SinglePosition
    from limnd2_xr.export.recorded_values import RecordedValues

__all__ = ["NAMESPACE", "OmeAnnotations"]

NAMESPACE: Final = "limnd2-xr"
"""Namespaces of annotations begin with it."""

_IN_OME: Final = frozenset(
    {
        *("T", "P", "Z", "C", "Y", "X", "S", "U"),
        *("time", "acquired", "stage_x", "stage_y", "stage_z"),
        *("position_x", "position_y", "position_z"),
        *("emission_wavelength", "excitation_wavelength", "color", "exposure_time"),
        *("pinhole_diameter", "binning", "camera", "modality"),
        *WELL_COORDS,
        *DISPLAY_COORDS,
    }
)
"""Coordinates that images, channels and planes tell."""
_MAX_CHUNK_NBYTES: Final = 1 << 20
"""Larger chunks are data rather than settings."""


@dataclass(slots=True)
class OmeAnnotations:
    """Annotations of a document, numbered as they are added."""

    maps: list[m.MapAnnotation] = field(default_factory=list)
    comments: list[m.CommentAnnotation] = field(default_factory=list)

    @property
    def structured(self) -> m.StructuredAnnotations:
        """All of them."""
        from ome_types import model as m

        return m.StructuredAnnotations(
            map_annotations=self.maps, comment_annotations=self.comments
        )

    def add_map(
        self, name: str, values: Mapping[str, str], description: str
    ) -> m.AnnotationRef | None:
        """Add keys and values; None without any.

        Parameters
        ----------
        name
            Last part of the namespace.
        values
            Texts; their characters are made such that XML can hold them.
        description
            For people.
        """
        from ome_types import model as m

        if not values:
            return None
        found: Any = {xml_text(key): xml_text(text) for key, text in values.items()}
        made = m.MapAnnotation(
            id=self._next_id(),
            namespace=f"{NAMESPACE}/{name}",
            description=description,
            value=found,
        )
        self.maps.append(made)
        return m.AnnotationRef(id=made.id)

    def _next_id(self) -> str:
        return f"Annotation:{len(self.maps) + len(self.comments)}"

    def add_file(self, source: ExportImage) -> None:
        """Add what the file says as a whole: attributes, document, chunks, events."""
        from ome_types import model as m

        attrs = source.image.attrs
        self.add_map(
            "attributes",
            {
                str(name): value if isinstance(value, str) else _json(value)
                for name, value in attrs.items()
                if name != METADATA_ATTR
            },
            "Attributes of the image.",
        )
        if isinstance(attrs.get(METADATA_ATTR), str):
            self.comments.append(
                m.CommentAnnotation(
                    id=self._next_id(),
                    namespace=f"{NAMESPACE}/document",
                    description="Metadata of the .nd2 file as it was opened, as JSON.",
                    value=xml_text(attrs[METADATA_ATTR]),
                )
            )
        if source.origin is None:
            return
        self.add_map(
            "chunks",
            _chunks(source.origin),
            "Chunks of the .nd2 file by name, each decoded, as JSON.",
        )
        self.add_map(
            "events",
            _events(source.origin),
            "Events during the acquisition, as JSON: one value an event.",
        )

    def add_channels(self, source: ExportImage) -> list[m.AnnotationRef | None]:
        """Add what OME channels have no place for; one reference a channel."""
        found = []
        for channel in source.channels:
            texts = {
                "modality": channel.modality,
                "modality_flags": ", ".join(channel.modality_flags),
                "optical_configuration": channel.optical_configuration,
                "filters": ", ".join(channel.filters),
                "camera": channel.camera,
                "binning": channel.binning or "",
            }
            told = {name: text for name, text in texts.items() if text}
            found.append(self.add_map("channel", told, "Settings of the channel."))
        return found

    def add_image(
        self,
        source: ExportImage,
        position: SinglePosition,
        recorded: Sequence[RecordedValues],
    ) -> m.AnnotationRef | None:
        """Add recorded columns and other coordinates of one image."""
        values = {
            column.title: _json(_in_order(source, column.values.isel(position.index)))
            for column in recorded
        }
        for name, coordinate in position.image.coords.items():
            if name not in _IN_OME and not set(coordinate.dims) & {"Y", "X"}:
                unit = coordinate.attrs.get("units")
                title = f"{name} [{unit}]" if unit else str(name)
                values.setdefault(title, _json(_in_order(source, coordinate)))
        order = ", ".join((*source.plane_dims, "C"))
        return self.add_map(
            "frames",
            values,
            "What was recorded of the frames, as JSON: arrays over those of "
            f"{order} that it varies along.",
        )


def _in_order(source: ExportImage, values: xr.DataArray) -> Any:
    order = [dim for dim in (*source.plane_dims, "C") if dim in values.dims]
    rest = [dim for dim in values.dims if dim not in order]
    return values.transpose(*order, *rest).values


def _chunks(origin: Origin) -> dict[str, str]:
    """Return decoded chunks of a file by name, but for its columns, frames and large data."""
    columns = {f"CustomData|{c.id}!" for c in origin.state.document.recorded_columns}
    names = []
    for name in origin.index.names():
        entry = origin.index.find(name)
        size = entry.nbytes if entry is not None else None
        if name not in columns and size is not None and size <= _MAX_CHUNK_NBYTES:
            names.append(name)
    found = {}
    for name, payload in origin.payloads(names):
        try:
            found[name] = _json(decode(payload).to_plain())
        except Nd2Error:
            continue  # no tree: arrays and programs of other software
    return found


def _events(origin: Origin) -> dict[str, str]:
    with FrameStore.open(origin.spec, on_damage="ignore") as store:
        events = events_of(store)
    if not events:
        return {}
    table = events_dataset(events)
    return {str(name): _json(column.values) for name, column in table.items()}


def _json(value: Any) -> str:
    return json.dumps(_plain(value), separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Return what JSON can hold; unknown numbers are null."""
    if isinstance(value, np.ndarray | np.generic):
        kind = value.dtype.kind
        return _plain(value.astype(str).tolist() if kind in "mM" else value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)
