"""OME documents as XML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limnd2_xr.export.new_file import check_target, new_file
from limnd2_xr.export.ome_model import to_ome

if TYPE_CHECKING:
    import os

    import xarray as xr
    from ome_types import OME

__all__ = ["to_ome_xml", "xml_of"]

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


def to_ome_xml(
    obj: xr.Dataset | xr.DataArray,
    path: str | os.PathLike[str] | None = None,
    *,
    annotations: bool = True,
    name: str | None = None,
    overwrite: bool = False,
) -> str:
    """Return the OME document of an image as XML, and write it to a file if asked to.

    Parameters
    ----------
    obj, annotations, name
        As for `limnd2_xr.export.ome_model.to_ome`.
    path
        Name of a file to write; None writes none.
    overwrite
        Replace an existing file.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    """
    if path is not None:
        check_target(path, overwrite=overwrite)
    text = xml_of(to_ome(obj, annotations=annotations, name=name))
    if path is not None:
        with new_file(path, overwrite=overwrite) as partial:
            partial.write_text(text, "utf-8", newline="\n")
    return text


def xml_of(ome: OME) -> str:
    """Return a document as XML with its declaration.

    Parameters
    ----------
    ome
        The document.
    """
    return _DECLARATION + ome.to_xml()
