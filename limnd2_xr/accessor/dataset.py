"""``ds.nd2``: the file behind a dataset, and writing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

from limnd2_xr.accessor.exporting import ExportAccessor
from limnd2_xr.accessor.reading import Nd2FileAccessor, remembered
from limnd2_xr.accessor.writing import write

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from dask.delayed import Delayed

    from limnd2_xr.arrays.beside import Columns, Events, Rois
    from limnd2_xr.arrays.label_layers import Labels
    from limnd2_xr.arrays.stored_pixels import OnLoss
    from limnd2_xr.export.ngff_metadata import NgffVersion
    from limnd2_xr.export.progress import Progress
    from limnd2_xr.export.pyramid_levels import Pyramid
    from limnd2_xr.export.zarr_arrays import Sizes

__all__ = ["Nd2DatasetAccessor"]


@xr.register_dataset_accessor("nd2")
class Nd2DatasetAccessor(ExportAccessor, Nd2FileAccessor):
    """``ds.nd2``: the file behind a dataset, and writing it."""

    def refresh(self) -> xr.Dataset:
        """Open the file behind the dataset anew, with what is in it now.

        For a file that is still being written: there are more frames each time. The
        options are those that the file was opened with; selections are not repeated. An
        image in dask blocks is so again.

        Returns
        -------
        xarray.Dataset
            The old one goes on to show what was there when it was opened.

        Raises
        ------
        Nd2Error
            If the dataset does not remember its file.

        Examples
        --------
        >>> import tempfile
        >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
        >>> folder = tempfile.TemporaryDirectory()
        >>> spec = SyntheticSpec(width=8, height=6)
        >>> path = build(spec).save(folder.name + "/a.nd2")
        >>> ds = xr.open_dataset(path)
        >>> longer = SyntheticSpec(loops=(TimeLoop(4),), width=8, height=6)
        >>> path = build(longer).save(path)
        >>> with ds.nd2.refresh() as again:
        ...     print(again.sizes["T"])
        4
        >>> ds.close()
        >>> folder.cleanup()
        """
        from limnd2_xr.arrays.chunk_access import source_of
        from limnd2_xr.arrays.dataset import OPTIONS_KEY

        dataset = self._obj
        assert isinstance(dataset, xr.Dataset)  # noqa: S101 - registered for datasets
        return xr.open_dataset(
            source_of(dataset),  # type: ignore[arg-type]  # xarray passes it on
            engine="nd2",
            chunks={} if dataset.chunks else None,
            **(remembered(dataset, OPTIONS_KEY) or {}),
        )

    def sel_well(
        self, name: str | Iterable[str], field: int | None = None
    ) -> xr.Dataset:
        """Select the positions of a well, or of several.

        Parameters
        ----------
        name
            Of the well, e.g. ``"B03"`` or ``"b3"``; of several names the positions come
            in their order.
        field
            Only this position of each well, counted from 0; of a single well without P.

        Raises
        ------
        KeyError
            If there is no such well or field.
        Nd2Error
            If the object tells of no wells.
        """
        from limnd2_xr.arrays.plate import sel_well

        obj = self._obj
        assert isinstance(obj, xr.Dataset)  # noqa: S101 - registered for these
        return sel_well(obj, name, field)

    def to_nd2(
        self,
        path: str | os.PathLike[str],
        *,
        encoding: Mapping[str, Mapping[str, Any]] | None = None,
        labels: Labels | None = None,
        rois: Rois | None = None,
        events: Events | None = None,
        columns: Columns | None = None,
        pyramid: bool = False,
        region: Mapping[str, slice | int] | None = None,
        overwrite: bool = False,
        compute: bool = True,
        progress: bool = False,
        on_loss: OnLoss = "warn",
    ) -> Delayed | None:
        """Write the image of the dataset to a .nd2 file, with its metadata.

        As `Dataset.to_netcdf` does, but an existing file is refused without
        `overwrite`, and the file has its name only once it is complete.

        Parameters
        ----------
        path
            Name of the file.
        encoding
            For the image variable, e.g. ``{"image": {"compression": "zlib"}}``: any of
            `compression`, `level`, `significant_bits`, `dtype` and `scale` of
            `Nd2DataArrayAccessor.write_nd2`.
        labels, rois, events, columns, pyramid
            What to write beside the image, as for `Nd2DataArrayAccessor.write_nd2`.
        region, overwrite, compute, progress, on_loss
            As for `Nd2DataArrayAccessor.write_nd2`.

        Raises
        ------
        ValueError
            If the dataset has several variables: a file holds one image.

        Examples
        --------
        >>> import numpy as np, tempfile
        >>> ds = xr.Dataset({"image": (("T", "Y", "X"), np.zeros((2, 8, 8), "u2"))})
        >>> folder = tempfile.TemporaryDirectory()
        >>> ds.nd2.to_nd2(folder.name + "/out.nd2")
        >>> with xr.open_dataset(folder.name + "/out.nd2") as again:
        ...     print(dict(again.sizes))
        {'T': 2, 'C': 1, 'Y': 8, 'X': 8}
        >>> folder.cleanup()
        """
        from limnd2_xr.arrays.dataset import image_encoding, image_of

        dataset = self._obj
        assert isinstance(dataset, xr.Dataset)  # noqa: S101 - registered for datasets
        image = image_of(dataset)
        return write(
            image,
            path,
            labels=labels,
            rois=rois,
            events=events,
            columns=columns,
            pyramid=pyramid,
            region=region,
            overwrite=overwrite,
            compute=compute,
            progress=progress,
            on_loss=on_loss,
            **image_encoding(image, encoding),
        )

    def to_ome_zarr(
        self,
        dest: str | os.PathLike[str],
        *,
        version: NgffVersion = "0.5",
        include_labels: bool = True,
        pyramid: Pyramid = "auto",
        chunks: Sizes = None,
        shards: Sizes = None,
        compressor: Any = "blosc-zstd",
        positions: Any = None,
        overwrite: bool = False,
        compute: bool = True,
        progress: Progress = False,
        storage_options: dict[str, Any] | None = None,
        resume: bool = False,
    ) -> Delayed | None:
        """Write the image as OME-Zarr: one image, a series of positions, or a plate.

        Each frame is read once, all smaller copies are made while it is in memory, and
        blocks of frames are written by all cores. The export has its name only once it
        is complete.

        Parameters
        ----------
        dest
            Path of the folder to be, or any URL that fsspec knows.
        version
            Of OME-Zarr: ``"0.5"`` is zarr 3, ``"0.4"`` is zarr 2.
        include_labels
            Write the binary layers of the file, as ``labels`` of the images.
        pyramid
            How many smaller copies, each of half the height and width; ``"auto"``:
            until neither is above 256.
        chunks
            Lengths by axis, as in ``{"z": 8, "y": 512, "x": 512}``, or those of the
            last axes. What is not said is 1024 along Y and X, and else 1.
        shards
            The same of shards: multiples of the chunks; only of version 0.5.
        compressor
            ``"blosc-zstd"``, ``"blosc-lz4"``, ``"zstd"``, ``"gzip"``, None for none, a
            configuration such as ``{"id": "zstd", "level": 9}``, or a codec.
        positions
            Which of P: an index, a label, a slice, or several. One becomes one image.
        overwrite
            Replace what is there, once the new export is complete.
        compute
            Write now; else return what does it.
        progress
            Show a bar, or a function to call with steps done and steps there are.
        storage_options
            For a URL: arguments of its filesystem.
        resume
            Go on with an export that was killed; the result is the same. Begins if there
            is none, and does nothing if it is complete. Not for pixels in memory, which
            nothing tells from others.

        Returns
        -------
        None or dask.delayed.Delayed

        Raises
        ------
        FileExistsError
            If something is there and `overwrite` is False, or an unfinished export and
            `resume` is False, too.
        ValueError
            If dims, chunks, positions or the compressor do not fit, or the unfinished
            export was of something else, or cannot be known to be of the same.
        TypeError
            If OME-Zarr has no such pixels.

        Warns
        -----
        Nd2Warning
            If the labels of an axis go downwards or are uneven, which OME-Zarr cannot
            say, or label layers of the file do not fit what became of the image.

        Examples
        --------
        >>> import tempfile, zarr
        >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
        >>> spec = SyntheticSpec(loops=(TimeLoop(3),), width=600, height=400)
        >>> ds = xr.open_dataset(build(spec).data, engine="nd2")
        >>> folder = tempfile.TemporaryDirectory()
        >>> ds.nd2.to_ome_zarr(folder.name + "/a.ome.zarr")
        >>> group = zarr.open_group(folder.name + "/a.ome.zarr")
        >>> for name, array in sorted(group.arrays()):
        ...     print(name, array.shape, array.chunks)
        0 (3, 1, 400, 600) (1, 1, 400, 600)
        1 (3, 1, 200, 300) (1, 1, 200, 300)
        2 (3, 1, 100, 150) (1, 1, 100, 150)
        >>> folder.cleanup()
        """
        from limnd2_xr.export.ome_zarr import to_ome_zarr
        from limnd2_xr.export.ome_zarr_plan import OmeZarrOptions

        dataset = self._obj
        assert isinstance(dataset, xr.Dataset)  # noqa: S101 - registered for datasets
        return to_ome_zarr(
            dataset,
            dest,
            labels=include_labels,
            options=OmeZarrOptions(
                version=version,
                pyramid=pyramid,
                chunks=chunks,
                shards=shards,
                compressor=compressor,
            ),
            positions=positions,
            overwrite=overwrite,
            compute=compute,
            progress=progress,
            storage_options=storage_options,
            resume=resume,
        )
