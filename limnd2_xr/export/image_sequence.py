"""Images as one TIFF or PNG file for each plane, under names made from a template."""

from __future__ import annotations

import math
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from limnd2_xr.arrays.write import converted
from limnd2_xr.export.export_image import ExportImage
from limnd2_xr.export.file_names import (
    check_distinct,
    check_template,
    file_name,
    template_fields,
)
from limnd2_xr.export.frame_groups import frame_groups
from limnd2_xr.export.new_file import check_target, new_file
from limnd2_xr.export.parallel import run_pieces, workers_for
from limnd2_xr.export.progress import progress_of
from limnd2_xr.export.requirements import require

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import xarray as xr
    from numpy.typing import DTypeLike, NDArray

    from limnd2_xr.export.frame_groups import FrameGroup
    from limnd2_xr.export.progress import Progress

__all__ = ["SequenceFormat", "to_sequence"]

SequenceFormat: TypeAlias = Literal["tiff", "png"]
"""What the files are."""

_DIMS: Final = ("U", "T", "P", "Z", "C")
_SUFFIX: Final = {"tiff": ".tif", "png": ".png"}
_PNG_DTYPES: Final = frozenset({"uint8", "uint16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plane:
    """One file: where it goes, and what it is."""

    path: Path
    description: str


def to_sequence(
    obj: xr.Dataset | xr.DataArray,
    folder: str | os.PathLike[str],
    *,
    kind: SequenceFormat,
    template: str | None = None,
    scale: float | None = None,
    dtype: DTypeLike | None = None,
    compression: bool = False,
    overwrite: bool = False,
    progress: Progress = False,
) -> tuple[Path, ...]:
    """Write each plane of an image to a file, see `limnd2_xr.accessor.exporting`.

    Parameters
    ----------
    obj
        Dataset with one variable, or an array, over any of T, P, Z, C, Y, X, S, U.
    folder, template, scale, dtype, overwrite, progress
        As for `ExportAccessor.to_tiff_sequence`.
    kind
        ``"tiff"`` or ``"png"``.
    compression
        Compress TIFF files with zlib; PNG always is.

    Returns
    -------
    tuple of Path
        Files that were written, in the order of the image's loops.

    Raises
    ------
    FileExistsError
        If a file exists and `overwrite` is False; nothing is written then.
    ValueError
        If names would repeat, the template does not fit, or PNG has no such pixels.
    """
    if kind not in _SUFFIX:
        raise ValueError(f'kind must be "tiff" or "png", not {kind!r}')
    codecs = kind == "png" or compression
    needed = (["tifffile"] if kind == "tiff" else []) + ["imagecodecs"] * codecs
    require(kind.upper(), *needed)
    source = ExportImage.of(obj)
    source = source.with_pixels(_converted(source, dtype, scale))
    if kind == "png":
        _check_png(source.pixels.dtype)
    planes = list(_planes(source, Path(folder).expanduser(), template, kind))
    check_distinct(plane.path for plane in planes)
    target = Path(folder).expanduser()
    made = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    try:
        for plane in planes:
            check_target(plane.path, overwrite=overwrite)
        with progress_of(progress, source.n_frames, target.name) as advance:
            writer = _Writer(
                source=source,
                planes=planes,
                kind=kind,
                compression=compression,
                overwrite=overwrite,
            )

            def work(group: FrameGroup) -> None:
                writer.write(group)
                advance(group.numbers.size)

            groups = frame_groups(source.pixels, whole_frames=True)
            largest = max(g.numbers.size for g in groups) * source.pixels.frame_nbytes
            inner = source.pixels.variable.chunks is not None
            run_pieces(work, groups, workers_for(2 * largest, inner_threads=inner))
    except BaseException:
        if made and not any(target.iterdir()):
            target.rmdir()
        raise
    return tuple(plane.path for plane in planes)


def _converted(
    source: ExportImage, dtype: DTypeLike | None, scale: float | None
) -> xr.Variable:
    """Return the pixels as they are written."""
    import xarray as xr

    if dtype is None and scale is None:
        return source.pixels.variable
    return converted(xr.DataArray(source.pixels.variable), dtype, scale).variable


def _check_png(dtype: np.dtype[Any]) -> None:
    if dtype.name in _PNG_DTYPES:
        return
    hint = (
        "choose a scale that brings its values into 0 to 65535, e.g. scale=65535 for "
        "values from 0 to 1, and dtype"
        if dtype.kind == "f"
        else "convert it with dtype='uint8' or 'uint16', and a scale where values are larger"
    )
    raise ValueError(
        f"PNG files hold uint8 and uint16, not {dtype.name}: {hint}; or write TIFF"
    )


def _planes(
    source: ExportImage, folder: Path, template: str | None, kind: SequenceFormat
) -> Iterator[_Plane]:
    """Yield the files in the order of frames, then of channels."""
    sizes = {dim: source.image.sizes[dim] for dim in (*source.loops, "C")}
    template = template or _usual_template(source, sizes, kind)
    _check(template, source, sizes)
    if not template.lower().endswith(
        (".tif", ".tiff") if kind == "tiff" else (".png",)
    ):
        template += _SUFFIX[kind]
    labels = [source.position_label({"P": p}) for p in range(sizes.get("P", 1))]
    wells = _wells(source, sizes.get("P", 1))
    for at in np.ndindex(*sizes.values()):
        index = dict(zip(sizes, at, strict=True))
        p, c = index.get("P", 0), index["C"]
        values: dict[str, Any] = {
            "name": source.name,
            "C": source.channel_names[c],
            "c": c,
            "P": labels[p] or p,
            "p": p,
            "well": wells[p],
            **{dim: index.get(dim, 0) for dim in ("T", "Z", "U")},
        }
        described = ", ".join(f"{dim}={values[dim]}" for dim in sizes)
        yield _Plane(
            path=folder / file_name(template, values),
            description=f"{source.name}: {described}",
        )


def _usual_template(
    source: ExportImage, sizes: dict[str, int], kind: SequenceFormat
) -> str:
    """Name everything that there are several of."""
    parts = ["{name}"]
    for dim in _DIMS:
        length = sizes.get(dim, 1)
        if length < 2:
            continue
        named = dim == "C" or (dim == "P" and source.position_label({"P": 0}))
        digits = len(str(length - 1))
        parts.append(f"{{{dim}}}" if named else f"{dim.lower()}{{{dim}:0{digits}}}")
    return "_".join(parts) + _SUFFIX[kind]


def _check(template: str, source: ExportImage, sizes: dict[str, int]) -> None:
    needed = [dim for dim in _DIMS if sizes.get(dim, 1) > 1]
    fields = set(template_fields(template))
    told = {"C": {"C", "c"}, "P": {"P", "p"}}
    needed = [dim for dim in needed if not (told.get(dim, {dim}) & fields)]
    if "P" in needed and "well" in fields:
        needed.remove("P")  # names that repeat are found when they are made
    known = ("name", *_DIMS, "c", "p", *(["well"] if _has_wells(source) else []))
    check_template(template, known, needed)


def _has_wells(source: ExportImage) -> bool:
    return "well" in source.image.coords


def _wells(source: ExportImage, count: int) -> list[str]:
    if not _has_wells(source):
        return [""] * count
    found = np.atleast_1d(source.image.coords["well"].values)
    return [str(name) for name in np.broadcast_to(found, (count,)).tolist()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Writes planes of groups of frames to their files."""

    source: ExportImage
    planes: list[_Plane]
    kind: SequenceFormat
    compression: bool
    overwrite: bool

    def write(self, group: FrameGroup) -> None:
        """Write the files of a group: together they get their names, or none does."""
        block = group.read(self.source.pixels)
        channels = block.shape[1]
        numbers = group.numbers.ravel().tolist()
        with ExitStack() as stack:
            for number, frame in zip(numbers, block, strict=True):
                for channel, pixels in enumerate(frame):
                    plane = self.planes[number * channels + channel]
                    path = stack.enter_context(
                        new_file(plane.path, overwrite=self.overwrite)
                    )
                    self._put(path, np.ascontiguousarray(pixels), plane)

    def _put(self, path: Path, pixels: NDArray[Any], plane: _Plane) -> None:
        if self.kind == "png":
            import imagecodecs

            path.write_bytes(imagecodecs.png_encode(pixels, level=4))
            return
        import tifffile

        x_um, y_um = self.source.pixel_size_um
        known = bool(x_um and y_um)
        tifffile.imwrite(
            path,
            pixels,
            photometric="minisblack" if pixels.ndim == 2 else "rgb",
            compression="zlib" if self.compression else None,
            predictor=bool(self.compression) and pixels.dtype.kind in "iu",
            resolution=(1e4 / x_um, 1e4 / y_um) if x_um and y_um else None,
            resolutionunit="centimeter" if known else None,
            description=re.sub(r"[^\x20-\x7e]", "?", plane.description),
            software="limnd2-xr",
            metadata=None,
            bigtiff=math.prod(pixels.shape) * pixels.itemsize > 2**32 - 2**20,
            byteorder="<",
        )
