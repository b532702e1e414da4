"""From an image to an OME document: what OME-XML says, and OME-TIFF and OME-Zarr carry."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.export.export_image import ExportImage
from limnd2_xr.export.ome_annotations import OmeAnnotations
from limnd2_xr.export.ome_channels import ome_channels
from limnd2_xr.export.ome_instrument import OmeInstrument
from limnd2_xr.export.ome_planes import dimension_order, ome_planes
from limnd2_xr.export.ome_plate import ome_plates, stage_label
from limnd2_xr.export.ome_rois import ome_rois
from limnd2_xr.export.pixel_types import ome_pixel_type
from limnd2_xr.export.recorded_values import recorded_values
from limnd2_xr.export.xml_text import xml_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from ome_types import OME
    from ome_types import model as m

    from limnd2_xr.export.export_image import SinglePosition
    from limnd2_xr.export.recorded_values import RecordedValues

__all__ = ["ome_of", "to_ome"]


def to_ome(
    obj: xr.Dataset | xr.DataArray, *, annotations: bool = True, name: str | None = None
) -> OME:
    """Describe an image as an OME document.

    One OME image for each position (and each index of a custom loop), in their order.
    All of it follows the object as it is now: what was selected, and coordinates and
    attributes that were edited. ROIs, recorded columns and, as annotations, settings
    and events are read from the file behind it.

    Parameters
    ----------
    obj
        Opened from an .nd2 file, or any array over T, P, Z, C, Y, X and S.
    annotations
        Add what OME has no elements for as structured annotations.
    name
        What to call the image; without it after the file.

    Returns
    -------
    ome_types.OME
        Valid against the schema 2016-06; without pixels (``MetadataOnly``).

    Raises
    ------
    ValueError
        If dims, labels, axes or units do not make an image.
    UnsupportedDtype
        If OME has no such pixels.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> da = xr.DataArray(np.zeros((3, 2, 6, 8), "u2"), dims=("T", "C", "Y", "X"))
    >>> pixels = to_ome(da).images[0].pixels
    >>> pixels.size_t, pixels.size_c, pixels.type.value, len(pixels.planes)
    (3, 2, 'uint16', 6)
    """
    return ome_of(ExportImage.of(obj, name=name), annotations=annotations)


def ome_of(source: ExportImage, *, annotations: bool = True) -> OME:
    """Describe an image that was checked already, see `to_ome`.

    Parameters
    ----------
    source
        What is exported.
    annotations
        Add structured annotations.
    """
    from ome_types import OME

    positions = list(source.positions())
    instrument = OmeInstrument.of(source.channels)
    recorded = recorded_values(source)
    notes = OmeAnnotations()
    if annotations:
        notes.add_file(source)
    of_channels = notes.add_channels(source) if annotations else []
    images = []
    for position in positions:
        image = _image(source, position, instrument, recorded)
        if annotations:
            _refer(image.pixels.channels, of_channels)
            _refer([image], [notes.add_image(source, position, recorded)])
        images.append(image)
    rois = ome_rois(source, positions)
    for number, ids in rois.by_image.items():
        images[number].roi_refs.extend(_roi_refs(ids))
    return OME(
        creator=f"limnd2-xr {version('limnd2-xr')}",
        instruments=[instrument.instrument],
        images=images,
        plates=ome_plates(source, positions),
        rois=list(rois.rois),
        experimenters=_experimenters(source),
        structured_annotations=notes.structured if annotations else None,
    )


def _image(
    source: ExportImage,
    position: SinglePosition,
    instrument: OmeInstrument,
    recorded: Sequence[RecordedValues],
) -> m.Image:
    from ome_types import model as m

    number = position.number
    start = source.acquisition_start
    return m.Image(
        id=f"Image:{number}",
        name=xml_text(position.name),
        acquisition_date=None if start is None else _moment(start),
        description=xml_text(source.document.text.description) or None,
        instrument_ref=m.InstrumentRef(id=instrument.instrument.id),
        objective_settings=instrument.objective,
        experimenter_ref=m.ExperimenterRef(id="Experimenter:0")
        if source.document.text.author
        else None,
        stage_label=stage_label(source, position),
        pixels=m.Pixels(
            id=f"Pixels:{number}",
            dimension_order=dimension_order(source.plane_dims),
            significant_bits=source.significant_bits,
            **_sizes(source, position),
            channels=ome_channels(source, number, instrument.detectors),
            planes=ome_planes(source, position, recorded),
            metadata_only=m.MetadataOnly(),
        ),
    )


def _sizes(source: ExportImage, position: SinglePosition) -> dict[str, Any]:
    """Numbers of pixels, and their sizes with units."""
    sizes = position.image.sizes
    x_um, y_um = source.pixel_size_um
    found: dict[str, Any] = {
        "type": ome_pixel_type(source.image.dtype),
        "size_x": sizes["X"],
        "size_y": sizes["Y"],
        "size_z": sizes.get("Z", 1),
        "size_c": sizes["C"] * source.samples,
        "size_t": sizes.get("T", 1),
    }
    for name, value, unit in (
        ("physical_size_x", x_um, "µm"),
        ("physical_size_y", y_um, "µm"),
        ("physical_size_z", source.z_step_um, "µm"),
        ("time_increment", source.time_step_s, "s"),
    ):
        if value:
            found |= {name: value, f"{name}_unit": unit}
    return found


def _moment(start: np.datetime64) -> Any:
    """Return a moment in ISO 8601, to the millisecond, in UTC."""
    return f"{np.datetime_as_string(start.astype('M8[ms]'))}Z"


def _experimenters(source: ExportImage) -> list[m.Experimenter]:
    from ome_types import model as m

    author = xml_text(source.document.text.author)
    return [m.Experimenter(id="Experimenter:0", last_name=author)] if author else []


def _refer(
    elements: Sequence[m.Image | m.Channel], refs: Sequence[m.AnnotationRef | None]
) -> None:
    for element, ref in zip(elements, refs, strict=True):
        if ref is not None:
            element.annotation_refs.append(ref)


def _roi_refs(ids: Sequence[str]) -> list[Any]:
    from ome_types import model as m

    return [m.ROIRef(id=id_) for id_ in ids]
