"""Images of other formats to .nd2: found, put together, described, written."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import xarray as xr

from limnd2_xr.arrays.beside import Beside
from limnd2_xr.arrays.stored_pixels import WriteOptions
from limnd2_xr.arrays.write import converted, write_nd2
from limnd2_xr.arrays.write_plan import plan_write
from limnd2_xr.conversion.file_grid import FileGrid, grid_of_files, grid_of_list
from limnd2_xr.conversion.filename_pattern import FilenamePattern
from limnd2_xr.conversion.lazy_images import arranged
from limnd2_xr.conversion.opening import READERS, found_files, open_images
from limnd2_xr.conversion.plan import ConversionPlan, PlannedInput, described_plan
from limnd2_xr.conversion.sequence import image_of_files, image_of_positions
from limnd2_xr.conversion.settings import ConversionSettings, described_by_settings
from limnd2_xr.conversion.source_image import Reading, check_size
from limnd2_xr.errors import Nd2Error, UnsupportedDtype, warn_user
from limnd2_xr.frames.packing import check_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from limnd2_xr.conversion.source_image import SourceImage

__all__ = ["convert_to_nd2", "plan_conversion"]

_SOME: Final = 10
_ALONG: Final = ("T", "P", "Z", "C")
_WAVELENGTHS: Final = ("emission_wavelength", "excitation_wavelength")
_FILES_OWN: Final = ("format_version", "compression", "loop_order")
"""Attributes that are true of a file, not of its image."""


def convert_to_nd2(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: bool = False,
    **settings: Any,
) -> ConversionPlan:
    """Write images of other formats as one .nd2 file.

    Reads TIFF (OME, ImageJ, BigTIFF, tiles), PNG, JPEG, OME-Zarr, zarr, netCDF, .npy and
    whatever an installed reader of bioio reads, with the metadata that they have. Pixels
    are read block by block: memory holds a few frames, whatever the size. Nothing is
    cast, and nothing is dropped in silence.

    Parameters
    ----------
    sources
        A file, a folder of zarr, or several; folders and globs; or names of files with
        groups in braces, ``folder/img_t{T}_z{Z}_{C}.tif``.
    path
        Of the .nd2 file. It has its name only once it is complete.
    overwrite
        Replace an existing file, once the new one is complete.
    progress
        Show a bar.
    **settings
        Any of `ConversionSettings`.

    Returns
    -------
    ConversionPlan
        What was done.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is not set.
    ValueError
        If files are missing, contradict each other or a setting.
    Nd2Error
        If a file cannot be read, or holds what .nd2 files do not: pixels of other types
        than uint8, uint16 and float32 raise `UnsupportedDtype`.

    Warns
    -----
    Nd2Warning
        Of metadata that are not kept, of what was assumed, and of files for which zeros
        are stored.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> np.save(folder.name + "/a.npy", np.zeros((2, 8, 8), "uint16"))
    >>> plan = convert_to_nd2(
    ...     folder.name + "/a.npy", folder.name + "/a.nd2", dims="TYX", time_step=2.0
    ... )
    >>> plan.sizes, plan.frames, plan.time_step_s
    ({'T': 2, 'C': 1, 'Y': 8, 'X': 8}, 2, 2.0)
    >>> folder.cleanup()
    """
    wanted = ConversionSettings(**settings)
    target = Path(path).expanduser()
    if target.exists() and not overwrite:
        raise FileExistsError(17, "exists already", os.fspath(path))
    with _opened(sources, wanted) as found:
        if any(_is_same(target, known.file) for known in found.inputs):
            raise ValueError(f"{path} is one of the inputs")
        plan = found.plan(os.fspath(path))
        found.report(on_loss=wanted.on_loss)
        write_nd2(
            found.image,
            target,
            options=found.options,
            beside=found.beside,
            dtype=wanted.dtype,
            scale=wanted.scale,
            overwrite=overwrite,
            progress=progress,
        )
    return plan


def plan_conversion(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    path: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> ConversionPlan:
    """Tell what `convert_to_nd2` would do, with all errors that metadata can give.

    Parameters
    ----------
    sources, path, **settings
        As for `convert_to_nd2`. Nothing is written, and no pixels are read.
    """
    wanted = ConversionSettings(**settings)
    with _opened(sources, wanted) as found:
        plan = found.plan(None if path is None else os.fspath(path))
        if wanted.on_loss == "raise":
            found.refuse_losses()
        return plan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    image: xr.DataArray
    source: SourceImage
    settings: ConversionSettings
    inputs: tuple[PlannedInput, ...]
    missing: tuple[str, ...]
    passed_over: int

    @property
    def options(self) -> WriteOptions:
        return WriteOptions(
            compression=self.settings.compression,
            level=self.settings.level,
            significant_bits=self.settings.significant_bits,
            on_loss=self.settings.on_loss,
        )

    @property
    def beside(self) -> Beside | None:
        labels = {
            name: xr.DataArray(variable)
            for name, variable in self.source.labels.items()
        }
        return Beside(labels=labels) if labels else None

    def plan(self, target: str | None) -> ConversionPlan:
        wanted = self.settings
        image = converted(self.image, wanted.dtype, wanted.scale)
        self._check_dtype(image.dtype)
        options = self.options
        if wanted.on_loss == "warn":  # it is told when it is written
            options = replace(options, on_loss="ignore")
        return described_plan(
            image,
            plan_write(image, options, self.beside),
            target=target,
            kind=self.source.format,
            source_dtype=self.image.dtype,
            compression=wanted.compression,
            inputs=self.inputs,
            missing=self.missing,
            passed_over=self.passed_over,
            labels=self.source.labels,
            notes=self.source.notes,
        )

    def _check_dtype(self, dtype: np.dtype[Any]) -> None:
        try:
            check_dtype(dtype)
        except UnsupportedDtype:
            advice = (
                'dtype="uint8" (--dtype uint8)'
                if dtype.kind == "b"
                else 'dtype="uint16" or "float32" (--dtype), with scale= (--scale) if '
                "values do not fit"
            )
            raise UnsupportedDtype(
                f"pixels are {dtype}, but .nd2 files hold uint8, uint16 and float32: "
                f"convert with {advice}",
                path=self.source.path,
            ) from None

    def report(self, *, on_loss: str) -> None:
        """Say what is not kept, and which files were not there."""
        if self.missing:
            some = "; ".join(self.missing[:_SOME])
            more = "; ..." if len(self.missing) > _SOME else ""
            count = len(self.missing)
            told = "1 file is missing" if count == 1 else f"{count} files are missing"
            warn_user(f"{told}, and zeros are stored there: {some}{more}")
        if on_loss == "raise":
            self.refuse_losses()
        if self.source.notes and on_loss == "warn":
            warn_user(self._notes)

    def refuse_losses(self) -> None:
        """Raise if metadata are not kept, or something had to be assumed."""
        if self.source.notes:
            raise ValueError(self._notes)

    @property
    def _notes(self) -> str:
        notes = "; ".join(self.source.notes)
        return f"{self.source.path}: not kept, or assumed: {notes}"


@contextmanager
def _opened(sources: Any, settings: ConversionSettings) -> Iterator[_Found]:
    """Find, open and describe an image; it can be read within the `with` block."""
    _check(settings)
    names = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    files, pattern, passed = found_files(
        [os.fspath(name) for name in names], _pattern(settings)
    )
    reading = Reading(
        dims=settings.dims,
        series=settings.series,
        variable=settings.variable,
        drop_alpha=settings.drop_alpha,
        fill_missing=settings.fill_missing,
        reader=settings.reader,
    )
    with ExitStack() as stack:
        grid = _grid(files, pattern, settings)
        if grid is None:
            images = open_images(files[0], reading, stack)
            source = image_of_positions(images)
            inputs = _inputs_of_file(images)
        else:
            source = image_of_files(grid, reading, stack)
            inputs = [
                PlannedInput(file=file, place=tuple(zip(grid.dims, place, strict=True)))
                for place, file in grid.places()
            ]
        source = _as_stored(source)
        yield _Found(
            image=_described(source, settings),
            source=source,
            settings=settings,
            inputs=tuple(inputs),
            missing=tuple(grid.missing) if grid is not None else (),
            passed_over=passed,
        )


def _check(settings: ConversionSettings) -> None:
    if settings.pattern is not None and settings.regex is not None:
        raise ValueError("give a pattern or a regex, not both")
    if settings.along is not None and settings.along not in _ALONG:
        raise ValueError(f"along must be T, P, Z or C, not {settings.along!r}")
    if settings.reader not in READERS:
        raise ValueError(
            f"reader must be one of {', '.join(READERS)}, not {settings.reader!r}"
        )


def _pattern(settings: ConversionSettings) -> FilenamePattern | None:
    if settings.pattern is not None:
        return FilenamePattern.parse(settings.pattern)
    if settings.regex is not None:
        return FilenamePattern.of_regex(settings.regex)
    return None


def _grid(
    files: list[str], pattern: FilenamePattern | None, settings: ConversionSettings
) -> FileGrid | None:
    if pattern is not None:
        if settings.along is not None:
            raise ValueError("along: the pattern tells which frame each file is")
        return grid_of_files(files, pattern, fill_missing=settings.fill_missing)
    if settings.along is not None:
        return grid_of_list(files, settings.along)
    if len(files) > 1:
        raise ValueError(
            f"{len(files)} files, from {files[0]} to {files[-1]}: nothing says which "
            "frame each is; give a pattern of their names (--pattern "
            "img_t{T}_{C}.tif), or the dim along which they follow (--along T)"
        )
    return None


def _inputs_of_file(images: list[SourceImage]) -> list[PlannedInput]:
    if len(images) == 1:
        return [PlannedInput(file=images[0].path, part=images[0].part)]
    return [
        PlannedInput(file=image.path, part=image.part, place=(("P", number),))
        for number, image in enumerate(images)
    ]


def _as_stored(source: SourceImage) -> SourceImage:
    """Leave out what a file with such pixels cannot say."""
    known = [name for name in _WAVELENGTHS if name in source.coords]
    if "S" not in source.pixels.dims or not known:
        return source
    coords = {n: v for n, v in source.coords.items() if n not in _WAVELENGTHS}
    notes = (*source.notes, "wavelengths of a colour image")
    return replace(source, coords=coords, notes=notes)


def _described(source: SourceImage, settings: ConversionSettings) -> xr.DataArray:
    """Return an image with the coordinates that fit it, and the attributes."""
    pixels = arranged(source.pixels)
    check_size(
        [str(dim) for dim in pixels.dims], pixels.shape, pixels.dtype, source.path
    )
    if not pixels.size:
        raise Nd2Error(f"the image is empty: {dict(pixels.sizes)}", path=source.path)
    sizes = {str(dim): size for dim, size in pixels.sizes.items()}
    coords, attrs = described_by_settings(source.coords, source.attrs, sizes, settings)
    for name in _FILES_OWN if source.format != "nd2" else ():
        attrs.pop(name, None)
    fitting = {
        name: variable
        for name, variable in coords.items()
        if all(sizes.get(str(dim)) == n for dim, n in variable.sizes.items())
    }
    array = xr.DataArray(pixels, coords=fitting, name="image")
    array.attrs = attrs
    return array


def _is_same(target: Path, file: str | None) -> bool:
    if file is None or "://" in file:
        return False
    return Path(file).absolute() == target.absolute()
