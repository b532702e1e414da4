"""What follows from the values of a document that somebody gave.

A document that was read says everything twice: the light path of the file and of its
first channel, the flags of a modality and their text. One that somebody made or edited
says it once; here the rest is brought in agreement, before it is written.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from limnd2_xr.model.channels import default_channels
from limnd2_xr.model.column_tree import described_columns
from limnd2_xr.model.comparison import same
from limnd2_xr.model.description_text import agreeing_description, summary
from limnd2_xr.model.experiment import SpectralLoop
from limnd2_xr.model.matching import matched_channels
from limnd2_xr.model.modality import (
    describe_modality,
    flags_of_description,
    mask_of_flags,
    modality_flags,
)
from limnd2_xr.model.optics import LightPath, magnification_of_name

if TYPE_CHECKING:
    from limnd2_xr.model.channels import Channel
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.records import FrameRecords

__all__ = ["completed"]

_PATH_FIELDS = tuple(item.name for item in fields(LightPath))


def completed(
    document: Nd2Document,
    records: FrameRecords,
    old: Nd2Document | None = None,
    old_records: FrameRecords | None = None,
) -> Nd2Document:
    """Return a document whose parts agree with each other.

    - Without channels there are those that readers make up.
    - Modality: flags follow from the text where there are none, else the text from the
      flags; without both it is fluorescence, or brightfield for RGB.
    - Light path: what is known of the file or of channels only holds for the other too;
      of two values the one that was edited counts, else that of the first channel.
    - Recorded columns are described as they are recorded.
    - Channels of a spectral loop follow the channels, if it was left as it was.
    - The counts in the description follow loops and channels.

    Without a source, magnification, name of the optics and a description are made from
    the rest if they are missing.

    Parameters
    ----------
    document
        What somebody gave.
    records
        What was recorded for each frame.
    old, old_records
        What the source says, None without one.

    Raises
    ------
    ValueError
        If a modality is not known.

    Examples
    --------
    >>> from limnd2_xr.model.attributes import Attributes
    >>> from limnd2_xr.model.channels import Channel
    >>> from limnd2_xr.model.document import Nd2Document
    >>> from limnd2_xr.model.optics import Optics
    >>> from limnd2_xr.model.records import FrameRecords
    >>> attributes = Attributes(
    ...     width=4,
    ...     height=3,
    ...     components=1,
    ...     bits_in_memory=16,
    ...     bits_significant=16,
    ...     row_nbytes=8,
    ...     sequence_count=1,
    ... )
    >>> document = Nd2Document(
    ...     attributes=attributes,
    ...     channels=(Channel(name="GFP", modality="fluorescence, camera"),),
    ...     optics=Optics(objective="Plan Apo 20x"),
    ... )
    >>> channel = completed(document, FrameRecords()).channels[0]
    >>> channel.modality_flags, channel.magnification
    (('fluorescence', 'camera'), 20.0)
    """
    kept = old.channels if old is not None else ()
    channels = tuple(
        channel if channel in kept else _with_modality(channel)
        for channel in document.channels or default_channels(document.attributes)
    )
    document = replace(document, channels=channels)
    if old is None:
        document = _with_magnification(document)
    document = _with_light_paths(document, old)
    columns = described_columns(document.recorded_columns, records, old_records)
    document = replace(document, recorded_columns=columns)
    if old is not None:
        document = _with_spectral_loop(document, old)
    return _with_texts(document, old)


def _with_modality(channel: Channel) -> Channel:
    flags = channel.modality_flags or flags_of_description(channel.modality)
    ordered = modality_flags(mask_of_flags(flags), channel.component_count)
    text = describe_modality(ordered)
    if channel.modality_flags and channel.modality not in (
        "",
        text,
        describe_modality(flags),
    ):
        raise ValueError(
            f"channel {channel.name!r}: modality {channel.modality!r} contradicts its "
            f"flags {', '.join(flags)}; give one of them"
        )
    color = channel.color.lower()
    return replace(channel, modality=text, modality_flags=ordered, color=color)


def _with_magnification(document: Nd2Document) -> Nd2Document:
    """Magnification from the name of the objective, where readers would find it."""
    channels = tuple(
        replace(channel, light_path=_magnified(channel.light_path))
        for channel in document.channels
    )
    return replace(document, optics=_magnified(document.optics), channels=channels)


def _magnified(path: Any) -> Any:
    if path.magnification is not None:
        return path
    return replace(path, magnification=magnification_of_name(path.objective))


def _with_light_paths(document: Nd2Document, old: Nd2Document | None) -> Nd2Document:
    optics, channels = document.optics, list(document.channels)
    if old is not None and same(
        (optics, document.channels), (old.optics, old.channels)
    ):
        return document
    for name in _PATH_FIELDS:
        whole, first = getattr(optics, name), getattr(channels[0].light_path, name)
        if whole == first:
            continue
        if whole not in ("", None) and first in ("", None):
            spread = True
        else:
            spread = old is not None and _only_whole_changed(document, old, name)
        if not spread:
            optics = replace(optics, **{name: first})
            continue
        for i, channel in enumerate(channels):
            if getattr(channel.light_path, name) == first:
                path = replace(channel.light_path, **{name: whole})
                channels[i] = replace(channel, light_path=path)
    return replace(document, optics=optics, channels=tuple(channels))


def _only_whole_changed(document: Nd2Document, old: Nd2Document, name: str) -> bool:
    """Whether the light path of the file was edited and that of its channel not."""
    place = matched_channels(document.channels[:1], old.channels)[0]
    if place is None:
        return False
    here, there = document.channels[0].light_path, old.channels[place].light_path
    return bool(
        getattr(document.optics, name) != getattr(old.optics, name)
        and getattr(here, name) == getattr(there, name)
    )


def _with_spectral_loop(document: Nd2Document, old: Nd2Document) -> Nd2Document:
    loop, channels = document.experiment.spectral, document.channels
    followed = (
        loop is not None
        and same(loop, old.experiment.spectral)
        and not same(channels, old.channels)
        and loop.count == loop.declared_count == len(old.channels)
    )
    if loop is None or not followed:
        return document
    places = matched_channels(channels, old.channels)
    offsets: tuple[float, ...] = ()
    if len(loop.offsets_um) == len(old.channels):
        offsets = tuple(
            0.0 if place is None else loop.offsets_um[place] for place in places
        )
    named = len(loop.names) == loop.declared_count
    new = SpectralLoop(
        count=len(channels),
        declared_count=len(channels),
        names=tuple(channel.name for channel in channels) if named else (),
        offsets_um=offsets,
    )
    experiment = replace(document.experiment, spectral=new)
    return replace(document, experiment=experiment)


def _with_texts(document: Nd2Document, old: Nd2Document | None) -> Nd2Document:
    text = document.text
    if old is None:
        known = all(path.magnification is not None for path in document.channels)
        if not text.optics and known:
            # else a magnification would be taken from here
            text = replace(text, optics=document.optics.objective)
        described = text.description or summary(document)
    else:
        described = text.description
    unchanged = old is not None and (
        same(document.experiment, old.experiment)
        and len(document.channels) == len(old.channels)
    )
    if not unchanged:
        described = agreeing_description(described, document)
    return replace(document, text=replace(text, description=described))
