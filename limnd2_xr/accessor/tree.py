"""``tree.nd2``: everything in a file, written again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from dask.delayed import Delayed

    from limnd2_xr.arrays.stored_pixels import OnLoss
    from limnd2_xr.model.document import Nd2Document

__all__ = ["Nd2DataTreeAccessor"]


@xr.register_datatree_accessor("nd2")
class Nd2DataTreeAccessor:
    """``tree.nd2``: a whole file, from ``xr.open_datatree`` or put together by hand."""

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    @property
    def metadata(self) -> Nd2Document:
        """Everything that the file says about itself, see `Nd2FileAccessor.metadata`."""
        found: Nd2Document = self._tree.to_dataset().nd2.metadata
        return found

    @property
    def source(self) -> str | None:
        """Path or URL of the file; None if that is not known."""
        found: str | None = self._tree.to_dataset().nd2.source
        return found

    def to_nd2(
        self,
        path: str | os.PathLike[str],
        *,
        encoding: Mapping[str, Mapping[str, Any]] | None = None,
        pyramid: bool = False,
        overwrite: bool = False,
        compute: bool = True,
        progress: bool = False,
        on_loss: OnLoss = "warn",
    ) -> Delayed | None:
        """Write the tree to a .nd2 file: the image at its root and what its groups hold.

        The file gets just the groups of the tree: masks, ROIs, events, recorded columns
        and smaller copies that it has no group of are left out, even if the image was
        opened from a file that has them. What was not edited is stored as it was.
        Results of analyses are copied with the ``.h5`` file that holds them.

        Parameters
        ----------
        path
            Name of the file.
        encoding
            For the image, as for `Nd2DatasetAccessor.to_nd2`.
        pyramid
            Make the smaller copies from the image; else those in the groups ``levels``
            are stored.
        overwrite, compute, progress
            As for `Nd2DataArrayAccessor.write_nd2`.
        on_loss
            ``"warn"``, ``"raise"`` or ``"ignore"`` what a file cannot hold, groups that
            it has no place for among it.

        Raises
        ------
        FileExistsError
            If the file exists and `overwrite` is False.
        ValueError
            If groups do not fit the image, or contradict it.

        Examples
        --------
        >>> import numpy as np, tempfile
        >>> image = (("T", "Y", "X"), np.zeros((2, 8, 8), "u2"))
        >>> cells = (("T", "Y", "X"), np.ones((2, 8, 8), "u4"))
        >>> tree = xr.DataTree.from_dict(
        ...     {
        ...         "/": xr.Dataset({"image": image}),
        ...         "/labels": xr.Dataset({"cells": cells}),
        ...     }
        ... )
        >>> folder = tempfile.TemporaryDirectory()
        >>> tree.nd2.to_nd2(folder.name + "/out.nd2")
        >>> with xr.open_datatree(folder.name + "/out.nd2") as again:
        ...     print(list(again.children), int(again["labels/cells"].sum()))
        ['labels'] 128
        >>> folder.cleanup()
        """
        from limnd2_xr.arrays.tree_writing import write_tree

        return write_tree(
            self._tree,
            path,
            encoding=encoding,
            pyramid=pyramid,
            overwrite=overwrite,
            compute=compute,
            progress=progress,
            on_loss=on_loss,
        )

    def to_ome_zarr(
        self,
        dest: str | os.PathLike[str],
        *,
        include_labels: bool = True,
        **options: Any,
    ) -> Delayed | None:
        """Write the image at the root as OME-Zarr, with the labels of the tree.

        Parameters
        ----------
        dest
            Path of the folder to be, or any URL that fsspec knows.
        include_labels
            Write the group ``labels`` of the tree, edited or not.
        **options
            As for `Nd2DatasetAccessor.to_ome_zarr`.

        Raises
        ------
        ValueError
            If the labels do not fit the image.
        """
        from limnd2_xr.export.ome_zarr import to_ome_zarr
        from limnd2_xr.export.ome_zarr_plan import OmeZarrOptions

        names = ("version", "pyramid", "chunks", "shards", "compressor")
        chosen = {name: options.pop(name) for name in names if name in options}
        labels: xr.Dataset | bool = False
        if include_labels and "labels" in self._tree.children:
            labels = self._tree.children["labels"].to_dataset(inherit=False)
        return to_ome_zarr(
            self._tree.to_dataset(),
            dest,
            labels=labels,
            options=OmeZarrOptions(**chosen),
            **options,
        )
