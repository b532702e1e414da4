"""Chunks that coordinates make beside the document, and what they do not hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.arrays.beside import Overlay

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.arrays.carried import ChunkPayloads

__all__ = ["AttachedChunks", "along"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedChunks:
    """Chunks that some coordinates of an array make."""

    made: Mapping[str, bytes] = field(default_factory=dict)
    """Payloads by name."""
    replaced: frozenset[str] = frozenset()
    """Other chunks of the file behind the array that are not written again."""
    losses: tuple[str, ...] = ()
    """What of the coordinates will be read differently, one text each."""

    def over(
        self, chunks: ChunkPayloads, lost: list[str], losses: list[str]
    ) -> tuple[ChunkPayloads, list[str], list[str]]:
        """Return chunks, names of lost ones and losses, with these in their place."""
        names = self.replaced | self.made.keys()
        if not names:
            return chunks, lost, [*losses, *self.losses]
        overlay = Overlay(made=(self.made,), replaces=names.__contains__)
        return (
            chunks.overlaid(overlay),
            [name for name in lost if name not in names],
            [*losses, *self.losses],
        )


def along(image: xr.DataArray | xr.Dataset, name: str, dim: str) -> NDArray[Any]:
    """Return the values of a coordinate along one dim; scalars hold for all of it.

    Parameters
    ----------
    image
        With the coordinate; without the dim there is one value.
    name
        Of the coordinate.
    dim
        That it may have.

    Raises
    ------
    ValueError
        If it has others.
    """
    found = image.coords[name]
    others = [str(other) for other in found.dims if other != dim]
    if others:
        raise ValueError(
            f"coordinate {name} varies along {', '.join(others)}, but a file holds one "
            f"value for each {dim}: take one of them with da.assign_coords({name}="
            f"da.{name}.isel(...)), or da.drop_vars({name!r})"
        )
    return np.broadcast_to(found.values, (image.sizes.get(dim, 1),))
