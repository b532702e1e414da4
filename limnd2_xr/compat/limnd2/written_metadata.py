"""The metadata chunks of a file to be written: checked, and with what follows from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from limnd2_xr.model import raw as chunks
from limnd2_xr.model.column_tree import encode_times
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.raw import RawMetadata
from limnd2_xr.model.records import FrameRecords
from limnd2_xr.model.to_raw import following_trees
from limnd2_xr.variants.encode import encode
from limnd2_xr.variants.tree import Level, LvType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from limnd2_xr.compat.limnd2.attributes import ImageAttributes
    from limnd2_xr.compat.limnd2.experiment import ExperimentLevel
    from limnd2_xr.compat.limnd2.metadata import PictureMetadata
    from limnd2_xr.compat.limnd2.stored_struct import StoredStruct
    from limnd2_xr.compat.limnd2.textinfo import ImageTextInfo

__all__ = ["WrittenMetadata"]


@dataclass(frozen=True, kw_only=True)
class WrittenMetadata:
    """What a file shall say of its frames, once it is complete."""

    attributes: ImageAttributes
    """With the number of frames."""
    experiment: ExperimentLevel | None
    picture: PictureMetadata
    times_ms: NDArray[np.float64]
    """Time of each frame, NaN where not known."""
    text: ImageTextInfo | None = None
    """What the file says already; its counts follow loops and planes."""

    def check(self) -> None:
        """Refuse metadata that contradict each other.

        Raises
        ------
        ValueError
            Of numbers of frames, of steps of the loops, of components.
        """
        frames = self.attributes.uiSequenceCount
        if self.experiment is not None:
            counts = [loop.count for loop in self.document.experiment.loops]
            if math.prod(counts) != frames:
                steps = " x ".join(map(str, counts)) or "no"
                raise ValueError(
                    f"the loops of the experiment have {steps} steps, but there are "
                    f"{frames} frames"
                )
        planes = self.picture.channels
        components = sum(plane.uiCompCount for plane in planes)
        if components != self.attributes.uiComp:
            raise ValueError(
                f"the {len(planes)} planes of pictureMetadata have {components} "
                f"components, but the frames have {self.attributes.uiComp}"
            )

    @property
    def document(self) -> Nd2Document:
        """What they say."""
        return Nd2Document.from_raw(self._raw())[0]

    def payloads(self) -> dict[str, bytes]:
        """Return the chunks, with those that repeat what these say (FORMAT 13.2)."""
        frames = self.attributes.uiSequenceCount
        records = FrameRecords(times_ms=self.times_ms)
        return {
            **{
                name: encode(tree)
                for name, tree in {
                    **following_trees(self.document, records),
                    **self._trees(),
                }.items()
            },
            chunks.FRAME_TIMES: encode_times(self.times_ms, frames),
            chunks.SECOND_CLOCK: bytes(8 * frames),
            chunks.FRAMES_CACHE: bytes(4 * frames),
        }

    def _raw(self) -> RawMetadata:
        levels = self._trees()
        if self.text is not None:
            levels[chunks.TEXT_INFO[0]] = _root(self.text)
        return RawMetadata(version=(3, 0), levels=levels)

    def _trees(self) -> dict[str, Level]:
        found: dict[tuple[str, ...], StoredStruct | None] = {
            chunks.ATTRIBUTES: self.attributes,
            chunks.EXPERIMENT: self.experiment,
            chunks.PICTURE: with_counts(self.picture),
        }
        return {names[0]: _root(one) for names, one in found.items() if one is not None}


def with_counts(picture: PictureMetadata) -> PictureMetadata:
    """Return picture metadata whose counts of planes are those of its lists."""
    planes = picture.sPicturePlanes
    if planes is None:
        return picture
    counted = replace(
        planes,
        uiCount=len(planes.sPlaneNew),
        uiCompCount=sum(plane.uiCompCount for plane in planes.sPlaneNew),
        uiSampleCount=len(planes.sSampleSetting),
    )
    return replace(picture, sPicturePlanes=counted)


def _root(one: StoredStruct) -> Level:
    root = Level()
    root.add(one.wrapper, LvType.LEVEL, one.to_tree())
    return root
