"""What an export notes while it grows, so that a killed one can be continued.

For each finished block there is an object with what was found in it. A block is noted
after all its chunks are stored; one that is not noted is written again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.export.zarr_target import JOURNAL, ROOT_FILES, RemoteTarget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limnd2_xr.export.zarr_target import Target

__all__ = ["OWN_ATTRIBUTE", "Found", "Journal"]

OWN_ATTRIBUTE: Final = "limnd2_xr"
"""Attribute of the root that tells of the export itself."""
_PLAN: Final = f"{JOURNAL}/plan.json"
_BLOCKS: Final = f"{JOURNAL}/blocks"


@dataclass(frozen=True, slots=True)
class Found:
    """Smallest and largest value of some pixels; None where nobody asked."""

    low: float | None = None
    high: float | None = None

    def with_other(self, other: Found) -> Found:
        """Return the same of both."""
        lows = [v for v in (self.low, other.low) if v is not None]
        highs = [v for v in (self.high, other.high) if v is not None]
        return Found(min(lows, default=None), max(highs, default=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """Notes of one export; picklable."""

    target: Target

    @classmethod
    def begin(
        cls, target: Target, digest: str | None, *, overwrite: bool, resume: bool
    ) -> Journal | None:
        """Begin an export, or find a killed one again.

        Parameters
        ----------
        target
            Where to.
        digest
            Equal for exports of the same pixels with the same options; None where that
            cannot be known, so that nothing can be continued.
        overwrite
            Whether what is there may be replaced.
        resume
            Whether to go on with a killed export, if there is one.

        Returns
        -------
        Journal or None
            None if `resume` and the export is complete already.

        Raises
        ------
        FileExistsError
            If something is there that may not be replaced.
        ValueError
            If the killed export was of other pixels, or had other options.
        """
        if resume and digest is not None and _digest_of(target) == digest:
            target.clear_up()
            return None
        if target.exists():
            if not overwrite:
                raise FileExistsError(
                    f"{target.name} exists: overwrite=True replaces it once the new one "
                    "is complete"
                )
            target.check_replaceable()
            if isinstance(target, RemoteTarget):
                target = target.growing_beside()
        elif isinstance(target, RemoteTarget):
            # Killed when what it was to replace had been deleted already.
            beside = target.growing_beside()
            target = beside if beside.has_partial() else target
        if target.has_partial():
            if target.is_foreign():
                raise FileExistsError(
                    f"something is in the way that is no export: {target.name}.partial"
                )
            if resume and _is_plan(target, digest, overwrite=overwrite):
                return cls(target=target)
            if not (overwrite or resume):
                raise FileExistsError(
                    f"an export to {target.name} was not finished, or still runs: "
                    "resume=True continues it, overwrite=True begins anew"
                )
            target.discard()
        target.begin()
        plan = {"digest": digest, "version": version("limnd2-xr")}
        target.put({_PLAN: json.dumps(plan).encode()})
        return cls(target=target)

    def note(self, image: int, block: int, found: Found) -> None:
        """Note that all chunks of a block are stored.

        Parameters
        ----------
        image, block
            Which.
        found
            In its pixels.
        """
        text = json.dumps([found.low, found.high])
        self.target.put({f"{_BLOCKS}/{image}-{block}": text.encode()})

    def finished(self) -> dict[tuple[int, int], Found]:
        """Return the finished blocks and what was found in each."""
        keys = self.target.find(_BLOCKS)
        done = {}
        for key, data in zip(keys, self.target.get(keys), strict=True):
            image, _, block = key.rpartition("/")[2].partition("-")
            done[int(image), int(block)] = Found(*json.loads(data))
        return done


def _is_plan(target: Target, digest: str | None, *, overwrite: bool) -> bool:
    """Say whether the unfinished export is the wanted one; False if it had not begun."""
    try:
        (data,) = target.get([_PLAN])
    except FileNotFoundError:
        return False
    plan = json.loads(data)
    if digest is not None and plan["digest"] == digest:
        return True
    if overwrite:
        return False
    own = version("limnd2-xr")
    if digest is None:
        reason = (
            "cannot be continued with pixels in memory, as nothing tells whether they "
            "are the same: only what is read from a file, or by dask, can be continued"
        )
    elif plan.get("version") != own:
        reason = f"is by version {plan.get('version')} of limnd2-xr, and this is {own}"
    else:
        reason = (
            "was of other pixels or had other options: continue it with the same ones"
        )
    raise ValueError(
        f"the unfinished export to {target.name} {reason}; overwrite=True begins anew"
    )


def _digest_of(target: Target) -> str | None:
    """Digest of the complete export that has the final name, None without one."""
    for key in ROOT_FILES:
        data = target.final_file(key)
        if data is None:
            continue
        try:
            stored: Mapping[str, Any] = json.loads(data)
            own = stored.get("attributes", stored)[OWN_ATTRIBUTE]
            return str(own["export"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return None
