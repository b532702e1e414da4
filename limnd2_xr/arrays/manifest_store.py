"""References to frames as VirtualiZarr's ``ManifestStore``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from virtualizarr.manifests import (  # noqa: TID253 - only Nd2Parser imports this
    ChunkManifest,
    ManifestArray,
    ManifestGroup,
    ManifestStore,
)
from virtualizarr.manifests.utils import create_v3_array_metadata  # noqa: TID253

from limnd2_xr.arrays.dataset import IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterable

    import xarray as xr

    from limnd2_xr.arrays.virtual import FrameReferences

__all__ = ["Nd2ManifestStore", "manifest_store"]


class Nd2ManifestStore(ManifestStore):
    """References to the frames of a file, along with its coordinates.

    Coordinates have no bytes in the file that zarr could read, so they come loaded.

    Parameters
    ----------
    group
        With the references.
    registry
        Of object stores.
    rest
        Coordinates and attributes.
    """

    def __init__(self, group: Any, *, registry: Any, rest: xr.Dataset) -> None:
        super().__init__(group, registry=registry)
        self._rest = rest

    def to_virtual_dataset(
        self,
        group: str = "",
        loadable_variables: Iterable[str] | None = None,
        decode_times: bool | None = None,
    ) -> xr.Dataset:
        """Return the references as a dataset, with coordinates.

        Parameters
        ----------
        group
            There is none but the root.
        loadable_variables
            Names of what is loaded; None: all but the pixels.
        decode_times
            Of no use here: times are decoded.
        """
        names = None if loadable_variables is None else set(loadable_variables)
        found = super().to_virtual_dataset(
            group=group,
            loadable_variables=[IMAGE] if names and IMAGE in names else [],
            decode_times=decode_times,
        )
        coords = {
            name: coordinate.variable
            for name, coordinate in self._rest.coords.items()
            if names is None or name in names
        }
        return found.assign_coords(coords).assign_attrs(self._rest.attrs)

    def to_virtual_datatree(self, group: str = "", **kwargs: Any) -> xr.DataTree:
        """Return the same as a tree, which has the root only."""
        import xarray as xr

        return xr.DataTree(self.to_virtual_dataset(group, **kwargs))


def manifest_store(
    url: str, registry: Any, found: FrameReferences, rest: xr.Dataset
) -> Nd2ManifestStore:
    """Return references as a store.

    Parameters
    ----------
    url
        Of the file.
    registry
        Of object stores.
    found
        Where the frames are.
    rest
        Coordinates and attributes.
    """
    metadata = create_v3_array_metadata(
        shape=found.shape,
        data_type=found.dtype,
        chunk_shape=found.chunk.shape,
        fill_value=0,
        codecs=[_with_configuration(codec) for codec in found.chunk.codecs],
        attributes=dict(rest.attrs),
        dimension_names=found.dims,
    )
    paths: Any = np.where(found.nbytes > 0, url, "").astype(np.dtypes.StringDType())
    manifest = ChunkManifest.from_arrays(
        paths=paths,
        offsets=found.offsets.astype(np.uint64),
        lengths=found.nbytes.astype(np.uint64),
        validate_paths=False,
    )
    image = ManifestArray(metadata=metadata, chunkmanifest=manifest)
    group = ManifestGroup(arrays={IMAGE: image}, attributes={})
    return Nd2ManifestStore(group, registry=registry, rest=rest)


def _with_configuration(codec: dict[str, Any]) -> dict[str, Any]:
    return {"configuration": {}, **codec}
