"""`nd2_to_tiff`: a file as (OME-)TIFF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limnd2_xr.compat.nd2.file import ND2File

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from ome_types import OME

__all__ = ["nd2_to_tiff"]


def nd2_to_tiff(
    source: Any,
    dest: str | os.PathLike[str],
    *,
    include_unstructured_metadata: bool = True,
    progress: bool = False,
    on_frame: Callable[[int, int, dict[str, int]], None] | None = None,
    modify_ome: Callable[[OME], None] | None = None,
) -> None:
    """Write a file as TIFF, see `ND2File.write_tiff`.

    Parameters
    ----------
    source
        Path, or `ND2File`; one that is closed stays so.
    dest, include_unstructured_metadata, progress, on_frame, modify_ome
        As for `ND2File.write_tiff`.
    """
    options: Any = {
        "include_unstructured_metadata": include_unstructured_metadata,
        "progress": progress,
        "on_frame": on_frame,
        "modify_ome": modify_ome,
    }
    if isinstance(source, ND2File):
        source.write_tiff(dest, **options)
        return
    with ND2File(source) as file:
        file.write_tiff(dest, **options)
