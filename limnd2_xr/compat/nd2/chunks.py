"""Chunks as nested dicts: custom data, all other metadata, and JOBS."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.compat.nd2.plain import plain_chunk
from limnd2_xr.errors import CorruptChunk, Nd2Error
from limnd2_xr.model.jobs import JOB_DEFINITION, JOB_KIND, JOB_RUN_ID, decode_run_id
from limnd2_xr.variants.legacy_xml import decode_legacy, plain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from limnd2_xr.frames.store import FrameStore, StoreState

__all__ = [
    "custom_data_of",
    "jobs_of",
    "unstructured_metadata_of",
    "unstructured_names",
]

_CUSTOM_TREE: Final = "CustomDataVar|"
_NOT_METADATA: Final = ("ImageDataSeq", "CustomData", "ND2 FILE SIGNATURE")


def custom_data_of(store: FrameStore) -> dict[str, Any]:
    """Return the trees of all chunks ``CustomDataVar|<name>!`` by their name.

    Raises
    ------
    CorruptChunk
        If one does not decode.
    """
    names = [n for n, _ in store.state.chunks.items() if n.startswith(_CUSTOM_TREE)]
    payloads = store.read_chunks(names)
    return {
        name.removeprefix(_CUSTOM_TREE).removesuffix("!"): _tree(store, name, payload)
        for name, payload in payloads.items()
    }


def _tree(store: FrameStore, name: str, payload: bytes) -> Any:
    try:
        return plain_chunk(payload, strip_prefix=True)
    except CorruptChunk as error:
        raise error.located(path=store.source_name, chunk=name) from error


def unstructured_names(
    state: StoreState, include: Collection[str] | None, exclude: Collection[str] | None
) -> list[str]:
    """Return the names of all chunks that are neither frames nor custom.

    Parameters
    ----------
    state
        What opening the file found out.
    include, exclude
        Names of chunks, without the closing ``!``.

    Warns
    -----
    UserWarning
        If a name to include does not exist.
    """
    names = {
        name.removesuffix("!")
        for name, _ in state.chunks.items()
        if not name.startswith(_NOT_METADATA)
    }
    if include:
        for name in set(include) - names:
            warnings.warn(f"Key {name!r} not found in metadata", stacklevel=3)
        names &= set(include)
    names -= set(exclude or ())
    return [f"{name}!" for name in sorted(names)]


def unstructured_metadata_of(
    payloads: Mapping[str, bytes], *, strip_prefix: bool, is_legacy: bool
) -> dict[str, Any]:
    """Return chunks by name without the closing ``!``, decoded where they decode.

    Parameters
    ----------
    payloads
        By name.
    strip_prefix
        Cut type prefixes off names.
    is_legacy
        Whether they are of a file of format 1.0.
    """
    found: dict[str, Any] = {}
    for name, payload in payloads.items():
        try:
            found[name.removesuffix("!")] = (
                plain(decode_legacy(payload))
                if is_legacy
                else plain_chunk(payload, strip_prefix=strip_prefix)
            )
        except Nd2Error:
            found[name.removesuffix("!")] = payload
    return found


def jobs_of(store: FrameStore) -> dict[str, Any] | None:
    """Return the job that ran the acquisition, None without one."""
    chunks = store.state.chunks
    if JOB_DEFINITION not in chunks:
        return None
    definition = _tree(store, JOB_DEFINITION, store.read_chunk(JOB_DEFINITION))
    run_id = ""
    if JOB_RUN_ID in chunks:
        run_id = decode_run_id(store.read_chunk(JOB_RUN_ID))
    protected = definition.get("ProtectedJob")
    found: dict[str, Any] = {
        "Job": definition.get("Job") if protected is None else None,
        "ProtectedJob": protected,
        "JobRunGUID": run_id,
    }
    if JOB_KIND in chunks:
        kind = _tree(store, JOB_KIND, store.read_chunk(JOB_KIND))
        found["ProgramDesc"] = kind.get("ProgramDesc", kind)
    return found
