"""`zarr_store`: a file as a zarr v3 store that holds it as OME-Zarr 0.5, without a copy."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from zarr.abc.store import (  # noqa: TID253 - who wants a zarr store has zarr
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import default_buffer_prototype  # noqa: TID253

from limnd2_xr.arrays.zarr_chunks import chunk_indices
from limnd2_xr.arrays.zarr_tree import TreeOptions, ZarrTree, zarr_tree
from limnd2_xr.frames.store import FrameStore
from limnd2_xr.options import get_threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from typing import Self

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

    from limnd2_xr.arrays.zarr_chunks import Bytes, ChunkSource
    from limnd2_xr.damage import OnDamage
    from limnd2_xr.frames.store import StoreState

__all__ = ["Nd2ZarrStore", "zarr_store"]

_CHUNK: Final = re.compile(r"(?:(.+)/)?c((?:/(?:0|[1-9][0-9]{0,9}))+)", re.ASCII)
_PAGE_NBYTES: Final = 4096


def zarr_store(
    file: Any,
    *,
    storage_options: dict[str, Any] | None = None,
    levels: bool = True,
    labels: bool = True,
    inflate: bool = False,
    on_damage: OnDamage = "warn",
) -> Nd2ZarrStore:
    """Present a file as a read-only zarr v3 store that holds it as OME-Zarr 0.5.

    Nothing is copied: chunks are frames, and their bytes come straight from the file
    where zarr's codecs can describe them. Frames that they cannot describe (format 1.0,
    rows padded by a part of a pixel) are decoded when they are read.

    Parameters
    ----------
    file
        Path, URL, bytes or binary file object.
    storage_options
        For a URL: arguments of its fsspec filesystem.
    levels
        Show the smaller copies that the file stores as levels of the image.
    labels
        Show its binary layers as label images.
    inflate
        Give compressed frames as pixels, for readers that do not know zarr's codec
        ``numcodecs.zlib``, such as tensorstore.
    on_damage
        Warn once of everything that is damaged, make that an error, or say nothing.

    Returns
    -------
    Nd2ZarrStore
        For ``zarr.open``, ``xr.open_zarr`` and all that takes zarr stores. Close it, or
        let go of it.

    Raises
    ------
    NotAnNd2File
        If it is something else.
    UnsupportedFeature
        If its frames are lossy compressed.

    Examples
    --------
    >>> import zarr
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> data = build(SyntheticSpec(loops=(TimeLoop(count=3),), width=8, height=6)).data
    >>> with zarr_store(data) as store:
    ...     image = zarr.open_array(store, path="0", mode="r")
    ...     print(image.shape, image.metadata.dimension_names, image[1].shape)
    (3, 1, 6, 8) ('t', 'c', 'y', 'x') (1, 6, 8)
    """
    frames = FrameStore.open(file, storage_options=storage_options, on_damage=on_damage)
    try:
        options = TreeOptions(levels=levels, labels=labels, inflate=inflate)
        return Nd2ZarrStore(frames.state, options, opened=frames)
    except BaseException:
        frames.close()
        raise


class Nd2ZarrStore(Store):
    """A file as a read-only zarr v3 store; made by `zarr_store`.

    Safe to use from several threads. It can be pickled: where it arrives the file is
    opened again, and must still be the same.

    Parameters
    ----------
    state
        What opening the file found out.
    options
        What of it is shown.
    opened
        The open file, which then belongs to the store; None: it is opened when needed.
    """

    supports_writes: bool = False
    supports_deletes: bool = False
    supports_listing: bool = True
    supports_consolidated_metadata: bool = False
    """Metadata are in memory anyway; what is consolidated is for files on a server."""

    def __init__(
        self,
        state: StoreState,
        options: TreeOptions | None = None,
        *,
        opened: FrameStore | None = None,
    ) -> None:
        super().__init__(read_only=True)
        self._state = state
        self._options = options or TreeOptions()
        self._lock = threading.Lock()
        self._opened = opened
        self._tree: ZarrTree | None = None
        self._texts: dict[str, bytes] = {}
        self._pool: ThreadPoolExecutor | None = None
        if opened is not None:
            self._tree = zarr_tree(opened, self._options)

    # -- what it is

    def __eq__(self, value: object) -> bool:
        return (
            isinstance(value, Nd2ZarrStore)
            and self._state == value._state
            and self._options == value._options
        )

    def __hash__(self) -> int:
        return hash((self._state, self._options))

    def __str__(self) -> str:
        return f"nd2://{self._state.spec.name}"

    def __repr__(self) -> str:
        return f"Nd2ZarrStore({self._state.spec.name!r})"

    def __getstate__(self) -> tuple[StoreState, TreeOptions]:
        return self._state, self._options

    def __setstate__(self, state: tuple[StoreState, TreeOptions]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __dask_tokenize__(self) -> tuple[str, TreeOptions]:
        return self._state.token, self._options

    def with_read_only(self, read_only: bool = False) -> Self:
        """Return another store over the same file.

        Raises
        ------
        NotImplementedError
            If it shall be writable.
        """
        if not read_only:
            super().with_read_only(read_only)
        return type(self)(self._state, self._options)

    @property
    def images(self) -> tuple[str, ...]:
        """Paths of its images, position by position: ``("",)`` where it is one."""
        return tuple(self._shown().images)

    # -- the file

    def close(self) -> None:
        """Close the file; it is opened again if something is read after that."""
        with self._lock:
            opened, self._opened = self._opened, None
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
        if opened is not None:
            opened.close()
        super().close()

    def _frames(self) -> FrameStore:
        opened = self._opened
        if opened is not None:
            return opened
        with self._lock:
            if self._opened is None:
                self._opened = FrameStore.reopen(self._state)
            return self._opened

    def _shown(self) -> ZarrTree:
        tree = self._tree
        if tree is None:
            tree = self._tree = zarr_tree(self._frames(), self._options)
        return tree

    # -- reading

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the value of a key or a part of it, None if there is none.

        A chunk is read by one request for all of it, whatever part is wanted.

        Raises
        ------
        CorruptChunk
            If the frame is damaged.
        """
        if self._is_text(key):
            return self.get_sync(key, prototype, byte_range)
        found: Buffer | None = await self._aside(
            self.get_sync, key, prototype, byte_range
        )
        return found

    def get_sync(
        self,
        key: str = "",
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the same as `get`, in the thread that calls."""
        if prototype is None:
            prototype = default_buffer_prototype()
        value = self._value(key)
        if value is None:
            return None
        start, stop = _bounds(len(value), byte_range)
        part = np.frombuffer(value, dtype=np.uint8)[start:stop]
        # Touched here, and not by the one thread in which zarr decodes.
        part[::_PAGE_NBYTES].max(initial=0)
        return prototype.buffer.from_array_like(part)

    def _value(self, key: str) -> Bytes | None:
        text = self._text(key)
        if text is not None:
            return text
        found = self._chunk(key)
        if found is None:
            return None
        source, number = found
        return source.read(self._frames(), number)

    def _text(self, key: str) -> bytes | None:
        text = self._texts.get(key)
        if text is None and (document := self._shown().documents.get(key)) is not None:
            text = self._texts[key] = json.dumps(document, allow_nan=False).encode()
        return text

    def _chunk(self, key: str) -> tuple[ChunkSource, int] | None:
        """Where a chunk comes from, and the number of its frame."""
        match = _CHUNK.fullmatch(key)
        source = match and self._shown().arrays.get(match[1] or "")
        if not match or source is None:
            return None
        index = tuple(int(at) for at in match[2][1:].split("/"))
        grid = source.numbers.shape
        if len(index) != len(grid) or any(
            a >= n for a, n in zip(index, grid, strict=True)
        ):
            return None
        number = int(source.numbers[index])
        return None if number < 0 else (source, number)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Return several values or parts of them, read at the same time."""
        return await asyncio.gather(
            *(self.get(key, prototype, byte_range) for key, byte_range in key_ranges)
        )

    async def exists(self, key: str) -> bool:
        """Say whether there is such a key; no pixels are read."""
        await self._ready()
        return self._text(key) is not None or self._chunk(key) is not None

    async def getsize(self, key: str) -> int:
        """Return how many bytes a value has.

        Raises
        ------
        FileNotFoundError
            If there is no such key.
        """
        nbytes = self.getsize_sync(key) if self._is_text(key) else None
        if nbytes is None:
            nbytes = await self._aside(self.getsize_sync, key)
        if nbytes is None:
            raise FileNotFoundError(key)
        return int(nbytes)

    def getsize_sync(self, key: str) -> int | None:
        """Return how many bytes a value has, None if there is none; reads no pixels."""
        text = self._text(key)
        if text is not None:
            return len(text)
        found = self._chunk(key)
        if found is None:
            return None
        source, number = found
        return source.nbytes(self._frames(), number)

    def _is_text(self, key: str) -> bool:
        """Whether a key that is known already is metadata, or one that is not there."""
        return key in self._texts or (
            self._tree is not None and not _CHUNK.fullmatch(key)
        )

    async def _aside(self, work: Any, *args: Any) -> Any:
        """Do something in another thread: as many at once as the file is good for."""
        pool = self._pool or await asyncio.to_thread(self._threads)
        return await asyncio.get_running_loop().run_in_executor(pool, work, *args)

    def _threads(self) -> ThreadPoolExecutor:
        count = max(get_threads(), self._frames().requests)
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(count, thread_name_prefix="nd2-zarr")
                weakref.finalize(self, self._pool.shutdown, wait=False)
            return self._pool

    async def _ready(self) -> ZarrTree:
        """Return what is shown; found out in another thread if it is not known yet."""
        if self._tree is None:
            await asyncio.to_thread(self._shown)
        return self._shown()

    # -- listing

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        await self._ready()
        for key in self._keys(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield all keys that begin with something."""
        await self._ready()
        for key in self._keys(prefix):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of keys and folders within a folder."""
        folder = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        names: dict[str, None] = {}
        documents = (await self._ready()).documents
        for key in documents.keys() | self._texts.keys():
            if key.startswith(folder):
                names[key.removeprefix(folder).split("/", 1)[0]] = None
        for name in sorted(names):
            yield name
        for name in self._chunk_folders(folder.rstrip("/")):
            if name not in names:
                yield name

    def _chunk_folders(self, folder: str) -> Iterator[str]:
        """Names within an array or a folder of its chunks."""
        arrays = self._shown().arrays
        if folder in arrays:
            yield "c"
            return
        match = re.fullmatch(r"(?:(.+)/)?c((?:/[0-9]{1,10})*)", folder, re.ASCII)
        source = match and arrays.get(match[1] or "")
        if not match or source is None:
            return
        begin = tuple(int(at) for at in match[2].split("/")[1:])
        if len(begin) >= source.numbers.ndim:
            return
        depth = len(begin)
        yield from sorted({str(index[depth]) for index in chunk_indices(source, begin)})

    def _keys(self, prefix: str) -> Iterator[str]:
        shown = self._shown()
        for key in dict.fromkeys((*shown.documents, *self._texts)):
            if key.startswith(prefix):
                yield key
        for path, source in shown.arrays.items():
            begin = f"{path}/c/" if path else "c/"
            if not (begin.startswith(prefix) or prefix.startswith(begin)):
                continue
            for index in chunk_indices(source):
                key = begin + "/".join(map(str, index))
                if key.startswith(prefix):
                    yield key

    # -- writing: there is none

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        self.set_sync(key, value)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        del key, value
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Refuse to delete."""
        self.delete_sync(key)

    def delete_sync(self, key: str) -> None:
        """Refuse to delete."""
        del key
        self._check_writable()


def _bounds(nbytes: int, byte_range: ByteRequest | None) -> tuple[int, int]:
    """Which bytes of a value are asked for."""
    if byte_range is None:
        return 0, nbytes
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.start, byte_range.end
    if isinstance(byte_range, OffsetByteRequest):
        return byte_range.offset, nbytes
    if isinstance(byte_range, SuffixByteRequest):
        return max(0, nbytes - byte_range.suffix), nbytes
    raise TypeError(f"Unexpected byte_range, got {byte_range}.")
