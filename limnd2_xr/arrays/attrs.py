"""Attributes of the dataset: flat scalars, and the whole document as one JSON text.

Only what netCDF and zarr can both store: text, numbers, lists of these. Nothing that
varies along a dimension is here; that is a coordinate, so that selecting keeps it true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limnd2_xr.errors import Nd2Error
from limnd2_xr.model.document import Nd2Document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limnd2_xr.frames.store import StoreState

__all__ = ["METADATA_ATTR", "document_of", "flat_attributes", "image_attributes"]

METADATA_ATTR = "nd2_metadata"
"""Attribute that holds the whole document."""


def flat_attributes(document: Nd2Document) -> dict[str, Any]:
    """Scalars that a user would look up by name; unknown ones are left out.

    Parameters
    ----------
    document
        Of the file.

    Returns
    -------
    dict
        Text and numbers, in the order in which they should be shown.
    """
    optics, text, attributes = document.optics, document.text, document.attributes
    values: dict[str, Any] = {
        "objective": optics.objective,
        "magnification": optics.magnification,
        "numerical_aperture": optics.numerical_aperture,
        "refractive_index": optics.refractive_index,
        "zoom": optics.zoom,
        "camera": optics.camera,
        "microscope": optics.microscope,
        "pixel_size_um": document.optics.pixel_size_um,
        "z_step_um": document.z_step_um,
        "acquisition_start": document.acquisition_start,
        "description": text.description,
        "author": text.author,
        "sample": text.sample_id,
        "software": document.software.name,
        "software_version": document.software.version,
        "format_version": document.format_version,
        "significant_bits": attributes.bits_significant,
        "compression": attributes.compression,
        "loop_order": " ".join(loop.dim for loop in document.experiment.loops),
    }
    return {name: value for name, value in values.items() if value not in (None, "")}


def image_attributes(state: StoreState) -> dict[str, Any]:
    """Attributes of the image and of its dataset: the flat ones and the document."""
    document = state.document
    return {**flat_attributes(document), METADATA_ATTR: document.to_json()}


def document_of(attrs: Mapping[str, Any]) -> Nd2Document | None:
    """Return the document in the attributes of a dataset or array, None without one.

    Raises
    ------
    Nd2Error
        If the text was written by a later version of this package or is damaged.
    """
    text = attrs.get(METADATA_ATTR)
    if text is None:
        return None
    if not isinstance(text, str):
        raise Nd2Error(f"attribute {METADATA_ATTR} is no text, but {text!r:.60}")
    return Nd2Document.from_json(text)
