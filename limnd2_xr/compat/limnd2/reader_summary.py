"""What a reader says of its file: attributes, metadata, sizes, ranges, times."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.arrays.tables import columns_of
from limnd2_xr.compat.limnd2.attributes import (
    ImageAttributes,
    ImageAttributesPixelType,
)
from limnd2_xr.compat.limnd2.custom_data import CustomDescription, RecordedData
from limnd2_xr.compat.limnd2.delayed import frame_numbers
from limnd2_xr.compat.limnd2.experiment import (
    canonical_calibration,
    find_zstack,
)
from limnd2_xr.compat.limnd2.stored_trees import stored_tree
from limnd2_xr.compat.limnd2.textinfo import AppInfo
from limnd2_xr.compat.limnd2.wellplates import WellplateDesc, WellplateFrameInfo
from limnd2_xr.model import raw as chunks
from limnd2_xr.model.component_ranges import (
    component_ranges_chunk,
    decode_component_ranges,
)
from limnd2_xr.model.custom_description import (
    DESCRIPTION_CHUNK,
    parse_custom_description,
)
from limnd2_xr.model.frame_wells import FRAME_WELLS
from limnd2_xr.model.plates import PLATE_CHUNK
from limnd2_xr.model.records import decode_times
from limnd2_xr.variants.decode import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limnd2_xr.compat.limnd2.chunker import FileChunker
    from limnd2_xr.compat.limnd2.experiment import ExperimentLevel
    from limnd2_xr.compat.limnd2.experiment_loops import ExperimentZStackLoop
    from limnd2_xr.compat.limnd2.metadata import PictureMetadata
    from limnd2_xr.compat.limnd2.stores import Store
    from limnd2_xr.compat.limnd2.textinfo import ImageTextInfo

__all__ = ["ReaderSummary"]

_UNKNOWN_MS = -1.0
_FORM = "onepush"
_FORM_FIELDS = ("assay", "date", "name", "plate", "user", "notes")


class ReaderSummary:
    """Metadata of an open file.

    Parameters
    ----------
    chunker
        Reads its chunks.
    """

    def __init__(self, chunker: FileChunker) -> None:
        self._chunker = chunker

    @property
    def chunker(self) -> FileChunker:
        """What reads the chunks."""
        return self._chunker

    @property
    def store(self) -> Store:
        """Where the bytes are."""
        return self._chunker.store

    @property
    def version(self) -> tuple[int, int]:
        """Version of the format: (1, 0), (2, 0), (2, 1) or (3, 0)."""
        return self._chunker.format_version

    @property
    def imageAttributes(self) -> ImageAttributes:
        """Size, type and number of the frames."""
        return self._chunker.imageAttributes

    @property
    def pictureMetadata(self) -> PictureMetadata:
        """Channels, calibration and settings; planes are made up if there are none."""
        return self._chunker.pictureMetadata

    @property
    def experiment(self) -> ExperimentLevel | None:
        """The outermost loop; None if the file has no loops."""
        return self._chunker.experiment

    @property
    def imageTextInfo(self) -> ImageTextInfo | None:
        """Texts; None if the file has none."""
        return self._chunker.imageTextInfo

    @cached_property
    def is3d(self) -> bool:
        """Whether there is more than one slice."""
        return self.imageDataShape[2] > 1

    @property
    def isMono(self) -> bool:
        """Whether a pixel is one number."""
        return self.imageAttributes.componentCount == 1

    @property
    def isRgb(self) -> bool:
        """Whether the picture is one plane of three components."""
        return self.pictureMetadata.isRgb

    @property
    def is8bitRgb(self) -> bool:
        """Whether it is RGB of 8 bits a component."""
        return self.isRgb and self.imageAttributes.uiBpcInMemory == 8

    @property
    def isFloat(self) -> bool:
        """Whether pixels are floats."""
        return self.imageAttributes.ePixelType == ImageAttributesPixelType.pxtReal

    @cached_property
    def appInfo(self) -> AppInfo:
        """The program that wrote the file."""
        tree = stored_tree(self._chunker.frames, chunks.APP_INFO)
        return AppInfo() if tree is None else AppInfo.from_var(tree)

    @property
    def software(self) -> str:
        """Name and version of that program; ``""`` if they are not known."""
        return self.appInfo.software

    @cached_property
    def wellplateDesc(self) -> WellplateDesc | None:
        """The well plate; None if the file has none."""
        return self._chunker.decoded(PLATE_CHUNK, WellplateDesc.from_lv)

    @cached_property
    def wellplateFrameInfo(self) -> WellplateFrameInfo | None:
        """The well of each frame; None if the file does not say."""
        return self._chunker.decoded(FRAME_WELLS, WellplateFrameInfo.from_json)

    @cached_property
    def acqTimes(self) -> NDArray[np.float64]:
        """Milliseconds since the start of each frame; NaN where none was recorded."""
        found = np.full(self._chunker.frame_count, np.nan)
        times = self._chunker.state.records.times_ms
        if times is None:
            times = self._chunker.frames.read_times()
        known = np.asarray(times, np.float64)[: len(found)]
        found[: len(known)] = np.where(known == _UNKNOWN_MS, np.nan, known)
        return found

    @cached_property
    def acqTimes2(self) -> NDArray[np.float64] | None:
        """Milliseconds of a second clock; None if the file has none."""
        return self._chunker.decoded(chunks.SECOND_CLOCK, decode_times)

    @cached_property
    def acqFrames(self) -> NDArray[np.uint32] | None:
        """Stored number of each frame; None if the file has none."""
        payload = self._chunker.chunk(chunks.FRAMES_CACHE)
        if payload is None:
            return None
        return np.frombuffer(payload[: len(payload) // 4 * 4], "<u4").astype(np.uint32)

    @cached_property
    def compFrameRange(self) -> NDArray[np.float64]:
        """Smallest and largest value of each component in each frame.

        Of shape (components, 2, frames): those that are stored, else what the type
        allows.
        """
        attributes, frames = self.imageAttributes, self._chunker.frame_count
        found = np.empty((attributes.componentCount, 2, frames))
        for component in range(attributes.componentCount):
            ranges = self._chunker.decoded(
                component_ranges_chunk(component),
                lambda payload: decode_component_ranges(payload, frames),
            )
            if ranges is not None:
                found[component] = ranges
            else:
                found[component, 0] = 0
                found[component, 1] = 2.0**attributes.uiBpcInMemory - 1
        return found

    @cached_property
    def compRange(self) -> NDArray[np.float64]:
        """Smallest and largest value of each component, of shape (components, 2)."""
        ranges = self.compFrameRange
        if not ranges.shape[2]:
            return np.full(ranges.shape[:2], np.nan)
        low, high = np.fmin.reduce(ranges[:, 0], 1), np.fmax.reduce(ranges[:, 1], 1)
        return np.stack([low, high], axis=1)

    @cached_property
    def imageDataRange(self) -> tuple[float, float]:
        """Range of the values: of floats that of `compRange`, else of the used bits."""
        if self.isFloat:
            ranges = self.compRange
            return float(np.nanmin(ranges[:, 0])), float(np.nanmax(ranges[:, 1]))
        return 0, 2**self.imageAttributes.uiBpcSignificant - 1

    @cached_property
    def recordedData(self) -> RecordedData:
        """Columns that were recorded, with number and time of each frame before them."""
        frames = self._chunker.frames
        return RecordedData.of(
            frames.document.recorded_columns, columns_of(frames), self.acqTimes
        )

    @property
    def experimentZStackLoop(self) -> ExperimentZStackLoop | None:
        """Parameters of the Z loop; None without one."""
        return find_zstack(self.experiment)

    @cached_property
    def imageDataShape(self) -> tuple[int, int, int, int, int, int]:
        """Times, positions, slices, rows, columns and components."""
        t, m, z = frame_numbers(self._chunker.state).shape
        return (t, m, z, *self.imageAttributes.shape)

    @cached_property
    def imageDataCalibration(self) -> tuple[float, float, float, float, float, float]:
        """Interval in ms, 0, step in µm, height and width of a pixel in µm, 0.

        0 where it is not known. An interval that neither was set nor is summed up is
        the mean of the recorded times.
        """
        t, m, z = canonical_calibration(self.experiment)
        if not t and self.imageDataShape[0] > 1:
            t = self._mean_interval()
        picture = self.pictureMetadata
        xy = picture.dCalibration if picture.bCalibrated else 0.0
        xy = max(xy, 0.0)
        return t, m, z, xy, xy, 0

    def _mean_interval(self) -> float:
        """Return the mean interval of what was recorded, ms; 0 if nothing was."""
        first = frame_numbers(self._chunker.state)[:, 0, 0]
        times = self.acqTimes[first[first < len(self.acqTimes)]]
        mean = (times[-1] - times[0]) / max(len(times) - 1, 1)
        return float(mean) if np.isfinite(mean) else 0.0

    @cached_property
    def customDescription(self) -> CustomDescription | None:
        """The form of a laboratory; None if the file has none."""
        return self._chunker.decoded(
            DESCRIPTION_CHUNK,
            lambda payload: CustomDescription.of(
                parse_custom_description(decode(payload))
            ),
        )

    @cached_property
    def smartExperimentDescription(self) -> dict[str, Any] | None:
        """Answers of a form called "onepush"; None if there is none."""
        form = self.customDescription
        if form is None or form.name.lower() != _FORM:
            return None
        answers = {item.name.lower(): item.valueAsText for item in form}
        return {name: answers.get(name, "") for name in _FORM_FIELDS}
