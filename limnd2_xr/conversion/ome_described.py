"""OME metadata in terms of our dataset: coordinates and attributes of each image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from limnd2_xr.arrays.attrs import METADATA_ATTR
from limnd2_xr.arrays.units import in_unit, moment_of
from limnd2_xr.conversion.ome_xml import Element, parse_ome
from limnd2_xr.conversion.source_image import check_size
from limnd2_xr.errors import Nd2Error
from limnd2_xr.model.channels import channel_names, unique_names
from limnd2_xr.model.document import Nd2Document
from limnd2_xr.model.experiment import ZStackLoop
from limnd2_xr.model.modality import flags_of_description

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from limnd2_xr.arrays.units import Unit

__all__ = [
    "OmeDescription",
    "OmeImage",
    "axis",
    "document_coords",
    "ome_images",
    "z_axis",
]

_MODES: Final = {
    "LaserScanningConfocalMicroscopy": "laser scanning confocal",
    "SpinningDiskConfocal": "spinning disk",
    "SlitScanConfocal": "swept field slit",
    "MultiPhotonMicroscopy": "multiphoton",
    "StructuredIllumination": "SIM",
    "TotalInternalReflection": "TIRF",
    "SPIM": "light sheet",
    "STED": "STED",
    "STORM": "STORM",
}
_CONTRASTS: Final = {
    "Brightfield": "brightfield",
    "Phase": "phase contrast",
    "DIC": "DIC",
    "Darkfield": "darkfield",
    "Fluorescence": "fluorescence",
}
_LIGHTS: Final = {"Transmitted": "brightfield", "Epifluorescence": "fluorescence"}
_DOCUMENT: Final = "limnd2-xr/document"
"""Namespace of the annotation in which our exports keep the document of the file."""
_PLANE: Final[dict[str, tuple[str, Unit, str]]] = {
    # coordinate: attribute, unit of the dataset, unit of OME where none is stated
    "time": ("DeltaT", "s", "s"),
    "stage_x": ("PositionX", "um", "reference frame"),
    "stage_y": ("PositionY", "um", "reference frame"),
    "stage_z": ("PositionZ", "um", "reference frame"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OmeDescription:
    """What OME metadata say of an image, as our dataset has it."""

    coords: dict[str, xr.Variable]
    attrs: dict[str, Any]
    notes: tuple[str, ...]
    """What an .nd2 file has no place for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OmeImage:
    """One image of OME metadata."""

    ome: Element
    image: Element
    well: tuple[int, int] | None = None
    """Row and column of its well, counted from 0; None without a plate."""
    _notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the place where it was taken, else of the image."""
        return self.image.first("StageLabel").get("Name") or self.image.get("Name")

    def check_size(self, path: str) -> None:
        """Refuse sizes that nobody means, of the file `path`.

        Raises
        ------
        Nd2Error
            If it is larger than any image.
        """
        pixels = self.image.first("Pixels")
        sizes = {dim: max(1, _index(pixels.get(f"Size{dim}"))) for dim in "TZCYX"}
        check_size(tuple(sizes), tuple(sizes.values()), np.dtype("u1"), path)

    def describe(self, sizes: Mapping[str, int]) -> OmeDescription:
        """Return coordinates and attributes.

        Parameters
        ----------
        sizes
            Of the pixels, by dim: only what fits them is told.
        """
        self._notes.clear()
        pixels = self.image.first("Pixels")
        coords: dict[str, xr.Variable] = {}
        for dim in ("Y", "X"):
            size = self._length(pixels, f"PhysicalSize{dim}", "um", "um")
            if size and dim in sizes:
                coords[dim] = axis(dim, np.arange(sizes[dim]) * size, "um")
        step = self._length(pixels, "TimeIncrement", "s", "s")
        if step and "T" in sizes:
            coords["T"] = axis("T", np.arange(sizes["T"]) * step, "s")
        coords |= self._planes(pixels, sizes)
        step = self._length(pixels, "PhysicalSizeZ", "um", "um")
        if step and "Z" in sizes:
            falls = _falls(coords.get("stage_z"))
            coords["Z"] = z_axis(sizes["Z"], -step if falls else step)
        coords |= self._channels(pixels, sizes.get("C", 1))
        attrs = self._attributes(pixels)
        document = self._document()
        if document is not None:
            attrs[METADATA_ATTR] = document.to_json()
            told = document.text.description
            if told.split() == attrs.get("description", "").split():
                # XML has one kind of line break only.
                attrs["description"] = told
            coords |= document_coords(document, coords)
        rois = len(list(self.image.all("ROIRef")))
        if rois:
            self._notes.append(f"{rois} ROIs of the OME metadata")
        return OmeDescription(coords=coords, attrs=attrs, notes=tuple(self._notes))

    def _length(
        self, element: Element, name: str, unit: Unit, usual: str
    ) -> float | None:
        """Return a number above 0 in a unit of the dataset; None if there is none."""
        value = _number(element.get(name))
        if not value > 0:
            return None
        return self._converted(value, element.get(f"{name}Unit") or usual, unit, name)

    def _converted(
        self, value: float, stated: str, unit: Unit, name: str
    ) -> float | None:
        try:
            found = in_unit(xr.DataArray(value, attrs={"units": stated}), unit)
        except ValueError:
            note = f"{name} (in {stated!r}, which is no unit that can be converted)"
            if note not in self._notes:
                self._notes.append(note)
            return None
        return float(found)

    def _planes(
        self, pixels: Element, sizes: Mapping[str, int]
    ) -> dict[str, xr.Variable]:
        """Return times, stage positions and exposures that planes state."""
        shape = tuple(sizes.get(dim, 1) for dim in "TZC")
        names = {name: attribute for name, (attribute, _, _) in _PLANE.items()}
        names["exposure_time"] = "ExposureTime"
        values = {name: np.full(shape, np.nan) for name in names}
        units: dict[str, str] = {}
        for plane in pixels.all("Plane"):
            at = tuple(_index(plane.get(f"The{dim}")) for dim in "TZC")
            if not all(0 <= i < n for i, n in zip(at, shape, strict=True)):
                continue
            for name, attribute in names.items():
                if attribute in plane.attributes:
                    values[name][at] = _number(plane.get(attribute))
                    units.setdefault(name, plane.get(f"{attribute}Unit"))
        coords = {}
        for name, (attribute, unit, usual) in _PLANE.items():
            stated = units.get(name) or usual
            if name not in units or np.isnan(values[name]).all():
                continue
            factor = self._converted(1.0, stated, unit, f"{attribute} of planes")
            if factor is not None:
                coords[name] = self._per_frame(name, values[name] * factor, sizes, unit)
        exposures = self._exposures(values["exposure_time"], units.get("exposure_time"))
        if exposures is not None:
            coords["exposure_time"] = xr.Variable("C", exposures, {"units": "s"})
        return coords

    def _per_frame(
        self,
        name: str,
        values: NDArray[np.float64],
        sizes: Mapping[str, int],
        unit: str,
    ) -> xr.Variable:
        """Return one value a frame: that of the first channel which has one."""
        known = ~np.isnan(values)
        first = np.take_along_axis(values, known.argmax(-1)[..., None], -1)
        if np.nanmax(np.abs(values - first), initial=0.0) > 0:
            self._notes.append(
                f"{name} of channels other than the first, which differs"
            )
        dims = [dim for dim in "TZ" if dim in sizes]
        shape = [sizes[dim] for dim in dims]
        return xr.Variable(dims, first.reshape(shape), {"units": unit})

    def _exposures(
        self, values: NDArray[np.float64], stated: str | None
    ) -> NDArray[np.float64] | None:
        flat = values.reshape(-1, values.shape[-1])
        if np.isnan(flat).all():
            return None
        factor = self._converted(1.0, stated or "s", "s", "ExposureTime")
        known = ~np.isnan(flat)
        first = np.take_along_axis(flat, known.argmax(0)[None], 0)[0]
        if np.nanmax(np.abs(flat - first), initial=0.0) > 0:
            self._notes.append("exposure times of frames that differ from the first")
        return None if factor is None else first * factor

    def _channels(self, pixels: Element, count: int) -> dict[str, xr.Variable]:
        channels = list(pixels.all("Channel"))
        if len(channels) != count:
            return {}
        coords: dict[str, xr.Variable] = {}
        names = [channel.get("Name") for channel in channels]
        if any(names):
            filled = [name or f"Channel_{i}" for i, name in enumerate(names)]
            coords["C"] = xr.Variable("C", unique_names(filled))
        for name, attribute, unit in (
            ("emission_wavelength", "EmissionWavelength", "nm"),
            ("excitation_wavelength", "ExcitationWavelength", "nm"),
            ("pinhole_diameter", "PinholeSize", "um"),
        ):
            usual = "nm" if unit == "nm" else "um"
            numbers = [self._length(c, attribute, unit, usual) for c in channels]  # type: ignore[arg-type]
            if any(numbers):
                values = [np.nan if number is None else number for number in numbers]
                coords[name] = xr.Variable("C", values, {"units": unit})
        detectors = [self._detector(channel) for channel in channels]
        for name, texts, missing in (
            ("color", [_color(c.get("Color")) for c in channels], "#ffffff"),
            ("modality", [_modality(c) for c in channels], "fluorescence"),
            (
                "binning",
                [
                    _binning(c.first("DetectorSettings").get("Binning"))
                    for c in channels
                ],
                "",
            ),
            ("camera", [_camera(detector) for detector in detectors], ""),
        ):
            if any(texts):
                coords[name] = xr.Variable("C", [text or missing for text in texts])
        return coords

    def _document(self) -> Nd2Document | None:
        """Return the document of the .nd2 file that was exported, None without one."""
        annotations = self.ome.first("StructuredAnnotations")
        for annotation in annotations.all("CommentAnnotation"):
            if annotation.get("Namespace") == _DOCUMENT:
                try:
                    return Nd2Document.from_json(annotation.first("Value").text)
                except Nd2Error as error:
                    self._notes.append(f"document of the .nd2 file ({error})")
        return None

    def _detector(self, channel: Element) -> Element:
        wanted = channel.first("DetectorSettings").get("ID")
        return _by_id(self._instrument(), "Detector", wanted)

    def _instrument(self) -> Element:
        wanted = self.image.first("InstrumentRef").get("ID")
        return _by_id(self.ome, "Instrument", wanted)

    def _attributes(self, pixels: Element) -> dict[str, Any]:
        settings = self.image.first("ObjectiveSettings")
        objective = _by_id(self._instrument(), "Objective", settings.get("ID"))
        author = _by_id(
            self.ome, "Experimenter", self.image.first("ExperimenterRef").get("ID")
        )
        magnification = objective.get("CalibratedMagnification") or objective.get(
            "NominalMagnification"
        )
        names = (author.get("FirstName"), author.get("LastName"))
        start = self.image.first("AcquisitionDate").text.strip()
        try:
            moment_of(start or "2000-01-01")
        except ValueError:
            self._notes.append(f"AcquisitionDate ({start!r:.40} is no moment)")
            start = ""
        found = {
            "objective": objective.get("Model"),
            "magnification": _positive(magnification),
            "numerical_aperture": _positive(objective.get("LensNA")),
            "refractive_index": _positive(settings.get("RefractiveIndex")),
            "microscope": self._instrument().first("Microscope").get("Model"),
            "acquisition_start": start,
            "description": self.image.first("Description").text.strip(),
            "author": " ".join(filter(None, names)) or author.get("UserName"),
            "significant_bits": int(_positive(pixels.get("SignificantBits")) or 0),
        }
        return {name: value for name, value in found.items() if value}


def ome_images(text: str) -> tuple[OmeImage, ...]:
    """Return the images of OME-XML, in its order.

    Raises
    ------
    Nd2Error
        If it is no OME-XML.
    """
    ome = parse_ome(text)
    wells: dict[str, tuple[int, int]] = {}
    for plate in ome.all("Plate"):
        for well in plate.all("Well"):
            place = _index(well.get("Row")), _index(well.get("Column"))
            for sample in well.all("WellSample"):
                wells[sample.first("ImageRef").get("ID")] = place
    return tuple(
        OmeImage(ome=ome, image=image, well=wells.get(image.get("ID")))
        for image in ome.all("Image")
    )


def axis(dim: str, values: Sequence[float] | NDArray[Any], unit: str) -> xr.Variable:
    """Return a coordinate along its own dim."""
    return xr.Variable(dim, np.asarray(values, np.float64), {"units": unit})


def z_axis(count: int, step_um: float) -> xr.Variable:
    """Heights of slices around the one in the middle, as a stack has its home there."""
    return axis("Z", (np.arange(count) - (count - 1) // 2) * step_um, "um")


def document_coords(
    document: Nd2Document, coords: Mapping[str, xr.Variable]
) -> dict[str, xr.Variable]:
    """Return coordinates that the document of an .nd2 file tells better than others.

    Parameters
    ----------
    document
        Of the file that was exported.
    coords
        As another format has them.
    """
    return _home_plane(document, coords) | _modalities(document, coords)


def _home_plane(
    document: Nd2Document, coords: Mapping[str, xr.Variable]
) -> dict[str, xr.Variable]:
    """Put 0 of a stack where it was, which OME does not tell."""
    loops = [loop for loop in document.experiment.loops if loop.dim == "Z"]
    z = coords.get("Z")
    if z is None or len(loops) != 1 or not isinstance(loops[0], ZStackLoop):
        return {}
    count, home = loops[0].count, loops[0].home_index
    if z.size != count or not 0 <= home < count or count < 2:
        return {}
    return {"Z": axis("Z", z.values - z.values[home], "um")}


def _modalities(
    document: Nd2Document, coords: Mapping[str, xr.Variable]
) -> dict[str, xr.Variable]:
    """Say more of the modality of channels than OME has words for."""
    if "modality" not in coords or "C" not in coords:
        return {}
    names = channel_names(document.channels)
    known = dict(zip(names, document.channels, strict=True))
    texts = []
    for name, text in zip(coords["C"].values, coords["modality"].values, strict=True):
        channel = known.get(str(name))
        if channel and set(flags_of_description(text)) <= set(channel.modality_flags):
            texts.append(channel.modality)
        else:
            texts.append(str(text))
    return {"modality": xr.Variable("C", texts)}


def _falls(stage_z: xr.Variable | None) -> bool:
    """Whether a stack was taken from the top down."""
    if stage_z is None or "Z" not in stage_z.dims or stage_z.sizes["Z"] < 2:
        return False
    heights = stage_z.isel(T=0) if "T" in stage_z.dims else stage_z
    return bool(heights.values[-1] < heights.values[0])


def _by_id(parent: Element, name: str, wanted: str) -> Element:
    """Return the child of an ID; the only one there is if nothing refers to one."""
    found = list(parent.all(name))
    if not wanted and len(found) == 1:
        return found[0]
    return next((e for e in found if e.get("ID") == wanted), Element(name, {}))


def _number(text: str) -> float:
    """Return a finite number, NaN for anything else."""
    try:
        found = float(text)
    except ValueError:
        return float("nan")
    return found if np.isfinite(found) else float("nan")


def _positive(text: str) -> float | None:
    value = _number(text)
    return value if value > 0 else None


def _index(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0 if not text else -1


def _color(text: str) -> str:
    """Return RGBA, a signed 32-bit number, as '#rrggbb'."""
    value = _number(text)
    if not np.isfinite(value) or abs(value) >= 2**32:
        return ""
    return f"#{(int(value) & 0xFFFF_FFFF) >> 8:06x}"


def _modality(channel: Element) -> str:
    contrast = _CONTRASTS.get(channel.get("ContrastMethod"))
    light = _LIGHTS.get(channel.get("IlluminationType"))
    mode = _MODES.get(channel.get("AcquisitionMode"))
    return ", ".join(
        filter(None, (contrast or light or (mode and "fluorescence"), mode))
    )


def _camera(detector: Element) -> str:
    """Return model and serial number, as NIS-Elements names cameras."""
    model, serial = detector.get("Model"), detector.get("SerialNumber")
    return f"{model}, SN:{serial}" if model and serial else model


def _binning(text: str) -> str:
    first, _, second = text.partition("x")
    return text if first.isdecimal() and first == second else ""
