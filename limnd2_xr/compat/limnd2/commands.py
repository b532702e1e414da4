"""Commands of limnd2 by their names: their arguments in the words of this package.

What this package has no words for is refused; `docs/how-to/switch-from-limnd2.md` lists
it.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from limnd2_xr.errors import Nd2Error, Nd2Warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "convert_file",
    "convert_sequence",
    "frame_export",
    "image_dimensions",
    "plan_sequence",
    "plan_sequence_as_json",
    "sequence_export",
]

_KINDS: Final = ("multipoint", "timeloop", "zstack")
_ERRORS: Final = (
    *(Nd2Error, OSError, TypeError, ValueError, RuntimeError),
    *(IndexError, ModuleNotFoundError),
)
"""What is told in a line: a defect has its traceback."""


def convert_file(arguments: Sequence[str] | None = None) -> int:
    """Run ``limnd2-convert-file-to-nd2``.

    Parameters
    ----------
    arguments
        By default those of the process.
    """
    from limnd2_xr.compat.limnd2.tools import convert_file_to_nd2

    parser = _parser("limnd2-convert-file-to-nd2", "Write an image file as .nd2.")
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path, nargs="?")
    parser.add_argument("-f", "--force", action="store_true", help="replace the output")
    parser.add_argument("--unknown_dimension", choices=_KINDS, default="multipoint")
    given = parser.parse_args(arguments)
    output = given.output or given.input.with_suffix(".nd2")
    with _told(parser):
        if output.exists() and not given.force and not _is_agreed(output):
            raise FileExistsError(17, "exists already; -f replaces it", str(output))
        _say(convert_file_to_nd2(given.input, output, given.unknown_dimension))
    return 0


def convert_sequence(arguments: Sequence[str] | None = None) -> int:
    """Run ``limnd2-convert-sequence-to-nd2``.

    Parameters
    ----------
    arguments
        By default those of the process.
    """
    from limnd2_xr.conversion.converting import convert_to_nd2

    parser = _sequence_parser("limnd2-convert-sequence-to-nd2", "Write files as .nd2.")
    parser.add_argument("-n", "--nd2", required=True, help="file to write")
    parser.add_argument("-o", "--output_dir", type=Path, help="folder of it")
    given = parser.parse_args(arguments)
    with _told(parser):
        output = Path(given.nd2)
        if given.output_dir is not None:
            output = given.output_dir / output
        convert_to_nd2(given.folder, output, overwrite=True, **_settings(given))
        _say(output)
    return 0


def plan_sequence(arguments: Sequence[str] | None = None) -> int:
    """Run ``limnd2-plan-sequence``.

    Parameters
    ----------
    arguments
        By default those of the process.
    """
    _say(plan_sequence_as_json(arguments))
    return 0


def plan_sequence_as_json(arguments: Sequence[str] | None = None) -> str:
    """Return what a sequence would become: the plan of ``limnd2-xr convert --plan``.

    Parameters
    ----------
    arguments
        Of ``limnd2-plan-sequence``; by default those of the process.
    """
    from limnd2_xr.conversion.converting import plan_conversion

    parser = _sequence_parser("limnd2-plan-sequence", "Tell what would be written.")
    parser.add_argument("-n", "--nd2", help="file to write")
    given = parser.parse_args(arguments)
    with _told(parser):
        return plan_conversion(given.folder, given.nd2, **_settings(given)).to_json()


def image_dimensions(arguments: Sequence[str] | None = None) -> int:
    """Run ``limnd2-get-image-dimensions``.

    Parameters
    ----------
    arguments
        By default those of the process.
    """
    from limnd2_xr.compat.limnd2.tools import get_file_dimensions_as_json

    parser = _parser("limnd2-get-image-dimensions", "Tell the dimensions of a file.")
    parser.add_argument("file", type=Path)
    given = parser.parse_args(arguments)
    with _told(parser):
        _say(get_file_dimensions_as_json(given.file))
    return 0


def sequence_export(arguments: Sequence[str] | None = None) -> int:
    """Run ``limnd2-sequence-export``.

    Parameters
    ----------
    arguments
        By default those of the process.
    """
    from limnd2_xr.compat.limnd2.export import seriesExport
    from limnd2_xr.compat.limnd2.reader import Nd2Reader

    parser = _parser("limnd2-sequence-export", "Write each plane as a TIFF file.")
    parser.add_argument("nd2file")
    parser.add_argument("--folder")
    parser.add_argument("--prefix")
    parser.add_argument("--dimensionOrder", nargs="+")
    parser.add_argument("--bits", type=int, choices=(-1, 8, 16), default=-1)
    parser.add_argument("--progress-to-json", action="store_true")
    given = parser.parse_args(arguments)
    with _told(parser), Nd2Reader(given.nd2file) as reader:
        seriesExport(
            reader,
            given.folder,
            given.prefix,
            given.dimensionOrder,
            given.bits,
            progress_to_json=given.progress_to_json,
        )
    return 0


def frame_export(arguments: Sequence[str] | None = None) -> int:
    """Run ``limnd2-frame-export``.

    Parameters
    ----------
    arguments
        By default those of the process.
    """
    from limnd2_xr.compat.limnd2.export import frameExport
    from limnd2_xr.compat.limnd2.reader import Nd2Reader

    parser = _parser("limnd2-frame-export", "Write a frame as a TIFF file.")
    parser.add_argument("nd2file")
    parser.add_argument("--frame-index", type=int, default=0)
    parser.add_argument("--output-path")
    parser.add_argument("--target-bit-depth", type=int)
    parser.add_argument("--progress-to-json", action="store_true")
    given = parser.parse_args(arguments)
    with _told(parser), Nd2Reader(given.nd2file) as reader:
        frameExport(
            reader,
            given.frame_index,
            given.output_path,
            given.target_bit_depth,
            progress_to_json=given.progress_to_json,
        )
    return 0


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=name, description=description)


def _sequence_parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = _parser(name, description)
    parser.add_argument("folder")
    parser.add_argument("regexp", help="of names, with a group for each dimension")
    for option, what in (
        ("-m", "position"),
        ("-z", "slice"),
        ("-t", "time"),
        ("-c", "channel"),
    ):
        parser.add_argument(option, type=int, metavar="N", help=f"group of the {what}")
    parser.add_argument("-zstep", type=float, help="µm")
    parser.add_argument("-tstep", type=float, help="ms")
    parser.add_argument("--allow_missing_files", action="store_true")
    parser.add_argument(
        "--channel-setting",
        action="append",
        default=[],
        metavar="ORIG|NEW|MODALITY|EX|EM|COLOR",
    )
    parser.add_argument("--pixel_calibration", type=float, help="µm")
    parser.add_argument("--ms-objective_magnification", type=float)
    parser.add_argument("--ms-objective_numerical_aperture", type=float)
    parser.add_argument("--ms-immersion_refractive_index", type=float)
    return parser


def _settings(given: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a conversion."""
    groups = {"P": given.m, "Z": given.z, "T": given.t, "C": given.c}
    found = {
        "regex": named_groups(given.regexp, groups),
        "fill_missing": given.allow_missing_files,
        "z_step": given.zstep,
        "time_step": None if given.tstep is None else given.tstep / 1000,
        "pixel_size": given.pixel_calibration,
        "magnification": given.ms_objective_magnification,
        "numerical_aperture": given.ms_objective_numerical_aperture,
        "refractive_index": given.ms_immersion_refractive_index,
    }
    return {**found, **_channels(given.channel_setting)}


def named_groups(regexp: str, groups: dict[str, int | None]) -> str:
    r"""Return a regular expression whose groups are named.

    Parameters
    ----------
    regexp
        With groups in parentheses.
    groups
        Number of the group, from 1 on, by its name; None for one that there is not.

    Raises
    ------
    ValueError
        If a group has no name, or a name no group.

    Examples
    --------
    >>> named_groups(r"t(\d+)_c(\w)\.tif", {"T": 1, "C": 2, "Z": None})
    't(?P<T>\\d+)_c(?P<C>\\w)\\.tif'
    """
    names = {number: name for name, number in groups.items() if number is not None}
    made, number, escaped, in_set = "", 0, False, False
    for at, letter in enumerate(regexp):
        made += letter
        if escaped:
            escaped = False
            continue
        escaped = letter == "\\"
        in_set = letter == "[" or (in_set and letter != "]")
        if letter == "(" and not in_set and regexp[at + 1 : at + 2] != "?":
            number += 1
            if number not in names:
                raise ValueError(f"group {number} of {regexp!r} is no dimension")
            made += f"?P<{names[number]}>"
    lacking = sorted(set(names) - set(range(1, number + 1)))
    if lacking:
        raise ValueError(f"{regexp!r} has no group {lacking[0]}")
    return made


def _channels(settings: Sequence[str]) -> dict[str, Any]:
    """Return what is said of the channels, in the order of their old names."""
    if not settings:
        return {}
    rows = sorted(text.split("|") for text in settings)
    if any(len(row) != 6 for row in rows):
        raise ValueError("--channel-setting is orig|new|modality|ex|em|color")
    _, names, modalities, excitation, emission, colors = zip(*rows, strict=True)
    found: dict[str, Any] = {
        "channel_names": list(names),
        "excitation": ["" if nm in {"", "0"} else nm for nm in excitation],
        "emission": ["" if nm in {"", "0"} else nm for nm in emission],
    }
    if any(colors):
        found["colors"] = [color or "white" for color in colors]
    if any(modalities):
        found["modality"] = [_modality(text) for text in modalities]
    return found


def _modality(text: str) -> str:
    from limnd2_xr.compat.limnd2.picture_enums import PicturePlaneModalityFlags
    from limnd2_xr.model.modality import describe_modality, modality_flags

    mask = PicturePlaneModalityFlags.from_modality_string(text or "Wide-field")
    return describe_modality(modality_flags(int(mask)))


def _is_agreed(output: Path) -> bool:
    """Ask whether a file may be replaced, where there is somebody to ask."""
    if not sys.stdin.isatty():
        return False
    return input(f"{output} exists: replace it? [y/n] ").strip().lower() == "y"


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")


@contextmanager
def _told(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Tell warnings and errors in a line each; an error ends with status 2."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Nd2Warning)
        try:
            yield
        except _ERRORS as error:
            _fail(parser, str(error))
        finally:
            for warning in caught:
                sys.stderr.write(f"{parser.prog}: warning: {warning.message}\n")


def _fail(parser: argparse.ArgumentParser, text: str) -> NoReturn:
    sys.stderr.write(f"{parser.prog}: {text}\n")
    raise SystemExit(2)
