"""Opening and reading: nd2 (PyPI), this package, and `os.preadv` of the same bytes."""

# ruff: noqa: S101

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from benchmarks import _files as files

from comparison.case import Case, Promise, Work

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REAL = files.SAMPLES / "real"


# ---- raw reads ------------------------------------------------------------------------


def raw_frames(path: Path, rows: slice | None = None) -> Work:
    """Read the stored bytes of all frames, or of some rows of each, into fresh memory."""
    from limnd2_xr.frames.new_memory import new_array

    spans = files.frame_spans(path, rows)
    fd = os.open(path, os.O_RDONLY)

    def run() -> Any:
        out = new_array((sum(nbytes for _, nbytes in spans),), "u1")
        view = memoryview(out)
        at = 0
        for offset, nbytes in spans:
            at += os.preadv(fd, [view[at : at + nbytes]], offset)
        assert at == out.nbytes
        return out

    return Work(run, lambda: os.close(fd))


def raw_rows(path: Path) -> Work:
    """Read the rows of the window."""
    return raw_frames(path, files.WINDOW[0])


def raw_whole(path: Path) -> Work:
    """Read the whole (small) file."""

    def run() -> int:
        with path.open("rb", buffering=0) as file:
            return len(file.read())

    return Work(run)


def raw_map(path: Path) -> Work:
    """Read the chunk map."""

    def run() -> int:
        with path.open("rb", buffering=0) as file:
            file.seek(-8, os.SEEK_END)
            file.seek(int.from_bytes(file.read(8), "little"))
            return len(file.read())

    return Work(run)


# ---- metadata -------------------------------------------------------------------------


def nd2_core_metadata(path: Path) -> Work:
    """Get what comes without recorded columns, the software's name and labels."""
    import nd2

    def run() -> int:
        with nd2.ND2File(path) as file:
            return read_nd2(file)

    return Work(run)


def nd2_metadata(path: Path) -> Work:
    """Get what our document and records hold."""
    import nd2

    def run() -> int:
        with nd2.ND2File(path) as file:
            count = read_nd2(file)
            file.events(orient="list")
            assert file.custom_data is not None
            return count

    return Work(run)


def nd2_labelled(path: Path) -> Work:
    """Get what our dataset holds."""
    import nd2

    def run() -> int:
        with nd2.ND2File(path) as file:
            count = read_nd2(file)
            file.events(orient="list")
            assert file.custom_data is not None
            assert file.to_xarray(delayed=True) is not None
            return count

    return Work(run)


def read_nd2(file: Any) -> int:
    parts = (file.attributes, file.experiment, file.metadata, file.text_info)
    assert all(part is not None for part in parts)
    file.voxel_size()
    return len([file.frame_metadata(i) for i in range(file.attributes.sequenceCount)])


def our_metadata(path: Path) -> Work:
    from limnd2_xr.frames.store import FrameStore
    from limnd2_xr.model.positions import stage_positions
    from limnd2_xr.model.times import acquired, frame_times

    def run() -> int:
        with FrameStore.open(path) as store:
            document, axes, records = store.document, store.axes, store.records
            times = frame_times(document, axes, records)
            acquired(document, axes, times)
            return int(stage_positions(document, axes, records).z.size)

    return Work(run)


def our_labelled(path: Path) -> Work:
    import xarray as xr

    def run() -> int:
        with xr.open_dataset(path, engine="nd2") as dataset:
            assert dataset.nd2.metadata is not None
            loaded = {name: dataset[name].values for name in dataset.coords}
            return int(loaded["time"].size)

    return Work(run)


# ---- pixels ---------------------------------------------------------------------------


def nd2_asarray(path: Path) -> Work:
    import nd2

    file = nd2.ND2File(path)
    return Work(file.asarray, file.close)


def our_values(path: Path) -> Work:
    import xarray as xr

    dataset = xr.open_dataset(path, engine="nd2", cache=False)

    def run() -> Any:
        values = dataset["image"].values
        assert values.flags.c_contiguous
        return values

    return Work(run, dataset.close)


def our_stored(path: Path) -> Work:
    """Read all pixels with components side by side, which is what nd2 gives."""
    import numpy as np

    from limnd2_xr.frames.store import FrameStore

    store = FrameStore.open(path)
    numbers = np.arange(store.table.n_frames)
    return Work(lambda: store.read_stored(numbers).transpose(0, 3, 1, 2), store.close)


def nd2_sum(path: Path) -> Work:
    import nd2

    file = nd2.ND2File(path)
    return Work(lambda: int(file.to_dask().sum().compute()), file.close)


def our_sum(path: Path) -> Work:
    import xarray as xr

    def run() -> int:
        with xr.open_dataset(path, engine="nd2", chunks={}) as dataset:
            return int(dataset["image"].data.sum().compute())

    return Work(run)


def nd2_window(path: Path) -> Work:
    import nd2

    file = nd2.ND2File(path)

    def run() -> Any:
        return file.to_dask()[(..., *files.WINDOW)].compute()

    return Work(run, file.close)


def our_window(path: Path) -> Work:
    import xarray as xr

    dataset = xr.open_dataset(path, engine="nd2", cache=False)
    rows, columns = files.WINDOW

    def run() -> Any:
        return dataset["image"].isel(Y=rows, X=columns).values

    return Work(run, dataset.close)


def our_window_dask(path: Path) -> Work:
    import xarray as xr

    dataset = xr.open_dataset(path, engine="nd2", chunks={})
    rows, columns = files.WINDOW

    def run() -> Any:
        return dataset["image"].isel(Y=rows, X=columns).data.compute()

    return Work(run, dataset.close)


# ---- the chunk map --------------------------------------------------------------------


def nd2_open(path: Path) -> Work:
    import nd2

    def run() -> int:
        with nd2.ND2File(path) as file:
            return int(file.attributes.sequenceCount)

    return Work(run)


def our_open(path: Path) -> Work:
    import xarray as xr

    def run() -> int:
        with xr.open_dataset(path, engine="nd2") as dataset:
            return int(dataset.sizes["T"])

    return Work(run)


# ---- masks ----------------------------------------------------------------------------


def nd2_mask(path: Path) -> Work:
    """Decode it as nd2 does, which drops the four bytes before it first."""
    from nd2._binary import decode_binary_mask

    payload = mask_payload(path)[4:]
    return Work(lambda: decode_binary_mask(payload))


def our_mask(path: Path) -> Work:
    from limnd2_xr.frames.masks import decode_rle

    payload = mask_payload(path)
    return Work(lambda: decode_rle(payload))


def mask_payload(path: Path) -> bytes:
    import xarray as xr

    with xr.open_dataset(path, engine="nd2") as dataset:
        names = [chunk.name for chunk in dataset.nd2.chunks()]
        (name,) = (name for name in names if "RleZip" in name)
        payload: bytes = dataset.nd2.chunk(name, raw=True)
    return payload


def cases() -> Iterator[tuple[str, Case]]:
    """Yield name and case."""
    samples = sorted(REAL.glob("*.nd2"))
    for path in samples:
        yield (
            f"open-{path.stem}",
            _case(
                f"open + all metadata, {path.stem}",
                str(path),
                nd2_metadata,
                our_metadata,
                raw_whole,
                over_nd2=1,
                repeats=30,
                extras={"nd2 without recorded columns and software": nd2_core_metadata},
            ),
        )
    for path in samples:
        title = f"the same as a labelled array, {path.stem}"
        work = (nd2_labelled, our_labelled, raw_whole)
        case = _case(title, str(path), *work, over_nd2=1, repeats=30)
        yield f"label-{path.stem}", case
    for name, what, file, ours, over_nd2, over_raw in (
        ("stack", "2048² uint16 frames", "stack", our_values, 1, 1.25),
        ("two-channels", "two channels, as stored", "two_channels", our_stored, 1, 2),
        (
            "two-channels-apart",
            "two channels, C-contiguous",
            "two_channels",
            our_values,
            None,  # nd2 has no such result
            2,
        ),
        ("zlib", "zlib frames with photon noise", "zlib", our_values, 3, None),
    ):
        whole = (nd2_asarray, ours, raw_frames)
        title = f"full read, {what}"
        case = _case(
            title, file, *whole, over_nd2=over_nd2, over_raw=over_raw, repeats=3
        )
        yield f"read-{name}", case
    work = (nd2_sum, our_sum, raw_frames)
    title = "sum of 16² frames through dask"
    yield "sum-tiny-dask", _case(title, "tiny", *work, over_nd2=50)
    for name, kind, ours, over_nd2 in (
        ("window", "lazy array", our_window, 20),
        ("window-dask", "dask array", our_window_dask, None),
    ):
        work = (nd2_window, ours, raw_rows)
        title = f"64² window of each frame, {kind}"
        yield name, _case(title, "stack", *work, over_nd2=over_nd2)
    title = "mask of 2048² pixels with 5,000 objects"
    yield "mask", _case(title, "masks", nd2_mask, our_mask, raw_whole, over_nd2=10)
    work = (nd2_open, our_open, raw_map)
    title = "open a long chunk map"
    yield "open-map", _case(title, "long_map", *work, over_nd2=3, repeats=3)


def _case(
    title: str,
    file: str,
    nd2: Any,
    ours: Any,
    raw: Any,
    *,
    over_nd2: float | None,
    over_raw: float | None = None,
    **more: Any,
) -> Case:
    promises = []
    if over_nd2 is not None:
        promises.append(Promise("nd2/ours", ">=", over_nd2))
    if over_raw is not None:
        promises.append(Promise("ours/raw", "<=", over_raw))
    return Case(
        section="reading",
        title=title,
        file=file,
        sides={"raw": raw, "nd2": nd2, "ours": ours},
        promises=tuple(promises),
        **more,
    )
