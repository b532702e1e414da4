"""Reading through zarr, over the virtual store, against reading the same file directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comparison.case import Case, Promise, Work

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def cases() -> Iterator[tuple[str, Case]]:
    """Yield name and case."""
    for name, what, file, limit in (
        ("virtual", "uncompressed", "stack", 1.5),
        ("virtual-two-channels", "two channels", "two_channels", None),
        ("virtual-zlib", "zlib", "zlib", None),
    ):
        promises = () if limit is None else (Promise("ours/direct", "<=", limit),)
        yield (
            name,
            Case(
                section="scale",
                title=f"all pixels through zarr, 2048² frames, {what}",
                file=file,
                sides={"direct": direct, "ours": through_zarr},
                promises=promises,
                repeats=3,
            ),
        )


def direct(path: Path) -> Work:
    """Read with xarray."""
    import xarray as xr

    def run() -> Any:
        with xr.open_dataset(path, engine="nd2") as dataset:
            return dataset["image"].values

    return Work(run)


def through_zarr(path: Path) -> Work:
    """Read with zarr, whose array has the axes t, c, y, x."""
    import warnings

    import zarr

    from limnd2_xr import zarr_store

    # zarr says of its own codec for zlib that no specification has it.
    warnings.filterwarnings("ignore", "Numcodecs codecs are not in")

    def run() -> Any:
        with zarr_store(path) as store:
            return zarr.open_array(store, path="0", mode="r")[...]

    return Work(run)
