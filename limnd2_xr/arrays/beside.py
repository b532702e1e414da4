"""What is written beside the pixels: masks, ROIs, events, recorded columns, copies.

Each kind has chunks of its own. Of the file that an array came from a kind is carried
along, replaced by what is given, or, where a whole tree is written, dropped if the tree
has no group of it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np
import xarray as xr

from limnd2_xr.arrays.alignment import check_aligned
from limnd2_xr.arrays.label_layers import StoredMasks, named_labels
from limnd2_xr.arrays.label_writing import label_payloads
from limnd2_xr.frames.deepsim import DEEPSIM_FAMILY
from limnd2_xr.frames.pyramid import LEVEL_FAMILY
from limnd2_xr.model.events import EVENT_CHUNKS
from limnd2_xr.model.layers import RASTER_LAYERS, RLE_LAYERS
from limnd2_xr.model.rois import ROI_CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from limnd2_xr.arrays.label_layers import Labels
    from limnd2_xr.arrays.origin import Origin
    from limnd2_xr.arrays.regions_of_interest import ImageRoi
    from limnd2_xr.frames.layout import PixelLayout
    from limnd2_xr.model.axes import Axes
    from limnd2_xr.model.events import Event
    from limnd2_xr.model.roi_making import RoiWindow
    from limnd2_xr.model.rois import Roi

__all__ = [
    "Beside",
    "Columns",
    "Events",
    "Kind",
    "Overlay",
    "Rois",
    "beside_chunks",
    "kind_of",
]

Rois: TypeAlias = "Sequence[Roi | ImageRoi] | xr.Dataset"
"""ROIs, or a table of them such as the group ``rois``."""
Events: TypeAlias = "Sequence[Event] | xr.Dataset"
"""Events, or a table of them such as the group ``events``."""
Columns: TypeAlias = "Mapping[str, xr.DataArray | ArrayLike]"
"""Recorded columns by ID."""
Kind: TypeAlias = Literal["labels", "rois", "events", "levels", "deepsim"]

_BEGINNINGS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "labels": (
        RLE_LAYERS,
        RASTER_LAYERS,
        "CustomDataSeq|TiledRasterBinaryData_",
        "CustomDataSeq|DownsampledTiledRasterBinaryData_",
    ),
    "rois": (ROI_CHUNK, "CustomData|RoiRleGlobal_v1!"),
    "events": EVENT_CHUNKS,
    "levels": (LEVEL_FAMILY,),
    "deepsim": (DEEPSIM_FAMILY,),
}
"""What the names of the chunks of each kind begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is written with an array; None leaves what its file has."""

    labels: Labels | None = None
    """Label images: added to the binary layers of the file, or in the place of those of
    the same name."""
    rois: Rois | None = None
    """All ROIs that the file shall have."""
    events: Events | None = None
    """All events that it shall have."""
    columns: Columns | None = None
    """Recorded columns by ID, beside those that it has."""
    levels: Mapping[int, xr.DataArray] | None = None
    """Smaller copies by level."""
    deepsim: bool = False
    """Whether a tree has the raw images of its file still."""
    exact: bool = False
    """Nothing of these kinds but what is given: what of its file a tree has no group of
    is dropped, and `labels` and `columns` are all that there are."""

    def check_aligned(self, image: xr.DataArray) -> None:
        """Refuse label images and columns of other frames, rows or columns.

        In a tree the groups have the labels of the image.
        """
        if self.exact:
            return
        if self.labels is not None:
            check_aligned(image, named_labels(self.labels), "labels")
        if self.columns is not None:
            check_aligned(image, dict(self.columns.items()), "recorded columns")

    def decides(self, kind: Kind) -> bool:
        """Whether something else is written than the file has of a kind."""
        if kind == "deepsim":
            return self.exact and not self.deepsim
        return self.exact or getattr(self, kind) is not None

    @property
    def is_empty(self) -> bool:
        """Whether everything beside the pixels is left to the file."""
        return all(getattr(self, f.name) is f.default for f in fields(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Chunks that are written instead of those of the file that an array came from."""

    made: tuple[Mapping[str, bytes | None], ...]
    """Payloads by name, made when they are asked for; None for a chunk not needed."""
    replaces: Callable[[str], bool]
    """Whether a chunk of the file is not carried along, by its name."""


def kind_of(name: str, mask_tags: frozenset[str] = frozenset()) -> Kind | None:
    """Return the kind of content that a chunk is of, None for all others.

    Parameters
    ----------
    name
        Of the chunk.
    mask_tags
        What the file's names of masks contain, from the description of its layers.

    Examples
    --------
    >>> kind_of("CustomData|RoiMetadata_v1!"), kind_of("ImageTextInfoLV!")
    ('rois', None)
    """
    for kind, beginnings in _BEGINNINGS.items():
        if name.startswith(beginnings):
            return kind
    family, _, rest = name.removeprefix("CustomDataSeq|").partition("|")
    return "labels" if rest and family in mask_tags else None


def beside_chunks(
    beside: Beside,
    origin: Origin | None,
    *,
    axes: Axes,
    layout: PixelLayout,
    frames: NDArray[np.int64] | None,
) -> Overlay:
    """Make the chunks of all that is written beside the pixels but recorded columns.

    Parameters
    ----------
    beside
        What to write.
    origin
        File behind the array.
    axes, layout
        Loops and frames of the file to be written.
    frames
        Number in the origin of each frame that is written; None where it has not these.

    Raises
    ------
    ValueError
        If something does not fit the image.
    """
    stored = _Chunks(origin)
    shape = (layout.height, layout.width)
    if frames is None:
        frames = np.full(axes.n_frames, -1)  # no chunk has such a number
    masks = StoredMasks(
        read=stored.read,
        has=stored.has,
        frames=frames,
        stays=origin is not None and origin.is_whole,
    )
    made: list[Mapping[str, bytes | None]] = []
    if beside.labels is not None:
        found = label_payloads(beside.labels, axes, shape, masks, exact=beside.exact)
        made.append(found)
    if beside.rois is not None:
        made.append(_rois(beside, origin, shape, stored))
    if beside.events is not None:
        from limnd2_xr.arrays.event_writing import event_payloads

        known = {name: stored.read(name) for name in EVENT_CHUNKS}
        had = {name: data for name, data in known.items() if data is not None}
        made.append(event_payloads(beside.events, had))
    if beside.levels is not None:
        from limnd2_xr.arrays.level_writing import level_payloads

        made.append(level_payloads(beside.levels, axes, layout, masks))
    tags = _mask_tags(masks) if beside.decides("labels") else frozenset()

    def replaces(name: str) -> bool:
        kind = kind_of(name, tags)
        if kind == "labels" and not beside.exact:
            return False
        return kind is not None and beside.decides(kind)

    return Overlay(made=tuple(made), replaces=replaces)


def _rois(
    beside: Beside, origin: Origin | None, shape: tuple[int, int], stored: _Chunks
) -> Mapping[str, bytes | None]:
    """Chunks of ROIs; those of a tree lie on the image that it was opened with."""
    from limnd2_xr.arrays.regions_of_interest import ROI_RASTER
    from limnd2_xr.arrays.roi_table import rois_from_dataset
    from limnd2_xr.arrays.roi_writing import roi_payloads

    rois, window = beside.rois or (), None
    if beside.exact and isinstance(rois, xr.Dataset):
        rois = rois_from_dataset(rois)
        if origin is not None:
            rois, window = _at_positions(rois, origin), _window(origin, shape)
    had = stored.read(ROI_CHUNK), stored.read(ROI_RASTER)
    return roi_payloads(rois, shape, *had, window=window)


def _at_positions(rois: Sequence[Roi], origin: Origin) -> list[Roi]:
    """ROIs of the positions that an array has, by their numbers in it."""
    picked = origin.known.picked.get("P")
    if picked is None or origin.known.is_whole("P", origin.state.axes.size("P")):
        return list(rois)
    places = {old: new for new, old in enumerate(picked.tolist())}
    return [
        roi if roi.position is None else replace(roi, position=places[roi.position])
        for roi in rois
        if roi.position is None or roi.position in places
    ]


def _window(origin: Origin, shape: tuple[int, int]) -> RoiWindow | None:
    """Which part of its file's image an array has, None for all of it."""
    from limnd2_xr.model.roi_making import RoiWindow

    if origin.has_all_pixels:
        return None
    if not all(origin.known.is_dense(dim) for dim in "YX"):
        raise ValueError(
            "ROIs cannot follow a selection along Y or X that is no window: drop the "
            'group with tree.drop_nodes("rois"), or select a window'
        )
    layout = origin.state.table.layout
    top, left = (int(origin.known.picked[dim][0]) for dim in "YX")
    return RoiWindow(
        left=left,
        top=top,
        width=shape[1],
        height=shape[0],
        old_size=(layout.width, layout.height),
    )


@dataclass(frozen=True, slots=True)
class _Chunks:
    """Chunks of the file behind an array, if there is one."""

    origin: Origin | None

    def has(self, name: str) -> bool:
        return self.origin is not None and name in self.origin.index

    def read(self, name: str) -> bytes | None:
        if self.origin is None or not self.has(name):
            return None
        return next((data for _, data in self.origin.payloads([name])), None)


def _mask_tags(stored: StoredMasks) -> frozenset[str]:
    from limnd2_xr.errors import CorruptChunk

    try:
        return frozenset(x.file_tag for x in stored.layers() if x.file_tag)
    except CorruptChunk:
        return frozenset()
