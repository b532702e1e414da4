"""Chunks of all that a file may hold beside its image: made, with known content.

No public file holds most of it, so these follow FORMAT sections 6.6, 6.7, 10 and 12;
the tests compare what this package reads of them with other readers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.frames.deepsim import DeepSimImages, deepsim_chunk_name, encode_deepsim
from limnd2_xr.frames.layout import PixelLayout
from limnd2_xr.frames.masks import cut_tiles, encode_rle, encode_tile
from limnd2_xr.frames.pyramid import encode_level, pyramid_levels
from limnd2_xr.model.custom_description import (
    DESCRIPTION_CHUNK,
    CustomDescription,
    DescriptionItem,
    custom_description_tree,
)
from limnd2_xr.model.events import WRITTEN_CHUNK, Event, events_tree
from limnd2_xr.model.guids import GUID_STORE, Guids, guids_tree
from limnd2_xr.model.jobs import (
    JOB_DEFINITION,
    JOB_RUN_ID,
    Job,
    encode_run_id,
    job_tree,
)
from limnd2_xr.model.layers import (
    RASTER_LAYERS,
    RLE_LAYERS,
    BinaryLayer,
    encode_raster_layers,
    new_rle_layer,
    rle_layers_tree,
)
from limnd2_xr.model.roi_tree import rois_tree
from limnd2_xr.model.rois import ROI_CHUNK, Roi, RoiKeyFrame
from limnd2_xr.model.tree_building import nested, string, struct
from limnd2_xr.variants import lite, xml

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.testing.specs import SyntheticSpec

__all__ = ["EVENTS", "ROIS", "contents", "masks"]

_BOX = RoiKeyFrame(center_x=0.5, size_x=0.5, size_y=1.0)
_LATER = RoiKeyFrame(time_ms=1000.0, center_x=-0.5, size_x=0.5, size_y=1.0)

ROIS = (
    Roi(
        id=1, label="box", shape="rectangle", color="#00ff00", key_frames=(_BOX, _LATER)
    ),
    Roi(id=2, label="dot", shape="point", position=0, key_frames=(RoiKeyFrame(),)),
)
"""ROIs that `contents` stores."""
EVENTS = (
    Event(time_ms=500.0, meaning=33, description="drug added", id=2),
    Event(time_ms=1500.0, meaning=7, data="Wait(2);", id=1),
)
"""Events that `contents` stores, by time."""


def masks(spec: SyntheticSpec, frame: int, seed: int = 0) -> NDArray[np.uint32]:
    """Return a label image of square objects, another for each frame and seed.

    Parameters
    ----------
    spec
        Of the file.
    frame
        Number of the frame.
    seed
        Of the image.

    Examples
    --------
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec
    >>> masks(SyntheticSpec(width=30, height=20), 0).shape
    (20, 30)
    """
    rng = np.random.default_rng((seed, frame))
    shape = -(-spec.height // 5), -(-spec.width // 5)
    blocks = rng.integers(0, 4, shape, dtype=np.uint32)
    whole = np.kron(blocks, np.ones((5, 5), np.uint32))
    return whole[: spec.height, : spec.width]


def contents(spec: SyntheticSpec, *, seed: int = 0) -> dict[str, bytes]:
    """Make the chunks of masks, ROIs, events, smaller copies, raw images, form and job.

    Parameters
    ----------
    spec
        Of the file; give the chunks to it with ``replace(spec, extra_chunks=...)``.
    seed
        Of the masks.

    Returns
    -------
    dict
        Payload by chunk name: a layer of run lengths ``nuclei``, one of tiles ``cells``,
        `ROIS`, `EVENTS`; copies only where the image is large enough for them.

    Examples
    --------
    >>> from limnd2_xr.testing.synthetic import SyntheticSpec
    >>> sorted(contents(SyntheticSpec(width=30, height=20)))[:2]
    ['CustomDataSeq|AUXIMAGE_21_0|0!', 'CustomDataSeq|RleZipBinarySequence_1_v1|0!']
    """
    form = CustomDescription(
        name="sample form",
        items=(
            DescriptionItem(kind="text", id=1, name="Dye", text="Hoechst"),
            DescriptionItem(kind="number", id=2, name="Passage", value=7.0),
        ),
    )
    names = struct(string("Name", "Plate scan"), string("Desc", "every hour"))
    job = Job(definition=struct(nested("Property", names)))
    return {
        ROI_CHUNK: lite.encode(rois_tree(ROIS)),
        WRITTEN_CHUNK: lite.encode(events_tree(EVENTS)),
        DESCRIPTION_CHUNK: lite.encode(custom_description_tree(form)),
        GUID_STORE: lite.encode(guids_tree(Guids(guid="{1}", children=("{2}",)))),
        JOB_RUN_ID: encode_run_id("{00000000-0000-0000-0000-000000000007}"),
        JOB_DEFINITION: lite.encode(job_tree(job)),
        **_layers(spec, seed),
        **_copies(spec),
        **_raw_images(spec),
    }


def _layers(spec: SyntheticSpec, seed: int) -> dict[str, bytes]:
    runs = new_rle_layer("nuclei", color="#ff0000", channel=spec.channels[0].name)
    tiles = BinaryLayer(
        id=9,
        name="cells",
        kind="raster",
        width=spec.width,
        height=spec.height,
        tile_width=256,
        tile_height=32,
        bit_depth=32,
        compression="zlib",
        compression_level=6,
        uuid="{0}",
    )
    made = {
        RLE_LAYERS: xml.encode(rle_layers_tree([runs])),
        RASTER_LAYERS: encode_raster_layers([tiles]),
    }
    for frame in range(spec.n_frames):
        made[runs.chunk_name(frame)] = encode_rle(masks(spec, frame, seed))
        parts = cut_tiles(masks(spec, frame, seed + 1), (32, 256))
        for place, name in tiles.tile_names(frame).items():
            made[name] = encode_tile(parts[place], (32, 256))
    return made


def _copies(spec: SyntheticSpec) -> dict[str, bytes]:
    samples = 3 if spec.channels[0].components == 3 else 1
    layout = PixelLayout(
        height=spec.height,
        width=spec.width,
        channels=spec.n_components // samples,
        samples=samples,
        dtype=np.dtype(spec.stored_dtype),
        row_nbytes=spec.row_nbytes,
    )
    made = {}
    for level in pyramid_levels(layout):
        for frame in range(spec.n_frames):
            pixels: NDArray[Any] = np.zeros(level.layout.frame_shape, layout.dtype)
            pixels += frame + level.level
            made[level.chunk_name(frame)] = encode_level(pixels, level.layout)
    return made


def _raw_images(spec: SyntheticSpec) -> dict[str, bytes]:
    made = {}
    for frame in range(spec.n_frames):
        images = np.full((2, 3, 4), frame, np.uint16)
        raw = DeepSimImages(images=images, calibration_key="key", psf=0.5)
        made[deepsim_chunk_name(0, frame)] = encode_deepsim(raw)
    return made
