"""The summary of an acquisition in the text info, item 5 (FORMAT 9.1).

Data are never read from it here, but other readers do so: nd2reader knows loops only
from its ``Dimensions:`` line, and Bio-Formats reads some counts. So what is written
agrees with the loops and channels.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from limnd2_xr.model.experiment import NETimeLoop, TimeLoop, ZStackLoop

if TYPE_CHECKING:
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.experiment import Loop

__all__ = [
    "agreeing_description",
    "dimensions",
    "summary",
    "without_gone_loops",
]

_LETTERS: Final = {"T": "T", "P": "XY", "Z": "Z", "U": "U"}
_LINE_END: Final = "\r\n"
_DIMENSIONS: Final = re.compile(r"^Dimensions:([^\r\n]*)(\r?\n)?", re.MULTILINE)
_CHANNELS: Final = "\N{GREEK SMALL LETTER LAMDA}"
_PLANES: Final = re.compile(r"^(Number of Picture Planes: *)\d+", re.MULTILINE)
_TIME: Final = re.compile(r"^(Time Loop: *)\d+", re.MULTILINE)
_SLICES: Final = re.compile(r"^(Z Stack Loop: *)\d+", re.MULTILINE)
_GONE: Final = {
    dim: re.compile(
        rf"(?:\A|\r?\n){title}: *\d+[^\r\n]*(?:\r?\n- [^\r\n]*)*", re.MULTILINE
    )
    for dim, title in (("T", "Time Loop"), ("Z", "Z Stack Loop"))
}
"""Lines of each loop."""


def dimensions(document: Nd2Document) -> str:
    """Loops and channels as NIS-Elements names them, ``""`` for a single picture.

    Examples
    --------
    >>> from limnd2_xr.model.attributes import Attributes
    >>> from limnd2_xr.model.channels import Channel
    >>> from limnd2_xr.model.document import Nd2Document
    >>> from limnd2_xr.model.experiment import Experiment, TimeLoop
    >>> attributes = Attributes(
    ...     width=4,
    ...     height=3,
    ...     components=2,
    ...     bits_in_memory=16,
    ...     bits_significant=16,
    ...     row_nbytes=16,
    ...     sequence_count=3,
    ... )
    >>> document = Nd2Document(
    ...     attributes=attributes,
    ...     channels=(Channel(name="DAPI"), Channel(name="GFP")),
    ...     experiment=Experiment(loops=(TimeLoop(count=3, declared_count=3),)),
    ... )
    >>> dimensions(document)
    'T(3) x λ(2)'
    """
    experiment, channels = document.experiment, document.channels
    parts = [f"{_letter(loop)}({loop.count})" for loop in experiment.loops]
    if len(channels) > 1 or experiment.spectral is not None:
        parts.append(f"{_CHANNELS}({max(len(channels), 1)})")
    return " x ".join(parts)


def summary(document: Nd2Document) -> str:
    """Return a description for an acquisition without one, as NIS-Elements has it."""
    optics = document.optics
    lines = ["Metadata:"]
    if shape := dimensions(document):
        lines.append(f"Dimensions: {shape}")
    if optics.camera:
        lines.append(f"Camera Name: {optics.camera}")
    if optics.numerical_aperture is not None:
        lines.append(f"Numerical Aperture: {optics.numerical_aperture:g}")
    if optics.refractive_index is not None:
        lines.append(f"Refractive Index: {optics.refractive_index:g}")
    several = len(document.channels) > 1
    if several:
        lines.append(f"Number of Picture Planes: {len(document.channels)}")
    for i, channel in enumerate(document.channels):
        if several:
            lines.append(f"Plane #{i + 1}:")
        lines.append(f" Name: {channel.name}")
        lines.append(f" Component Count: {channel.component_count}")
        if channel.modality:
            lines.append(f" Modality: {channel.modality}")
    for loop in document.experiment.loops:
        if isinstance(loop, ZStackLoop):
            lines.append(f"Z Stack Loop: {loop.count}")
            if loop.step_um > 0:
                lines.append(f"- Step: {loop.step_um:g} \N{MICRO SIGN}m")
        elif isinstance(loop, (TimeLoop, NETimeLoop)):
            lines.append(f"Time Loop: {loop.count}")
    return _LINE_END.join(lines)


def agreeing_description(description: str, document: Nd2Document) -> str:
    r"""Return a description whose counts are those of the document.

    Only lines that are there are changed: dimensions, number of picture planes, and
    the counts of a time or a focus loop. Dimensions that merely do not mention the
    channels agree; a line of dimensions that are gone goes too.

    Parameters
    ----------
    description
        Text of another state of the document.
    document
        Its new state.
    """
    shape = dimensions(document)
    parts = shape.split(" x ")
    loops = [part for part in parts if not part.startswith(_CHANNELS)]

    def line(match: re.Match[str]) -> str:
        told = match[1].strip().split(" x ")
        if sorted(told) in (sorted(parts), sorted(loops)):
            return match[0]
        return f"Dimensions: {shape}{match[2] or ''}" if shape else ""

    text = _DIMENSIONS.sub(line, description)
    text = _PLANES.sub(rf"\g<1>{len(document.channels)}", text)
    for pattern, dim in ((_TIME, "T"), (_SLICES, "Z")):
        counts = [loop.count for loop in document.experiment.loops if loop.dim == dim]
        if len(counts) == 1:
            text = pattern.sub(rf"\g<1>{counts[0]}", text)
    return text


def without_gone_loops(description: str, document: Nd2Document) -> str:
    r"""Return a description without the lines of loops that were replaced.

    Bio-Formats 7.3.1 takes the count of a loop from them.

    Parameters
    ----------
    description
        Text of another state of the document.
    document
        Its new state.

    Examples
    --------
    >>> from limnd2_xr.model.attributes import Attributes
    >>> from limnd2_xr.model.document import Nd2Document
    >>> attributes = Attributes(
    ...     width=4,
    ...     height=3,
    ...     components=1,
    ...     bits_in_memory=16,
    ...     bits_significant=16,
    ...     row_nbytes=8,
    ...     sequence_count=1,
    ... )
    >>> text = "Metadata:\r\nZ Stack Loop: 9\r\n- Step: 1 µm\r\nMine"
    >>> without_gone_loops(text, Nd2Document(attributes=attributes))
    'Metadata:\r\nMine'
    """
    for dim, pattern in _GONE.items():
        if all(loop.dim != dim for loop in document.experiment.loops):
            description = pattern.sub("", description)
    return description


def _letter(loop: Loop) -> str:
    return "T'" if isinstance(loop, NETimeLoop) else _LETTERS[loop.dim]
