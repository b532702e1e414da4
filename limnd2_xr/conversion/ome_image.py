"""An image with what OME metadata say of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limnd2_xr.conversion.ome_described import OmeImage
    from limnd2_xr.conversion.source_image import SourceImage

__all__ = ["described_by_ome"]


def described_by_ome(image: SourceImage, ome: OmeImage) -> SourceImage:
    """Return an image with the coordinates and attributes that OME metadata tell.

    Parameters
    ----------
    image
        With pixels; what is known of it already counts where OME says nothing.
    ome
        The same image.
    """
    told = ome.describe({str(dim): n for dim, n in image.pixels.sizes.items()})
    return replace(
        image,
        name=ome.name or image.name,
        well=ome.well or image.well,
        coords={**image.coords, **told.coords},
        attrs={**image.attrs, **told.attrs},
        notes=(*image.notes, *told.notes),
    )
