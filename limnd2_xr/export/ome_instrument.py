"""The instrument of an OME document: microscope, objectives, detectors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limnd2_xr.export.xml_text import xml_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ome_types import OME
    from ome_types import model as m

    from limnd2_xr.model.channels import Channel
    from limnd2_xr.model.optics import LightPath

__all__ = ["OmeInstrument", "immersion_of"]

_SERIAL: Final = re.compile(r"[,;]?\s*S/?N[:\s]\s*(\S+)\s*$", re.IGNORECASE)
_IMMERSION: Final = (
    (0.99, 1.01, "Air"),
    (1.32, 1.35, "Water"),
    (1.44, 1.48, "Glycerol"),
    (1.50, 1.53, "Oil"),
)
_CORRECTION: Final = (
    ("planapo", "PlanApo"),
    ("plapo", "PlanApo"),
    ("planfluor", "PlanFluor"),
    ("planfluar", "PlanFluor"),
    ("sfluor", "SuperFluor"),
    ("superfluor", "SuperFluor"),
    ("apo", "Apo"),
    ("fluor", "Fluor"),
    ("achro", "Achromat"),
)
"""Corrections by what is in the name of an objective, without blanks and in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OmeInstrument:
    """One instrument, and which part of it each channel was taken with."""

    instrument: m.Instrument
    objective: m.ObjectiveSettings | None
    """Of the first channel, which is that of the images: OME has one an image."""
    detectors: tuple[str, ...]
    """ID of the detector of each channel, empty if it is not known."""

    @classmethod
    def of(cls, channels: Sequence[Channel]) -> OmeInstrument:
        """Describe what channels were taken with.

        Parameters
        ----------
        channels
            Of the image; several light paths make several objectives and detectors.
        """
        from ome_types import model as m

        paths = [channel.light_path for channel in channels]
        lenses = list(dict.fromkeys(map(_lens, paths)))
        known = [lens for lens in lenses if any(value for value in lens[:3])]
        cameras = list(dict.fromkeys(p.camera for p in paths if p.camera))
        microscope = next((path.microscope for path in paths if path.microscope), "")
        instrument = m.Instrument(
            id="Instrument:0",
            microscope=m.Microscope(
                manufacturer="Nikon", model=xml_text(microscope) or None
            )
            if microscope
            else None,
            objectives=[
                _objective(f"Objective:{i}", lens) for i, lens in enumerate(known)
            ],
            detectors=[
                _detector(
                    f"Detector:{i}",
                    camera,
                    [c for c in channels if c.light_path.camera == camera],
                )
                for i, camera in enumerate(cameras)
            ],
        )
        first = _lens(paths[0])
        settings = None
        if first in known:
            index = first[3]
            settings = m.ObjectiveSettings(
                id=f"Objective:{known.index(first)}",
                refractive_index=index,
                medium=immersion_of(index),
            )
        return cls(
            instrument=instrument,
            objective=settings,
            detectors=tuple(
                f"Detector:{cameras.index(path.camera)}" if path.camera else ""
                for path in paths
            ),
        )

    def add_to(self, ome: OME) -> None:
        """Add the instrument to a document."""
        ome.instruments.append(self.instrument)


def immersion_of(refractive_index: float | None) -> Any:
    """Return the medium of OME that has a refractive index; None if it is none of them.

    Examples
    --------
    >>> immersion_of(1.515), immersion_of(1.2)
    ('Oil', None)
    """
    if refractive_index is None:
        return None
    for low, high, name in _IMMERSION:
        if low <= refractive_index <= high:
            return name
    return None


def _lens(path: LightPath) -> tuple[str, float | None, float | None, float | None]:
    return (
        path.objective,
        path.magnification,
        path.numerical_aperture,
        path.refractive_index,
    )


def _objective(
    id_: str, lens: tuple[str, float | None, float | None, float | None]
) -> m.Objective:
    from ome_types import model as m

    name, magnification, aperture, index = lens
    squeezed = re.sub(r"[\s_-]", "", name).lower()
    correction: Any = next(
        (found for part, found in _CORRECTION if part in squeezed), None
    )
    return m.Objective(
        id=id_,
        model=xml_text(name) or None,
        nominal_magnification=magnification,
        lens_na=aperture,
        immersion=immersion_of(index),
        correction=correction,
    )


def _detector(id_: str, camera: str, channels: Sequence[Channel]) -> m.Detector:
    from ome_types import model as m

    serial = _SERIAL.search(camera)
    flags = {flag for channel in channels for flag in channel.modality_flags}
    kind: Any = "PMT" if flags & {"pmt", "gaasp", "pmtGaAs", "pmtIRGaAsP"} else None
    return m.Detector(
        id=id_,
        model=xml_text(camera[: serial.start()] if serial else camera) or None,
        serial_number=xml_text(serial[1]) if serial else None,
        type=kind,
    )
