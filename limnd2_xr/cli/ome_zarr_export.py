"""`limnd2-ome-zarr-export`: the exporter under the name that users of limnd2 know."""

from __future__ import annotations

from typing import Annotated

import typer

from limnd2_xr.cli.export import export_files, output_root, plan, refusing
from limnd2_xr.cli.export_plan import ExportOptions
from limnd2_xr.cli.inputs import storage_options_of

__all__ = ["ome_zarr_app"]

ome_zarr_app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@ome_zarr_app.command()
def ome_zarr_export(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Paths or URLs of .nd2 files."),
    ],
    *,
    output_folder: Annotated[
        str | None,
        typer.Option(metavar="D", help="Else exports are beside their files."),
    ] = None,
    s3_prefix: Annotated[
        str | None, typer.Option(metavar="s3://BUCKET/PREFIX", help="On S3.")
    ] = None,
    storage_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="For S3, as often as needed."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what exists.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue what was interrupted.")
    ] = False,
) -> None:
    """Export .nd2 files as OME-Zarr 0.5, FILE.ome.zarr, with pyramids and labels.

    As limnd2-xr export --to ome-zarr does, which has more options.
    """
    with refusing():
        planned = plan(
            files,
            ExportOptions(to="ome-zarr", overwrite=overwrite, resume=resume),
            recurse=False,
            output_folder=output_root(output_folder, s3_prefix),
            storage_options=storage_options_of(storage_option or ()),
        )
    export_files(planned)
