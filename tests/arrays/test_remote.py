"""Datasets of remote files: few requests, in parallel, awaited, and safe to show."""

from __future__ import annotations

import asyncio
import pickle
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import dask.base
import numpy as np
import pytest
import xarray as xr

from limnd2_xr.container import remote_source
from limnd2_xr.container.retrying import Retries
from limnd2_xr.errors import RemoteError, StaleFile
from limnd2_xr.testing.http_server import Fault, HttpServer, ServedFile
from limnd2_xr.testing.synthetic import ChannelSpec, SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("aiohttp")

SECRET = "0af3SIGNATURE9"  # noqa: S105
FILE = build(
    SyntheticSpec(
        loops=(TimeLoop(6),),
        width=700,
        height=600,
        channels=(ChannelSpec("GFP"),),
    )
)
TRUTH = FILE.array()


@pytest.fixture(scope="module")
def served() -> Iterator[HttpServer]:
    with HttpServer() as server:
        yield server


@pytest.fixture
def site(served: HttpServer, monkeypatch: pytest.MonkeyPatch) -> HttpServer:
    served.start_afresh({"/a.nd2": FILE.data, "/b.nd2": FILE.data})
    quick = Retries(sleep=lambda seconds: None)
    monkeypatch.setattr(remote_source, "RETRIES", quick)
    return served


@pytest.fixture(params=["fsspec", "direct"], autouse=True)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.setenv("LIMND2_XR_TRANSPORT", name)
    return name


def open_a(site: HttpServer, **options: Any) -> xr.Dataset:
    return xr.open_dataset(site.url("/a.nd2"), engine="nd2", cache=False, **options)


@lru_cache
def long_file() -> bytes:
    """One of 20,000 frames."""
    loops = (TimeLoop(20_000),)
    spec = SyntheticSpec(loops=loops, width=16, height=16, dtype="uint8", alignment=1)
    return build(spec).data


# ---- requests ---------------------------------------------------------------------------


def test_opening_long_files_takes_at_most_six_requests(site: HttpServer) -> None:
    site.files["/long.nd2"] = ServedFile(long_file())
    with xr.open_dataset(site.url("/long.nd2"), engine="nd2") as ds:
        assert ds.sizes["T"] == 20_000
        assert site.n_requests <= 6


@pytest.mark.realdata
def test_opening_samples_takes_at_most_six_requests(
    site: HttpServer, each_sample: Path
) -> None:
    site.files["/s.nd2"] = ServedFile(each_sample)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        xr.open_dataset(site.url("/s.nd2"), engine="nd2").close()
    assert 1 <= site.n_requests <= 6
    assert site.nbytes <= (3 << 20)


def test_frames_are_asked_for_at_the_same_time(site: HttpServer) -> None:
    with open_a(site) as ds:
        site.reset()
        site.latency = 0.05
        np.testing.assert_array_equal(ds["image"].values, TRUTH)
    # Neighbours in the file are asked for together: 5 MB in one request.
    assert site.n_requests <= 4
    with open_a(site) as ds:
        site.reset()
        site.latency = 0.05
        np.testing.assert_array_equal(
            ds["image"][:, :, 10:20].values, TRUTH[:, :, 10:20]
        )
        assert site.max_concurrent >= 4


def test_rows_are_asked_for_and_nothing_else(site: HttpServer) -> None:
    with open_a(site) as ds:
        image = ds["image"].isel(Y=slice(300, 364), X=slice(200, 264))
        site.reset()
        np.testing.assert_array_equal(image.values, TRUTH[..., 300:364, 200:264])
        wanted = 6 * 64 * 700 * 2
        # The file is opened again, with 64 KiB; and a window of each frame read.
        assert site.nbytes <= (64 << 10) + 8 * wanted
        site.reset()
        assert image.values.shape == (6, 1, 64, 64)
        assert site.nbytes <= 2 * wanted
        assert site.n_requests <= 6


# ---- what goes wrong --------------------------------------------------------------------


def test_errors_name_the_chunk(site: HttpServer) -> None:
    with open_a(site) as ds:
        image = ds["image"]
        assert image[3].values.shape == TRUTH[3].shape
        site.faults += [Fault("status", 500)] * 100
        with pytest.raises(RemoteError) as caught:
            image[3].compute()
        assert caught.value.path == site.url("/a.nd2")
        assert caught.value.chunk == "ImageDataSeq|3!"
        assert caught.value.offset is not None
        assert caught.value.__cause__ is not None
        site.faults.clear()
        site.files["/a.nd2"] = ServedFile(FILE.data[::-1])
        with pytest.raises(StaleFile) as stale:
            image[4].compute()
        assert stale.value.chunk == "ImageDataSeq|4!"


def test_a_changed_object_is_stale_elsewhere(site: HttpServer) -> None:
    """As in a process that gets a pickled dataset."""
    with open_a(site) as ds:
        text = pickle.dumps(ds)
    with pickle.loads(text) as travelled:
        np.testing.assert_array_equal(travelled["image"][2].values, TRUTH[2])
    site.files["/a.nd2"].etag = '"another"'
    with pickle.loads(text) as late, pytest.raises(StaleFile):
        _ = late["image"][2].values


def test_a_dataset_is_read_in_spite_of_faults(site: HttpServer) -> None:
    faults = [Fault("status", 503), Fault("short"), None, Fault("status", 429)]
    site.faults += [*faults, None, *faults, None, *faults]
    with open_a(site) as ds:
        np.testing.assert_array_equal(ds["image"].values, TRUTH)
    assert not site.faults or site.n_requests >= 4


# ---- credentials ------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["signed", "header"])
def test_credentials_are_nowhere_to_be_seen(site: HttpServer, way: str) -> None:
    def check(request: Any) -> int | None:
        given = request.path + request.headers.get("authorization", "")
        return None if SECRET in given else 403

    site.check = check
    url, options = site.url("/a.nd2"), {}
    if way == "signed":
        url += f"?X-Amz-Signature={SECRET}"
    else:
        options = {"headers": {"Authorization": f"Bearer {SECRET}"}}
    lazy = xr.open_dataset(url, engine="nd2", storage_options=options)
    chunked = xr.open_dataset(url, engine="nd2", storage_options=options, chunks={})
    tree = xr.open_datatree(url, engine="nd2", storage_options=options)
    shown = [repr(tree), lazy["image"].nd2.__repr__()]
    for ds in (lazy, chunked, tree["/"].to_dataset()):
        shown += [repr(ds), repr(ds.attrs), repr(ds.encoding), ds._repr_html_()]
        shown += [repr((v.attrs, v.encoding, v)) for v in ds.variables.values()]
    shown += [repr(key) for key in chunked["image"].__dask_graph__()]
    shown += [dask.base.tokenize(chunked), dask.base.tokenize(lazy["image"].variable)]
    assert not [text for text in shown if SECRET in text]
    with pickle.loads(pickle.dumps(chunked)) as again:
        values = again["image"][2].compute(scheduler="synchronous").values
        np.testing.assert_array_equal(values, TRUTH[2])
    for opened in (lazy, chunked, tree):
        opened.close()


# ---- asyncio ----------------------------------------------------------------------------


def most_at_once(site: HttpServer, *datasets: xr.Dataset) -> int:
    """Load datasets together, and say how many requests there were at the same time."""

    async def load() -> None:
        await asyncio.gather(*(ds.load_async() for ds in datasets))

    site.reset()
    site.latency = 0.1
    asyncio.run(load())
    site.latency = 0.0
    return site.max_concurrent


def test_load_async_overlaps(site: HttpServer) -> None:
    """One request each, so that only loading them together has several at once."""
    with open_a(site) as a, xr.open_dataset(site.url("/b.nd2"), engine="nd2") as b:
        one, two = a[["image"]].isel(T=1), b[["image"]].isel(T=2)
        site.reset()
        site.latency = 0.05
        one.load()
        assert site.max_concurrent == 1
        pair = a[["image"]].isel(T=3).assign(other=b["image"].isel(T=4))
        assert most_at_once(site, pair) == 2
        np.testing.assert_array_equal(pair["image"], TRUTH[3])
        np.testing.assert_array_equal(pair["other"], TRUTH[4])
        rest = [a[["image"]].isel(T=i, Y=slice(100, 110)) for i in (0, 2, 5)]
        assert most_at_once(site, two, *rest) >= 3
        np.testing.assert_array_equal(two["image"], TRUTH[2])
        np.testing.assert_array_equal(rest[2]["image"], TRUTH[5][:, 100:110])


def test_load_async_loads_what_load_does(site: HttpServer) -> None:
    with open_a(site) as ds, open_a(site) as other:
        points = xr.DataArray([3, 1, 3], dims="p")
        asyncio.run(ds.load_async())
        xr.testing.assert_identical(ds, other.load())
    with open_a(site) as ds:
        some = ds["image"].isel(T=points, Y=points, X=points)
        asyncio.run(some.load_async())
        np.testing.assert_array_equal(
            some.transpose("p", "C"), TRUTH[[3, 1, 3], :, [3, 1, 3], [3, 1, 3]]
        )
