"""References to the frames of files, for catalogues: VirtualiZarr, icechunk, kerchunk.

A reference is the URL of a file, an offset and a size. Whoever follows it needs zarr and
its codecs, and nothing of this package.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import unquote, urlsplit

import numpy as np

from limnd2_xr.arrays.dataset import IMAGE, dataset_of
from limnd2_xr.arrays.reference_files import writer_of
from limnd2_xr.arrays.zarr_layout import ChunkLayout, why_not
from limnd2_xr.container.redaction import links_of, redacted
from limnd2_xr.errors import UnsupportedFeature
from limnd2_xr.frames.store import FrameStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from limnd2_xr.container.source import SourceSpec
    from limnd2_xr.damage import OnDamage
    from limnd2_xr.frames.store import StoreState

__all__ = ["FrameReferences", "Nd2Parser", "frame_references", "to_kerchunk"]

CheckFrames = bool | Literal["local"]

_BLOCK_NBYTES: Final = 2**18
"""Of a remote file so much is read at a time while its metadata are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameReferences:
    """Where the pixels of a file are, as chunks of one array."""

    dims: tuple[str, ...]
    """Dims of the array."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: ChunkLayout
    offsets: NDArray[np.int64]
    """First byte of each chunk, of the shape of the grid of chunks."""
    nbytes: NDArray[np.int64]
    """Its size; 0 where the file lacks the frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nd2Parser:
    """Parser of .nd2 files for VirtualiZarr.

    What it gives is like ``xr.open_dataset``: ``image`` as references to the frames where
    they lie, all coordinates and attributes loaded. Of RGB images only the order along S
    is another: B, G, R as in the file, and so its labels say.

    Parameters
    ----------
    check_frames
        Whether the header of each frame is compared with the file's list of frames: one
        small read each. ``"local"``: only of local files. Else those of three frames
        are.
    full_dims
        Give ``image`` all of T, P, Z, C, Y and X, with length 1 where the file has no such
        loop: VirtualiZarr joins files along a dim that they have.
    stored_order
        Give ``image`` with C behind X, as pixels are stored, so that no transposition is
        needed: zarr's format 2, and with it kerchunk, has none.
    on_damage
        Warn once of everything that is damaged, make that an error, or say nothing.

    Examples
    --------
    >>> from virtualizarr import open_virtual_dataset  # doctest: +SKIP
    >>> from obspec_utils.registry import ObjectStoreRegistry  # doctest: +SKIP
    >>> from obstore.store import LocalStore  # doctest: +SKIP
    >>> registry = ObjectStoreRegistry({"file://": LocalStore()})  # doctest: +SKIP
    >>> url = "file:///data/cells.nd2"
    >>> virtual = open_virtual_dataset(url, registry, Nd2Parser())  # doctest: +SKIP
    """

    check_frames: CheckFrames = "local"
    full_dims: bool = False
    stored_order: bool = False
    on_damage: OnDamage = "warn"

    def __call__(self, url: str, registry: Any) -> Any:
        """Return the references of one file as a ``ManifestStore``.

        Parameters
        ----------
        url
            Of the file.
        registry
            ``ObjectStoreRegistry`` that has a store for it.

        Raises
        ------
        UnsupportedFeature
            If the bytes of frames cannot be those of chunks: format 1.0, rows padded by
            a part of a pixel. `limnd2_xr.zarr_store` decodes such files.
        ValueError
            If the URL holds credentials, such as a signature: it would be of no use
            after it expired, and until then let others in.
        """
        from limnd2_xr.arrays.manifest_store import manifest_store

        _check_public(url, "give the plain URL, and the credentials to the store")
        file = _file_of(url, registry)
        is_local = isinstance(file, str)
        with FrameStore.open(file, on_damage=self.on_damage) as store:
            state = _shown(store, full_dims=self.full_dims)
            found = frame_references(
                store,
                state,
                check=_is_checked(self.check_frames, is_local=is_local),
                stored_order=self.stored_order,
            )
            rest = _coordinates(state)
        return manifest_store(url, registry, found, rest)


def to_kerchunk(
    file: Any,
    target: Any = None,
    *,
    url: str | None = None,
    storage_options: dict[str, Any] | None = None,
    check_frames: CheckFrames = "local",
    full_dims: bool = False,
    on_damage: OnDamage = "warn",
) -> dict[str, Any]:
    """Return the frames of a file as references in the format of kerchunk, version 1.

    The array ``image`` has C behind X, as pixels are stored: zarr's format 2, which
    kerchunk is made for, knows no transposition. ``ds.transpose(..., "C", "Y", "X")``
    undoes that without reading. Coordinates and attributes are in the references.

    Parameters
    ----------
    file
        Path or URL.
    target
        Where to write them, too: a ``.json`` file, or a folder whose name ends in
        ``.parquet`` (or ``.parq``).
    url
        What the references say of where the file is, if others find it elsewhere: a copy
        on S3 of a local file, say, or what a signed URL is for. Written as it is.
    storage_options
        For a URL: arguments of its fsspec filesystem. They are not in the references.
    check_frames, full_dims, on_damage
        As for `Nd2Parser`.

    Returns
    -------
    dict
        References, such as JSON can hold.

    Raises
    ------
    UnsupportedFeature
        If the bytes of frames cannot be those of chunks.
    ImportError
        If parquet is to be written and pyarrow is not installed.
    ValueError
        If the file has no name that others could find it by, its URL holds credentials,
        such as a signature, or the name of `target` does not tell the format.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, build
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "cells.nd2")
    ...     _ = path.write_bytes(build(SyntheticSpec()).data)
    ...     references = to_kerchunk(path)
    >>> url, offset, nbytes = references["refs"]["image/0.0.0"]
    >>> nbytes
    6144
    """
    write = None if target is None else writer_of(target)
    with FrameStore.open(
        file, storage_options=storage_options, on_damage=on_damage
    ) as store:
        spec = store.state.spec
        if url is None:
            url = _location(spec)
        check = _is_checked(check_frames, is_local=spec.kind == "path")
        state = _shown(store, full_dims=full_dims)
        found = frame_references(store, state, check=check, stored_order=True)
        rest = _coordinates(state)
    refs = {**_encoded(rest), **_image_refs(found, url, rest.attrs)}
    references = {"version": 1, "refs": refs}
    if write is not None:
        write(refs, target)
    return references


def frame_references(
    store: FrameStore, state: StoreState, *, check: bool, stored_order: bool = False
) -> FrameReferences:
    """Return where the frames of an open file are.

    Parameters
    ----------
    store
        The open file.
    state
        What opening it found out, with the dims that the array shall have.
    check
        Compare the header of every frame.
    stored_order
        Put C behind X.

    Raises
    ------
    UnsupportedFeature
        If the bytes of frames cannot be those of chunks.
    CorruptChunk
        If a header that is looked at is damaged.
    """
    layout = state.table.layout
    reason = why_not(layout)
    if reason is not None:
        raise UnsupportedFeature(
            f"{reason}, so they cannot be referred to as chunks; limnd2_xr.zarr_store "
            "decodes such frames",
            path=state.spec.name,
        )
    dims, lengths = state.dims, dict(zip(state.dims, state.shape, strict=True))
    if stored_order:
        last = ("Y", "X", "C", "S")
        dims = (*state.axes.dims, *(dim for dim in last if dim in state.dims))
    offsets, nbytes = store.stored.spans(check=check)
    rows = state.table.rows(state.axes.sequence())
    rows = rows.reshape(*state.axes.shape, *(1 for dim in dims if dim in "CYXS"))
    held = rows >= 0
    if not len(offsets):
        offsets = nbytes = np.zeros(1, dtype=np.int64)
    return FrameReferences(
        dims=dims,
        shape=tuple(lengths[dim] for dim in dims),
        dtype=layout.dtype,
        chunk=ChunkLayout.of(layout, dims),
        offsets=np.where(held, offsets[rows], 0),
        nbytes=np.where(held, nbytes[rows], 0),
    )


def _location(spec: SourceSpec) -> str:
    """Path or URL by which others find a file."""
    if spec.kind not in {"path", "url"} or len(links_of(spec.location)) > 1:
        raise ValueError(
            f"others cannot find {spec.name}: give a path or a plain URL, or url= with"
            " what the references shall say"
        )
    if spec.kind == "path":
        return spec.location
    fs = spec.content  # of a file that fsspec opened
    url: str = spec.location if fs is None else fs.unstrip_protocol(spec.location)
    advice = "give the plain URL and storage_options, or url= with what they shall say"
    _check_public(url, advice)
    return url


def _check_public(url: str, advice: str) -> None:
    """Refuse a URL that lets in who has it."""
    shown = redacted(url)
    if shown != url:
        raise ValueError(
            f"{shown} would be in the references with its credentials, for all to see"
            f" and only until they expire: {advice}"
        )


def _is_checked(check_frames: CheckFrames, *, is_local: bool) -> bool:
    return is_local if check_frames == "local" else bool(check_frames)


def _file_of(url: str, registry: Any) -> Any:
    """Path of a local file, or a file object that reads through a store."""
    parts = urlsplit(url)
    if parts.scheme in {"", "file"}:
        return unquote(parts.path)
    from obspec_utils.readers import BlockStoreReader

    store, path = registry.resolve(url)
    reader: Any = BlockStoreReader(store, path, block_size=_BLOCK_NBYTES)
    reader.name = url
    return reader


def _shown(store: FrameStore, *, full_dims: bool) -> StoreState:
    if not full_dims:
        return store.state
    return replace(store.state, axes=store.axes.with_dims(("T", "P", "Z")))


def _coordinates(state: StoreState) -> xr.Dataset:
    """Everything but the pixels, loaded; S as it is stored."""
    dataset = dataset_of(state, frozenset({IMAGE}))
    try:
        dataset.load()
    finally:
        dataset.close()
    for variable in dataset.variables.values():
        kept = {"units", "dtype"} & variable.encoding.keys()
        variable.encoding = {name: variable.encoding[name] for name in kept}
    dataset.encoding = {}
    if "S" in dataset.coords:
        dataset = dataset.assign_coords(S=dataset["S"].copy(data=["B", "G", "R"]))
    return dataset


def _encoded(dataset: xr.Dataset) -> dict[str, Any]:
    """Coordinates and attributes as the files of a zarr store, as text."""
    from zarr.storage import MemoryStore

    files: dict[str, Any] = {}
    dataset.to_zarr(MemoryStore(files), zarr_format=2, consolidated=False)
    return {key: _text(value.to_bytes()) for key, value in files.items()}


def _text(data: bytes) -> str:
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not text or text.startswith("base64:"):
        return "base64:" + base64.b64encode(data).decode("ascii")
    return text


def _image_refs(
    found: FrameReferences, url: str, attrs: Mapping[str, Any]
) -> dict[str, Any]:
    compressed = any(codec["name"] == "numcodecs.zlib" for codec in found.chunk.codecs)
    # Without a fill value: xarray takes that of format 2 for "no value", and 0 is one.
    document = {
        "zarr_format": 2,
        "shape": list(found.shape),
        "chunks": list(found.chunk.shape),
        "dtype": found.dtype.newbyteorder("<").str,
        "order": "C",
        "fill_value": None,
        "compressor": {"id": "zlib", "level": 1} if compressed else None,
        "filters": None,
    }
    refs: dict[str, Any] = {
        f"{IMAGE}/.zarray": json.dumps(document),
        f"{IMAGE}/.zattrs": json.dumps(
            {**attrs, "_ARRAY_DIMENSIONS": list(found.dims)}
        ),
    }
    for index in np.argwhere(found.nbytes > 0).tolist():
        at = tuple(index)
        key = f"{IMAGE}/{'.'.join(map(str, index))}"
        refs[key] = [url, int(found.offsets[at]), int(found.nbytes[at])]
    return refs
