"""``limnd2.image_info``: what a file is, in a few words, and in tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.compat.limnd2.attributes import ImageAttributesPixelType
from limnd2_xr.compat.limnd2.image_report import as_text, as_workbook
from limnd2_xr.compat.limnd2.image_tables import (
    acquisition_table,
    custom_table,
    loop_tables,
    recorded_table,
)
from limnd2_xr.compat.limnd2.reader import Nd2Reader

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "gatherImageInformation",
    "generalImageInfo",
    "imageInformationAsJSON",
    "imageInformationAsTXT",
    "imageInformationAsXLSX",
]

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def generalImageInfo(reader: Nd2Reader) -> dict[str, str | int]:
    """Return what a file is, in a few words.

    Parameters
    ----------
    reader
        The open file.

    Returns
    -------
    dict
        ``filename``, ``path``, ``bit_depth``, ``loops``, ``dimension``,
        ``calibration``, ``mtime``, ``app_created``; ``file_bytes``, ``frame_bytes``,
        ``volume_bytes``, and the same as texts: ``file_size``, ``frame_size``,
        ``volume_size``, all ``sizes``; and ``frame_res``.

    Examples
    --------
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec, TimeLoop, build
    >>> data = build(SyntheticSpec(loops=(TimeLoop(3),), width=8, height=6)).data
    >>> with Nd2Reader(data) as reader:
    ...     generalImageInfo(reader)["dimension"]
    '8 x 6 (1 comp 16bit uint) x 3 frames: T(3)'
    """
    attributes, picture = reader.imageAttributes, reader.pictureMetadata
    kind = ImageAttributesPixelType.short_name(attributes.ePixelType)
    bits = f"{attributes.uiBpcSignificant}bit {kind}"
    loops = _loops(reader)
    comps, frames = attributes.componentCount, reader.chunker.frame_count
    dimension = (
        f"{attributes.width} x {attributes.height} ({comps} comp{'s' * (comps != 1)} "
        f"{bits}) x {frames} frame{'s' * (frames != 1)}"
    )
    known = picture.bCalibrated and picture.dCalibration > 0
    nbytes = {
        "file": reader.store.sizeOnDisk,
        "frame": attributes.imageBytes,
        "volume": attributes.imageBytes * reader.imageDataShape[2],
    }
    texts = {name: _size(count) for name, count in nbytes.items()}
    modified = reader.store.lastModified
    return {
        **_place(reader.store.filename or reader.store.uri or ""),
        "bit_depth": bits,
        "loops": loops,
        "dimension": f"{dimension}: {loops}" if loops else dimension,
        "calibration": f"{picture.dCalibration:.3f} µm/px" if known else "Uncalibrated",
        "mtime": modified.strftime("%x %X") if modified is not None else "",
        "app_created": reader.software,
        **{f"{name}_bytes": count for name, count in nbytes.items()},
        **{f"{name}_size": text for name, text in texts.items()},
        "sizes": f"{texts['file']} on disk, {texts['frame']} frame, "
        f"{texts['volume']} volume",
        "frame_res": f"{attributes.width} x {attributes.height}",
    }


def _loops(reader: Nd2Reader) -> str:
    """Return the loops as ``T(3), Z(10)``, as long as they are."""
    sizes = reader.dimensionSizes()
    names = {level.typeName: level.shortName for level in reader.experiment or ()}
    return ", ".join(f"{names.get(k, k)}({count})" for k, count in sizes.items())


def _place(location: str) -> dict[str, str]:
    if not location or "://" in location:
        folder, _, name = location.rpartition("/")
        return {"filename": name, "path": f"{folder}/" if folder else ""}
    path = Path(location).absolute()
    folder = str(path.parent)
    separator = "\\" if "\\" in folder else "/"
    return {"filename": path.name, "path": folder.rstrip(separator) + separator}


def _size(nbytes: int) -> str:
    """Return a number of bytes in the largest unit of which there is one."""
    size = float(nbytes)
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f}{unit}"
        size /= 1024
    return f"{size:.0f}{_UNITS[-1]}"


def gatherImageInformation(
    file_like: Any,
    *,
    filename: str | None = None,
    last_modified: datetime | None = None,
) -> dict[str, Any]:
    """Return all that is known of a file, as tables.

    Parameters
    ----------
    file_like
        Whatever `Nd2Reader` takes, or an open reader.
    filename
        What to call it.
    last_modified
        When it was changed last, if that is not known of it.

    Returns
    -------
    dict
        ``generalInfo`` and ``imageTextInfo`` (texts by name), ``experimentData`` (a
        table for each loop, with its class and name), ``customMetadata``,
        ``recordedData`` and ``acquisitionDetails`` (tables). A table has ``coldefs``,
        each with ``field`` and ``headerName``, and ``rowdata``, a dict a row. It is
        plain JSON: there are no scripts in it, as limnd2 has.
    """
    if isinstance(file_like, Nd2Reader):
        return _gathered(file_like, filename, last_modified)
    with Nd2Reader(file_like) as reader:
        return _gathered(reader, filename, last_modified)


def _gathered(
    reader: Nd2Reader, filename: str | None, last_modified: datetime | None
) -> dict[str, Any]:
    general = generalImageInfo(reader)
    if filename is not None:
        general["filename"] = filename
    if last_modified is not None:
        general["mtime"] = last_modified.strftime("%x %X")
    texts = reader.imageTextInfo
    return {
        "generalInfo": general,
        "imageTextInfo": texts.to_dict() if texts is not None else {},
        "experimentData": loop_tables(reader),
        "customMetadata": custom_table(reader),
        "recordedData": recorded_table(reader),
        "acquisitionDetails": acquisition_table(reader),
    }


def imageInformationAsJSON(
    file_like: Any,
    *,
    filename: str | None = None,
    last_modified: datetime | None = None,
) -> str:
    """Return what `gatherImageInformation` does, as JSON.

    Parameters
    ----------
    file_like, filename, last_modified
        As for `gatherImageInformation`.
    """
    found = gatherImageInformation(
        file_like, filename=filename, last_modified=last_modified
    )
    return json.dumps(found, ensure_ascii=False, allow_nan=False)


def imageInformationAsTXT(information: dict[str, Any] | str) -> str:
    """Return what was gathered of a file as a text for people.

    Parameters
    ----------
    information
        From `gatherImageInformation` or `imageInformationAsJSON`.
    """
    return as_text(_loaded(information))


def imageInformationAsXLSX(information: dict[str, Any] | str) -> bytes:
    """Return what was gathered of a file as an Excel workbook.

    Parameters
    ----------
    information
        From `gatherImageInformation` or `imageInformationAsJSON`.

    Raises
    ------
    ImportError
        If openpyxl is not installed.
    """
    return as_workbook(_loaded(information))


def _loaded(information: dict[str, Any] | str) -> dict[str, Any]:
    found = json.loads(information) if isinstance(information, str) else information
    if not isinstance(found, dict) or "generalInfo" not in found:
        raise ValueError("this is not what gatherImageInformation returns")
    return found
