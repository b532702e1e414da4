"""The form that a laboratory fills in, to be written (FORMAT 9.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limnd2_xr.arrays.stored_trees import edited_payload
from limnd2_xr.model.custom_description import (
    DESCRIPTION_CHUNK,
    custom_description_tree,
)

if TYPE_CHECKING:
    from limnd2_xr.model.custom_description import CustomDescription

__all__ = ["description_payloads"]


def description_payloads(
    form: CustomDescription, stored: bytes | None = None
) -> dict[str, bytes]:
    """Chunk of a form, compressed as NIS-Elements does, or as it was stored.

    Parameters
    ----------
    form
        What to store.
    stored
        Payload that the file has: what else it says stays; itself if nothing changes.

    Returns
    -------
    dict
        Payload by chunk name.

    Raises
    ------
    ValueError
        If a value cannot be stored or does not fit the kind of its item.

    Examples
    --------
    >>> from limnd2_xr.model.custom_description import CustomDescription
    >>> list(description_payloads(CustomDescription(name="Sample")))
    ['CustomData|CustomDescriptionV1_0!']
    """
    payload = edited_payload(
        stored, lambda base: custom_description_tree(form, base), compressed=True
    )
    return {DESCRIPTION_CHUNK: payload}
