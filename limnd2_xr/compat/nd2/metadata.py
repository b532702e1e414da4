"""Attributes, channels and texts of the model as structures of nd2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.compat.nd2 import structures as nd2
from limnd2_xr.compat.nd2.axis import VoxelSize
from limnd2_xr.model.channels import plane_numbers
from limnd2_xr.model.raw import PICTURE, RawMetadata
from limnd2_xr.model.stage_matrix import PlaneGeometry, plane_geometry
from limnd2_xr.model.text import TEXT_ITEMS
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from limnd2_xr.frames.store import FrameStore, StoreState
    from limnd2_xr.model.channels import Channel
    from limnd2_xr.model.document import Nd2Document
    from limnd2_xr.variants.tree import Level

__all__ = [
    "attributes_of",
    "geometry_of",
    "metadata_of",
    "text_info_of",
    "voxel_size_of",
]

_TEXTS: Final = dict(zip(TEXT_ITEMS, nd2.TextInfo.__annotations__, strict=True))
"""Name of each text in ``text_info``."""
_DETECTORS_FIRST: Final = (
    "fluorescence",
    "brightfield",
    "phaseContrast",
    "diContrast",
    "camera",
    "laserScanConfocal",
    "spinningDiskConfocal",
    "sweptFieldConfocalSlit",
    "sweptFieldConfocalPinhole",
    "dsdConfocal",
    "SIM",
    "iSIM",
    "RCM",
    "VCS",
    "sora",
    "liveSR",
    "multiphoton",
    "TIRF",
)
"""Order of flags; others follow in the order of their bits."""
_TIME_AXIS: Final = 2
_FLOAT_BITS: Final = 32


def attributes_of(document: Nd2Document) -> nd2.Attributes:
    """Return what a frame looks like."""
    found = document.attributes
    is_packed = found.compression != "none"
    tiled = (found.tile_height, found.tile_width) != (None, None)
    return nd2.Attributes(
        bitsPerComponentInMemory=found.bits_in_memory,
        bitsPerComponentSignificant=found.bits_significant,
        componentCount=found.components,
        heightPx=found.height,
        pixelDataType=found.pixel_type,
        sequenceCount=found.sequence_count,
        widthBytes=found.row_nbytes,
        widthPx=found.width,
        compressionLevel=found.compression_param if is_packed else None,
        compressionType=found.compression if is_packed else None,
        tileHeightPx=(found.tile_height or found.height) if tiled else None,
        tileWidthPx=(found.tile_width or found.width) if tiled else None,
        channelCount=len(document.channels),
    )


def text_info_of(document: Nd2Document) -> nd2.TextInfo:
    """Return the texts that are not empty."""
    texts = {name: getattr(document.text, ours) for ours, name in _TEXTS.items()}
    found: Any = {name: value for name, value in texts.items() if value}
    return found  # type: ignore[no-any-return]


def voxel_size_of(document: Nd2Document) -> VoxelSize:
    """Return the size of a voxel, um; 1 where it is not known."""
    pixel = document.optics.pixel_size_um or 1.0
    return VoxelSize(pixel, pixel, document.z_step_um or 1.0)


def geometry_of(store: FrameStore) -> tuple[PlaneGeometry, ...]:
    """Return where the pixels of each channel are on the stage, as far as known."""
    document = store.document
    picture = _picture(store)
    if picture is None:
        return (PlaneGeometry(),) * len(document.channels)
    attributes = document.attributes
    planes = plane_geometry(picture, attributes, document.optics.pixel_size_um)
    numbers = plane_numbers(picture, attributes)
    if numbers is None:
        return (PlaneGeometry(),) * len(document.channels)
    return tuple(planes[number] for number in numbers)


def _picture(store: FrameStore) -> Level | None:
    for name in PICTURE:
        if name in store.state.chunks:
            levels = {name: decode(store.read_chunk(name), lazy=True)}
            return RawMetadata(version=(0, 0), levels=levels).struct((name,))
    return None


def metadata_of(
    state: StoreState,
    experiment: list[nd2.ExpLoop],
    geometry: tuple[PlaneGeometry, ...],
) -> nd2.Metadata:
    """Return the metadata that all frames have in common.

    Parameters
    ----------
    state
        What opening the file found out.
    experiment
        Its loops.
    geometry
        Of each channel.
    """
    document = state.document
    channels = [
        nd2.Channel(
            channel=_channel_meta(channel, geometry[i].sample_index or i),
            loops=_loops(experiment),
            microscope=_microscope(channel),
            volume=_volume(state, channel, geometry[i]),
        )
        for i, channel in enumerate(document.channels)
    ]
    frames = document.attributes.sequence_count
    return nd2.Metadata(nd2.Contents(len(channels), frames), channels)


def _channel_meta(channel: Channel, index: int) -> nd2.ChannelMeta:
    red, green, blue = bytes.fromhex(channel.color.removeprefix("#"))
    return nd2.ChannelMeta(
        name=channel.name,
        index=index,
        color=nd2.Color(red, green, blue),
        emissionLambdaNm=channel.emission_nm,
        excitationLambdaNm=channel.excitation_nm,
    )


def _loops(experiment: list[nd2.ExpLoop]) -> nd2.LoopIndices | None:
    if not experiment:
        return None
    return nd2.LoopIndices(**{loop.type: i for i, loop in enumerate(experiment)})


def _microscope(channel: Channel) -> nd2.Microscope:
    path = channel.light_path
    rank = {name: i for i, name in enumerate(_DETECTORS_FIRST)}
    return nd2.Microscope(
        objectiveMagnification=path.magnification,
        objectiveName=path.objective or None,
        objectiveNumericalAperture=path.numerical_aperture,
        zoomMagnification=path.zoom,
        immersionRefractiveIndex=path.refractive_index,
        projectiveMagnification=path.projective_magnification,
        pinholeDiameterUm=channel.pinhole_um,
        modalityFlags=sorted(
            channel.modality_flags, key=lambda name: rank.get(name, len(rank))
        ),
    )


def _volume(state: StoreState, channel: Channel, geometry: PlaneGeometry) -> nd2.Volume:
    document = state.document
    attributes, picture = document.attributes, document.picture
    size = voxel_size_of(document)
    is_calibrated = document.optics.pixel_size_um is not None
    components = channel.component_count
    significant = attributes.bits_significant
    return nd2.Volume(
        axesCalibrated=(
            is_calibrated,
            is_calibrated,
            document.z_step_um is not None,
        ),
        axesCalibration=(size.x, size.y, size.z),
        axesInterpretation=(
            "time" if picture.x_axis == _TIME_AXIS else "distance",
            "time" if picture.y_axis == _TIME_AXIS else "distance",
            "distance",
        ),
        bitsPerComponentInMemory=attributes.bits_in_memory,
        bitsPerComponentSignificant=significant,
        cameraTransformationMatrix=geometry.rotation,
        componentCount=components,
        componentDataType="float" if significant == _FLOAT_BITS else "unsigned",
        voxelCount=(attributes.width, attributes.height, state.axes.size("Z")),
        componentMaxima=[0.0] * components,
        componentMinima=[0.0] * components,
        pixelToStageTransformationMatrix=geometry.pixel_to_stage,
    )
