"""Words for the codes of events (FORMAT 9.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EVENT_LABELS", "EVENT_MEANINGS", "STIMULATION_TYPES"]

EVENT_MEANINGS: Final = (
    "unspecified",
    "autofocus",
    *(f"user interaction {i}, old" for i in range(1, 5)),
    "JOBS",
    "command",
    "macro",
    "pause",
    "resume",
    "cancelled",
    "RAM grab zero time",
    "next phase",
    "refocus",
    "stimulation",
    "external stimulation",
    "experiment start",
    "experiment end",
    "phase start",
    "phase end",
    "before XY move",
    "after XY move",
    "before Z series",
    "after Z series",
    "before lambda loop",
    "after lambda loop",
    "before large image",
    "after large image",
    "before stimulation",
    "after stimulation",
    "user events",
    "stream data",
    *(f"user interaction {i}" for i in range(1, 9)),
    "before capture",
    "after capture",
    "TTL data",
    "no acquisition start",
    "no acquisition end",
    "hardware error",
    "STORM",
    "incubation info",
    "incubation error",
    "interactive end",
    "experiment pause",
    "WID replenishment start",
    "WID replenishment end",
    "N-STORM",
)
"""What the code of an event means, in words."""

EVENT_LABELS: Final[Mapping[int, str]] = {
    0: "Unknown",
    1: "Autofocus",
    **{i: f"User {i - 1} old" for i in range(2, 6)},
    6: "JOBs Event",
    7: "Command Executed",
    8: "Macro Event",
    9: "Experiment Paused",
    10: "Experiment Resumed",
    11: "Experiment Stopped by User",
    12: "Acquisition zero time",
    13: "Next Phase Moved by User",
    14: "Experiment Paused for Refocusing",
    15: "Stimulation",
    16: "External Stimulation",
    **{i: f"User {i - 32}" for i in range(33, 41)},
    41: "Before Capture",
    42: "After Capture",
    44: "No Acquisition Phase Start",
    45: "No Acquisition Phase End",
    46: "Hardware Error",
    47: "N-STORM",
    48: "Incubation Info",
    49: "Incubation Error",
    50: "Interactive Finish",
    51: "Pause Experiment",
    52: "WID Replenishment Start",
    53: "WID Replenishment End",
    54: "N-STORM",
}
"""What the program shows for an event that nobody described; other codes have none."""

STIMULATION_TYPES: Final = (
    "NoStimulation",
    "Sequential",
    "Parallel",
    "Manual",
    "Begin",
    "End",
)
"""What the code of a stimulation means, as the program shows it."""
