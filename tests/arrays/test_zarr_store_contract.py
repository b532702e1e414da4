"""zarr's own tests of stores, as far as they are about reading."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from zarr.core.buffer import cpu
from zarr.testing.store import StoreTests

from limnd2_xr.arrays.zarr_store import Nd2ZarrStore
from limnd2_xr.arrays.zarr_tree import TreeOptions, ZarrTree
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build

if TYPE_CHECKING:
    from collections.abc import Callable

    from zarr.core.buffer import Buffer


class FilledStore(Nd2ZarrStore):
    """The store without what is in the file: instead, the tests fill it.

    They read, list and measure through the code of the store itself. It says that it
    takes what is set only where a test sets something to read it back.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tree = ZarrTree()

    def fill(self, key: str, value: Buffer) -> None:
        self._texts[key] = value.to_bytes()


def filling(test: Callable[..., Any]) -> Callable[..., Any]:
    """Have a test that fills the store by `Store.set` do so past its refusal."""

    @functools.wraps(test)
    async def filled(self: Any, *args: Any, **kwargs: Any) -> None:
        store = kwargs["store"]

        async def fill(key: str, value: Buffer) -> None:
            store.fill(key, value)

        store.set = fill
        await test(self, *args, **kwargs)

    return filled


def run_here(test: Callable[..., Any]) -> Callable[..., Any]:
    """Make a test of a coroutine."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


FILLED_BY_SET = {
    "test_exists",
    "test_getsize_prefix",
    "test_list",
    "test_list_dir",
    "test_list_empty_path",
    "test_list_prefix",
}
"""Tests of reading that put something into the store first."""

NEED_WRITING = {
    "test_clear": "empties the store",
    "test_delete_sync_visible_to_async_get": "deletes",
    "test_get_sync_byte_range_parity": "sets; its ranges are tried below",
    "test_serializable_store": "sets after pickling; the rest of it is below",
    "test_set": "sets",
    "test_set_if_not_exists": "sets",
    "test_set_many": "sets",
    "test_set_not_open": "sets",
    "test_set_sync": "sets",
    "test_store_open_read_only": "opens the store for writing, too",
    "test_sync_async_set_get_parity": "sets",
}
"""Tests that do not apply, and why."""


def _applicable() -> dict[str, Any]:
    """Tests of zarr that apply, made to run without a plugin for coroutines."""
    found: dict[str, Any] = {}
    for name, test in inspect.getmembers(StoreTests, inspect.isfunction):
        if not name.startswith("test_") or getattr(test, "__isabstractmethod__", False):
            continue
        if name in NEED_WRITING:
            found[name] = None  # not collected
        elif inspect.iscoroutinefunction(test):
            found[name] = run_here(filling(test) if name in FILLED_BY_SET else test)
    return found


_Tests: Any = type("_Tests", (StoreTests,), _applicable())


class TestNd2ZarrStore(_Tests):  # type: ignore[misc]
    store_cls = FilledStore
    buffer_cls = cpu.Buffer

    @pytest.fixture
    def store_kwargs(self) -> dict[str, Any]:
        data = build(SyntheticSpec(loops=(TimeLoop(2),), width=8, height=6)).data
        with FrameStore.open(data) as frames:
            return {"state": frames.state, "options": TreeOptions()}

    @pytest.fixture
    def store(self, open_kwargs: dict[str, Any]) -> FilledStore:
        return asyncio.run(self.store_cls.open(**open_kwargs))

    @pytest.fixture
    def store_not_open(self, store_kwargs: dict[str, Any]) -> FilledStore:
        return self.store_cls(**store_kwargs)

    @pytest.fixture
    def open_kwargs(self, store_kwargs: dict[str, Any]) -> dict[str, Any]:
        return store_kwargs

    async def set(self, store: FilledStore, key: str, value: Buffer) -> None:
        store.fill(key, value)

    async def get(self, store: FilledStore, key: str) -> Buffer:
        return self.buffer_cls.from_bytes(store._texts[key])

    def test_store_repr(self, store: FilledStore) -> None:
        assert repr(store) == "Nd2ZarrStore('<bytes>')"
        assert str(store) == "nd2://<bytes>"

    def test_store_supports_writes(self, store: FilledStore) -> None:
        assert not store.supports_writes
        assert not store.supports_deletes

    def test_store_supports_listing(self, store: FilledStore) -> None:
        assert store.supports_listing

    def test_store_read_only(self, store: FilledStore) -> None:
        """Other than in zarr's test, it is so from the beginning."""
        assert store.read_only
        with pytest.raises(AttributeError):
            store.read_only = False  # type: ignore[misc]

    def test_read_only_store_raises(self, store: FilledStore) -> None:
        """As in zarr's test, without the argument ``read_only``."""
        refusal = "store was opened in read-only mode and does not support writing"
        value = self.buffer_cls.from_bytes(b"bar")
        for work in (store.set("foo", value), store.delete("foo")):
            with pytest.raises(ValueError, match=refusal):
                asyncio.run(work)
        with pytest.raises(ValueError, match=refusal):
            store.set_sync("foo", value)
        with pytest.raises(ValueError, match=refusal):
            store.delete_sync("foo")

    def test_with_read_only_store(self, store: FilledStore) -> None:
        """As in zarr's test of stores that cannot be made writable."""
        with pytest.raises(NotImplementedError, match="with_read_only is not impl"):
            store.with_read_only(read_only=False)
        again = store.with_read_only(read_only=True)
        assert again == store
        assert again.read_only


def test_what_does_not_apply_is_a_test_of_zarr() -> None:
    """A name that zarr gave up leaves the list; 3.1 lacks some that 3.4 has."""
    newer = {
        "test_delete_sync_visible_to_async_get",
        "test_get_sync_byte_range_parity",
        "test_sync_async_set_get_parity",
    }
    names = {name for name, _ in inspect.getmembers(StoreTests)}
    assert (NEED_WRITING.keys() | FILLED_BY_SET) - names <= newer
