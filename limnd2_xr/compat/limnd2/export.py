"""``limnd2.export``: frames as TIFF files, metadata as JSON."""

from __future__ import annotations

import json
import operator
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

import numpy as np

from limnd2_xr.compat.limnd2.metadata_json import metadataAsJSON
from limnd2_xr.compat.limnd2.reader_exports import dataset_of_reader
from limnd2_xr.export.new_file import new_file
from limnd2_xr.export.requirements import require

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from limnd2_xr.compat.limnd2.reader import Nd2Reader

__all__ = ["frameExport", "metadataAsJSON", "seriesExport"]

_DIMS: Final = {
    "t": ("time", "timelapse", "timeloop", "t"),
    "z": ("z", "zstack"),
    "m": ("m", "multidimensional", "multipoint"),
    "c": ("c", "channel", "color", "ch"),
}
"""Names of a dimension by its letter."""
_LETTERS: Final = {"T": "t", "P": "m", "Z": "z", "U": "u"}
_FIELDS: Final = {"t": "T", "m": "p", "z": "Z", "u": "U", "c": "c"}
"""Fields of the names of files by letter."""


def seriesExport(
    nd2_reader: Nd2Reader,
    folder: str | os.PathLike[str] | None = None,
    prefix: str | None = None,
    dimension_order: Sequence[str] | None = None,
    bits: int | None = None,
    *,
    progress_to_json: bool = False,
) -> tuple[Path, ...]:
    """Write each channel of each frame as a TIFF file: ``prefix_t0_z0_c0.tiff``.

    Existing files are replaced.

    Parameters
    ----------
    nd2_reader
        The open file.
    folder
        Where to; ``<name>_export`` beside the file if it is not given.
    prefix
        What the names begin with; that of the file if it is not given.
    dimension_order
        Dimensions in the order in which the names tell them: "time", "multipoint",
        "z" and "channel", or other names that limnd2 has for them. All that the file
        has must be there.
    bits
        8 or 16: values are scaled from the used bits to so many, and rounded. None or
        -1 leaves them as they are.
    progress_to_json
        Print a line of JSON for each step.

    Returns
    -------
    tuple of Path
        Files that were written.

    Raises
    ------
    ValueError
        If the order or the bits are not possible, or no folder is given and the file
        has no path.
    """
    from limnd2_xr.export.image_sequence import to_sequence

    name = nd2_reader.store.filename
    if folder is None:
        if name is None:
            raise ValueError("the file has no path: give a folder")
        folder = Path(name).with_name(f"{Path(name).stem}_export")
    stem = prefix if prefix is not None else Path(name or "image").stem
    sizes = _sizes(nd2_reader)
    order = _order(dimension_order, list(sizes))
    scale, dtype = _scaling(nd2_reader, bits)
    template = _escaped(stem) + "".join(
        f"_{letter}" + _field(letter, sizes[letter]) for letter in order
    )
    with dataset_of_reader(nd2_reader) as dataset:
        return to_sequence(
            dataset["image"],
            folder,
            kind="tiff",
            template=f"{template}.tiff",
            scale=scale,
            dtype=dtype,
            overwrite=True,
            progress=_teller(progress_to_json),
        )


def _sizes(reader: Nd2Reader) -> dict[str, int]:
    """Return the lengths of the dimensions by their letters, in the order of the file."""
    axes = reader.chunker.state.axes
    found = {_LETTERS[dim]: axes.size(dim) for dim in axes.file_order}
    return {**found, "c": reader.chunker.state.table.layout.channels}


def _order(asked: Sequence[str] | None, known: list[str]) -> list[str]:
    if asked is None:
        return known
    letters = []
    for name in asked:
        letter = next((k for k, v in _DIMS.items() if name.lower() in v), None)
        if letter is None:
            names = ", ".join(name for names in _DIMS.values() for name in names)
            raise ValueError(f"unknown dimension {name!r}: there are {names}")
        letters.append(letter)
    lacking = [letter for letter in known if letter not in letters]
    if lacking:
        raise ValueError(f"dimension_order lacks {', '.join(lacking)}")
    if len(set(letters)) != len(letters):
        raise ValueError("dimension_order names a dimension twice")
    return [letter for letter in letters if letter in known]


def _field(letter: str, length: int) -> str:
    digits = len(str(max(length - 1, 0)))
    return f"{{{_FIELDS[letter]}:0{digits}}}"


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _scaling(reader: Nd2Reader, bits: int | None) -> tuple[float | None, str | None]:
    """Return factor and type of pixels of so many bits."""
    if bits is None or bits == -1:
        return None, None
    if bits not in {8, 16}:
        raise ValueError(f"bits must be 8, 16, or None to keep them, not {bits}")
    if reader.isFloat:
        raise ValueError(
            "floats have no bits to scale from: export them as they are, or convert "
            "them with a scale that you choose"
        )
    used = reader.imageAttributes.uiBpcSignificant
    return (2**bits - 1) / (2**used - 1), f"uint{bits}"


def _teller(to_json: bool) -> Callable[[int, int], None] | bool:
    if not to_json:
        return False

    def tell(done: int, total: int) -> None:
        sys.stdout.write(json.dumps({"progress": done, "total": total}) + "\n")
        sys.stdout.flush()

    return tell


def frameExport(
    nd2_reader: Nd2Reader,
    frame_index: SupportsIndex = 0,
    output_path: str | os.PathLike[str] | None = None,
    target_bit_depth: int | None = None,
    *,
    progress_to_json: bool = False,
) -> Path:
    """Write one frame with all its channels as a TIFF file.

    An existing file is replaced.

    Parameters
    ----------
    nd2_reader
        The open file.
    frame_index
        Number of the frame.
    output_path
        Of the new file; ``<name>_<number>.tiff`` beside the nd2 file if not given.
    target_bit_depth
        8 or 16: values are scaled from the used bits to so many, and rounded. None or
        -1 leaves them as they are.
    progress_to_json
        Print a line of JSON when it is done.

    Returns
    -------
    Path
        The file. Its components are in the order of the channels, and red, green, blue
        of RGB.

    Raises
    ------
    IndexError
        If there is no such frame.
    ValueError
        If the bits are not possible, or no path is given and the file has none.
    """
    require("TIFF", "tifffile")
    import tifffile

    number = operator.index(frame_index)
    if output_path is None:
        name = nd2_reader.store.filename
        if name is None:
            raise ValueError("the file has no path: give output_path")
        output_path = Path(name).with_name(f"{Path(name).stem}_{number}.tiff")
    pixels = _converted(nd2_reader, nd2_reader.image(number), target_bit_depth)
    rgb = nd2_reader.isRgb
    if rgb:
        pixels = np.ascontiguousarray(pixels[..., ::-1])
    components = pixels.shape[2]
    with new_file(output_path, overwrite=True) as partial:
        tifffile.imwrite(
            partial,
            pixels if components > 1 else pixels[..., 0],
            photometric="rgb" if rgb else "minisblack",
            planarconfig="contig" if components > 1 else None,
            software="limnd2-xr",
            metadata=None,
        )
    tell = _teller(progress_to_json)
    if callable(tell):
        tell(1, 1)
    return Path(output_path)


def _converted(
    reader: Nd2Reader, pixels: NDArray[Any], bits: int | None
) -> NDArray[Any]:
    """Return pixels of so many bits.

    Raises
    ------
    ValueError
        If one is larger than the used bits allow.
    """
    scale, dtype = _scaling(reader, bits)
    if scale is None or dtype is None:
        return pixels
    scaled = np.rint(pixels * scale)
    limits = np.iinfo(dtype)
    if scaled.size and not limits.min <= scaled.min() <= scaled.max() <= limits.max:
        raise ValueError(
            f"values from {pixels.min()} to {pixels.max()} are not of "
            f"{reader.imageAttributes.uiBpcSignificant} bits, which they are scaled from"
        )
    return scaled.astype(dtype)
