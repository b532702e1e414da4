"""`limnd2-xr convert`: images of other formats to one .nd2 file."""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limnd2_xr.cli.messages import EXPECTED, counted, one_line
from limnd2_xr.cli.progress import progress_bar
from limnd2_xr.errors import Nd2Warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limnd2_xr.conversion.plan import ConversionPlan

__all__ = ["convert"]

_SUFFIX = ".nd2"
_CHANNELS = "Channels"
_NAMES = "Which file is which frame"
_READING = "How files are read"
_CALIBRATION = "Calibration"
_STORING = "How frames are stored"


def _listed(help_text: str) -> Any:
    return typer.Option(help=help_text, metavar="A,B,...", rich_help_panel=_CHANNELS)


def convert(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="IN... OUT.nd2",
            help="Files, folders, globs, or names with groups in braces such as "
            "img_t{T}_z{Z}_{C}.tif; and the file to write.",
        ),
    ],
    *,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Names: img_t{T}_z{Z}_{C}.tif; also {P} position, {W} well, {F} field, "
            "{_} anything.",
            rich_help_panel=_NAMES,
        ),
    ] = None,
    regex: Annotated[
        str | None,
        typer.Option(
            help=r"Names, as a regular expression: t(?P<T>\d+)_(?P<C>\w+)\.tif",
            rich_help_panel=_NAMES,
        ),
    ] = None,
    along: Annotated[
        str | None,
        typer.Option(
            help="Dim along which files follow in natural order: T, P, Z or C.",
            rich_help_panel=_NAMES,
        ),
    ] = None,
    fill_missing: Annotated[
        bool,
        typer.Option(
            "--fill-missing",
            help="Store zeros for missing files, and list them.",
            rich_help_panel=_NAMES,
        ),
    ] = False,
    wells: Annotated[
        bool,
        typer.Option(
            "--wells",
            help="Take wells from the names of positions: A01.",
            rich_help_panel=_NAMES,
        ),
    ] = False,
    dims: Annotated[
        str | None,
        typer.Option(help="Dims of an array: TZCYX.", rich_help_panel=_READING),
    ] = None,
    series: Annotated[
        int | None,
        typer.Option(
            help="Which image of a file of several, from 0; all are positions.",
            rich_help_panel=_READING,
        ),
    ] = None,
    variable: Annotated[
        str | None,
        typer.Option(
            help="Which variable of netCDF or zarr.", rich_help_panel=_READING
        ),
    ] = None,
    reader: Annotated[
        str,
        typer.Option(
            help="auto, tiff, picture, zarr, netcdf, npy or bioio.",
            rich_help_panel=_READING,
        ),
    ] = "auto",
    drop_alpha: Annotated[
        bool,
        typer.Option(
            "--drop-alpha", help="Leave out transparency.", rich_help_panel=_READING
        ),
    ] = False,
    time_step: Annotated[
        str | None,
        typer.Option(help="In s, or 500ms.", rich_help_panel=_CALIBRATION),
    ] = None,
    z_step: Annotated[
        str | None,
        typer.Option(
            help="In um; below 0 from the top down.", rich_help_panel=_CALIBRATION
        ),
    ] = None,
    pixel_size: Annotated[
        str | None,
        typer.Option(help="In um, or 325nm.", rich_help_panel=_CALIBRATION),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="Name of the objective.", rich_help_panel=_CALIBRATION),
    ] = None,
    magnification: Annotated[
        float | None, typer.Option(rich_help_panel=_CALIBRATION)
    ] = None,
    numerical_aperture: Annotated[
        float | None,
        typer.Option("--na", help="Numerical aperture.", rich_help_panel=_CALIBRATION),
    ] = None,
    refractive_index: Annotated[
        float | None, typer.Option(rich_help_panel=_CALIBRATION)
    ] = None,
    channel_names: Annotated[str | None, _listed("Names.")] = None,
    colors: Annotated[str | None, _listed("#00ff00 or green.")] = None,
    emission: Annotated[str | None, _listed("Wavelengths in nm.")] = None,
    excitation: Annotated[str | None, _listed("Wavelengths in nm.")] = None,
    exposure: Annotated[str | None, _listed("In s, or 100ms.")] = None,
    modality: Annotated[
        str | None, _listed("fluorescence, brightfield, ...; one for all or one each.")
    ] = None,
    compression: Annotated[
        str,
        typer.Option(help="zlib or none.", rich_help_panel=_STORING),
    ] = "none",
    level: Annotated[
        int | None, typer.Option(help="Of zlib, 1 to 9.", rich_help_panel=_STORING)
    ] = None,
    significant_bits: Annotated[
        int | None,
        typer.Option(help="Bits that carry data.", rich_help_panel=_STORING),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Convert pixels to uint8, uint16 or float32.", rich_help_panel=_STORING
        ),
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Multiply pixels.", rich_help_panel=_STORING)
    ] = None,
    on_loss: Annotated[
        str,
        typer.Option(
            help="Of metadata that are not kept: warn, raise (an error), or ignore."
        ),
    ] = "warn",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing OUT.nd2.")
    ] = False,
    show_plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Print what would be done, as JSON; write nothing."
        ),
    ] = False,
) -> None:
    """Write images of other formats as one .nd2 file, with their metadata.

    Reads TIFF, OME-TIFF, ImageJ hyperstacks, PNG, JPEG, OME-Zarr, zarr, netCDF, .npy, and
    formats for which a reader of bioio is installed. The command exits with 2 if the
    inputs cannot be read or do not fit together; OUT.nd2 is then not written.
    """
    from limnd2_xr.conversion.converting import convert_to_nd2, plan_conversion

    *inputs, last = paths
    target: str | None = last
    if show_plan and not last.lower().endswith(_SUFFIX):
        inputs, target = paths, None
    settings: dict[str, Any] = {
        "pattern": pattern,
        "regex": regex,
        "along": along,
        "fill_missing": fill_missing,
        "wells": wells,
        "dims": dims,
        "series": series,
        "variable": variable,
        "reader": reader,
        "drop_alpha": drop_alpha,
        "time_step": time_step,
        "z_step": z_step,
        "pixel_size": pixel_size,
        "objective": objective,
        "magnification": magnification,
        "numerical_aperture": numerical_aperture,
        "refractive_index": refractive_index,
        "channel_names": _parts(channel_names),
        "colors": _parts(colors),
        "emission": _parts(emission),
        "excitation": _parts(excitation),
        "exposure": _parts(exposure),
        "modality": _modalities(modality),
        "compression": None if compression == "none" else compression,
        "level": level,
        "significant_bits": significant_bits,
        "dtype": dtype,
        "scale": scale,
        "on_loss": on_loss,
    }
    with _told():
        if not inputs or (target is not None and not target.lower().endswith(_SUFFIX)):
            raise ValueError("the last name is the file to write: IN... OUT.nd2")
        if show_plan:
            typer.echo(plan_conversion(inputs, target, **settings).to_json())
            return
        assert target is not None  # noqa: S101 - only a plan does without
        with _progress(target):
            plan = convert_to_nd2(inputs, target, overwrite=overwrite, **settings)
        _show(plan)


@contextmanager
def _progress(label: str) -> Iterator[None]:
    """Show how many of the blocks that are written are done."""
    with progress_bar(label) as advance:
        if advance is None:
            yield
            return
        from dask.callbacks import Callback

        def after(_key: Any, _result: Any, _graph: Any, state: Any, _id: Any) -> None:
            done = len(state["finished"])
            rest = sum(len(state[name]) for name in ("ready", "waiting", "running"))
            advance(done, done + rest)

        with Callback(posttask=after):
            yield


@contextmanager
def _told() -> Iterator[None]:
    """Tell warnings and errors in a line each; an error ends with status 2."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Nd2Warning)
        try:
            yield
        except FileExistsError as error:
            name = error.filename or error
            _line(f"{name}: exists already; --overwrite replaces a file")
            raise typer.Exit(2) from None
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            _line(f"{name}{error.strerror or error}")
            raise typer.Exit(2) from None
        except (*EXPECTED, TypeError) as error:
            _line(str(error))
            raise typer.Exit(2) from None
        finally:
            for warning in caught:
                if issubclass(warning.category, Nd2Warning):
                    _line(f"warning: {warning.message}")


def _line(text: str) -> None:
    sys.stderr.write(f"limnd2-xr: {one_line(text)}\n")


def _parts(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]


def _modalities(text: str | None) -> list[str] | None:
    """Return a modality for each channel; one may have several words, joined by +."""
    parts = _parts(text)
    return None if parts is None else [part.replace("+", ", ") for part in parts]


def _show(plan: ConversionPlan) -> None:
    sizes = " ".join(f"{dim}{size}" for dim, size in plan.sizes.items())
    typer.echo(
        one_line(
            f"{plan.target}: {counted(plan.frames, 'frame')} from {plan.format}, {sizes}, "
            f"{plan.stored_dtype}"
        )
    )
