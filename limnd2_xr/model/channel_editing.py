"""Planes and sample settings of a source, changed to what a document says.

A channel that comes from the source keeps its plane and its sample setting, hundreds
of device settings among it. What is changed in them is found by reading them again at
their new place: there they can mean something else (a filter that lists one excitation
line for each plane; an objective that only the picture as a whole had).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limnd2_xr.model.channel_tree import (
    camera_channel,
    filter_fields,
    plane_tree,
    planes_tree,
    probe_tree,
    rotation_field,
    setting_tree,
)
from limnd2_xr.model.channels import (
    Channel,
    parse_channel,
    parse_channels,
    plane_numbers,
)
from limnd2_xr.model.comparison import same
from limnd2_xr.model.fields import integer
from limnd2_xr.model.matching import matched_channels
from limnd2_xr.model.modality import known_bits, mask_of_flags
from limnd2_xr.model.optics import (
    Optics,
    sample_setting,
    sample_settings,
    stored_planes,
)
from limnd2_xr.model.picture_tree import camera_rotation, picture_tree
from limnd2_xr.model.tree_building import nested, numbered, string, struct, u32, u64
from limnd2_xr.model.tree_editing import merged, with_fields, without_fields
from limnd2_xr.variants.tree import Level

if TYPE_CHECKING:
    from limnd2_xr.model.channel_tree import Rotation
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.model.picture_tree import FirstFrame

__all__ = ["edited_picture", "fresh_picture"]


def fresh_picture(document: Nd2Document, first: FirstFrame | None = None) -> Level:
    """Content of ``SLxPictureMetadata`` for a document without a source.

    Parameters
    ----------
    document
        What to store.
    first
        What else is known of frame 0.
    """
    rotation = camera_rotation(document.optics)
    pairs = [
        (plane_tree(channel, i), setting_tree(channel, rotation))
        for i, channel in enumerate(document.channels)
    ]
    planes = planes_tree(
        pairs, document.attributes.components, document.picture.description
    )
    return picture_tree(document, planes, first)


def edited_picture(
    stored: Level,
    old: Nd2Document,
    new: Nd2Document,
    first: tuple[FirstFrame | None, FirstFrame | None] = (None, None),
) -> Level:
    """Content of ``SLxPictureMetadata``, changed where two documents differ.

    Parameters
    ----------
    stored
        Content of the source.
    old, new
        What the source says, and what is to be stored.
    first
        What else the source knows of frame 0, and what is known of it now.

    Returns
    -------
    Level
        `stored` itself if nothing changes.
    """
    top = merged(
        stored,
        picture_tree(old, _description(old), first[0]),
        picture_tree(new, _description(new), first[1]),
    )
    if not _reads_as(top, new) and "dPinholeRadius" in top:
        # one for all planes, from before each had its own
        top = without_fields(top, "dPinholeRadius")
    if not _reads_as(top, new):
        planes = _edited_planes(stored, top, old, new)
        top = with_fields(top, nested("sPicturePlanes", planes))
    optics = Optics.from_raw(top, None, new.text.optics)
    if not same(optics.camera_to_stage, new.optics.camera_to_stage):
        top = _turned(top, camera_rotation(new.optics))
    return top


def _description(document: Nd2Document) -> Level:
    return struct(string("sDescription", document.picture.description))


def _reads_as(picture: Level, document: Nd2Document) -> bool:
    found = parse_channels(picture, document.attributes, document.text.optics)
    return same(found, document.channels)


def _edited_planes(
    source: Level, picture: Level, old: Nd2Document, new: Nd2Document
) -> Level:
    """Content of ``sPicturePlanes`` for the channels of `new`.

    `source` is the picture metadata as stored, `picture` the same with all changed but
    the planes.
    """
    planes = picture.level("sPicturePlanes", create=True)
    numbers = plane_numbers(source, old.attributes)
    places = matched_channels(new.channels, old.channels)
    if numbers is None:  # the old channels come from no planes
        places = [None] * len(places)
    stored, settings = stored_planes(planes), sample_settings(planes)
    rotation = camera_rotation(new.optics)
    pairs = []
    for i, (channel, place) in enumerate(zip(new.channels, places, strict=True)):
        if place is None or numbers is None:
            pairs.append((plane_tree(channel, i), setting_tree(channel, rotation)))
            continue
        plane = stored[numbers[place]]
        setting = sample_setting(settings, plane)
        pairs.append(_edited(plane, setting, channel, picture, i, new.text.optics))
    alone = len({id(setting) for _, setting in pairs}) == 1 and len(settings) == 1
    names = [channel.name for channel in new.channels]
    chosen = (
        [_narrowed(pairs[0][1], names)]
        if alone
        else [
            _narrowed(setting, [name])
            for (_, setting), name in zip(pairs, names, strict=True)
        ]
    )
    indexed = [
        _with_number(plane, "uiSampleIndex", 0 if alone else i)
        for i, (plane, _) in enumerate(pairs)
    ]
    return with_fields(
        without_fields(planes, "sPlane"),
        u32("uiCount", len(pairs)),
        u32("uiCompCount", new.attributes.components),
        nested("sPlaneNew", numbered("a", indexed)),
        u32("uiSampleCount", len(chosen)),
        nested("sSampleSetting", numbered("a", chosen)),
    )


def _edited(
    plane: Level,
    setting: Level,
    channel: Channel,
    picture: Level,
    index: int,
    optics_text: str,
) -> tuple[Level, Level]:
    """Plane and setting of one channel, at their new place."""
    plane = _with_number(plane, "uiCompCount", channel.component_count)
    before = parse_channel(plane, setting, picture, index, optics_text)
    if same(before, channel):
        return plane, setting
    # what filters hold is compared by what is read from them, see below
    changed = merged(plane, _bare(before), _bare(channel))
    if before.modality_flags != channel.modality_flags:
        mask = integer(plane, "uiModalityMask", 0) & ~known_bits()
        mask |= mask_of_flags(channel.modality_flags)
        changed = with_fields(changed, u64("uiModalityMask", mask))
    lit = (channel.emission_nm, channel.excitation_nm)
    if (before.emission_nm, before.excitation_nm) != lit:
        probe = changed.level("pFluorescentProbe", create=True)
        dark = without_fields(probe_tree(channel.probe), "m_sName", "m_uiColor")
        probe = with_fields(
            probe, *zip(dark.names, dark.kinds, dark.values, strict=True)
        )
        changed = with_fields(changed, nested("pFluorescentProbe", probe))
    elif before.filters == channel.filters:
        return changed, _edited_setting(setting, before, channel)
    path = changed.level("pFilterPath", create=True)
    path = with_fields(without_fields(path, "m_pFilter"), *filter_fields(channel))
    changed = with_fields(changed, nested("pFilterPath", path))
    return changed, _edited_setting(setting, before, channel)


def _edited_setting(setting: Level, before: Channel, channel: Channel) -> Level:
    old, new = _unlisted(before), _unlisted(channel)
    setting = merged(setting, old, new)
    entries = {
        name: merged(entry, camera_channel(before), camera_channel(channel))
        if entry.get("Name") == before.name
        else entry
        for name, entry in _camera_channels(setting)
    }
    fields = [nested(name, entry) for name, entry in entries.items()]
    return _with_camera_channels(setting, struct(*fields)) if fields else setting


def _unlisted(channel: Channel) -> Level:
    """Return a sample setting without its list of the camera's channels."""
    setting = setting_tree(channel, None)
    camera = setting.level("pCameraSetting", create=True)
    return with_fields(
        setting, nested("pCameraSetting", without_fields(camera, "Metadata"))
    )


def _camera_channels(setting: Level) -> list[tuple[str, Level]]:
    camera = setting.level("pCameraSetting", create=True)
    listed = camera.level("Metadata", create=True).level("Channels", create=True)
    return [(name, entry) for name, entry in listed if isinstance(entry, Level)]


def _narrowed(setting: Level, names: list[str]) -> Level:
    """Sample setting whose camera lists those of its channels that have these names."""
    entries = [entry for _, entry in _camera_channels(setting)]
    named = [entry for entry in entries if entry.get("Name") in names]
    if not named or len(named) == len(entries):
        return setting
    return _with_camera_channels(setting, numbered("Channel_", named))


def _with_camera_channels(setting: Level, listed: Level) -> Level:
    camera = setting.level("pCameraSetting", create=True)
    metadata = with_fields(
        camera.level("Metadata", create=True),
        u32("ChannelCount", len(listed)),
        nested("Channels", listed),
    )
    camera = with_fields(camera, nested("Metadata", metadata))
    return with_fields(setting, nested("pCameraSetting", camera))


def _bare(channel: Channel) -> Level:
    """Return a plane without what `_edited` sets itself."""
    return without_fields(plane_tree(channel, 0), "uiModalityMask", "pFilterPath")


def _with_number(level: Level, name: str, value: int) -> Level:
    if name in level and integer(level, name, -1) == value:
        return level
    return with_fields(level, u32(name, value))


def _turned(picture: Level, rotation: Rotation | None) -> Level:
    """Picture metadata with another rotation of the camera, in each sample setting."""
    planes = picture.level("sPicturePlanes", create=True)
    settings = sample_settings(planes)
    turned = [with_fields(setting, rotation_field(rotation)) for setting in settings]
    if settings:
        planes = with_fields(planes, nested("sSampleSetting", numbered("a", turned)))
        picture = with_fields(picture, nested("sPicturePlanes", planes))
    return picture
