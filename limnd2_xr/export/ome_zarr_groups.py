"""The groups of an exported hierarchy: images, their labels, and what holds them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from limnd2_xr.arrays.attrs import METADATA_ATTR
from limnd2_xr.export.export_journal import OWN_ATTRIBUTE, Found
from limnd2_xr.export.ngff_metadata import (
    image_group,
    label_group,
    labels_group,
    plate_group,
    series_groups,
    well_groups,
)
from limnd2_xr.export.zarr_arrays import group_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limnd2_xr.arrays.plate import PlateWells
    from limnd2_xr.export.ngff_channels import ChannelDisplay
    from limnd2_xr.export.ngff_metadata import NgffVersion

__all__ = ["Hierarchy", "ImageGroup", "LabelGroup", "own_attributes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelGroup:
    """A label image of an image."""

    name: str
    """Of its group in ``labels``."""
    number: int
    """In the journal."""
    multiscales: dict[str, Any]
    color: str
    """``#rrggbb``, or ``""``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGroup:
    """An image."""

    path: str
    number: int
    """In the journal."""
    multiscales: dict[str, Any]
    display: ChannelDisplay
    labels: tuple[LabelGroup, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """All groups of an export; picklable, and without pixels."""

    version: NgffVersion
    images: tuple[ImageGroup, ...]
    wells: PlateWells | None = None
    """Of a plate."""
    is_series: bool = False
    """Whether several images stand beside each other, with the file METADATA.ome.xml."""
    own: dict[str, Any]
    """Attributes of the root that say where it comes from."""

    def groups(self, found: Mapping[int, Found]) -> dict[str, dict[str, Any]]:
        """Return the attributes of every group, by path; the root is ``""``.

        Parameters
        ----------
        found
            In the pixels of images and labels, by their numbers.
        """
        made: dict[str, dict[str, Any]] = {}
        if self.wells is not None:
            made[""] = plate_group(self.wells, self.version)
            made |= well_groups(self.wells, self.version)
        elif self.is_series:
            paths = [image.path for image in self.images]
            made |= series_groups(paths, self.version)
        for image in self.images:
            omero = image.display.omero(found.get(image.number, Found()))
            made[image.path] = image_group(image.multiscales, omero, self.version)
            above = f"{image.path}/labels" if image.path else "labels"
            if image.labels:
                names = [label.name for label in image.labels]
                made[above] = labels_group(names, self.version)
            for label in image.labels:
                made[f"{above}/{label.name}"] = label_group(
                    label.multiscales,
                    label.color,
                    found.get(label.number, Found()),
                    self.version,
                )
        made[""] = {**made[""], OWN_ATTRIBUTE: self.own}
        return made

    def files(
        self, found: Mapping[int, Found]
    ) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Return the files of all groups but the root, and those of the root."""
        zarr_format = 3 if self.version == "0.5" else 2
        groups = self.groups(found)
        root = group_files("", groups.pop(""), zarr_format)  # type: ignore[arg-type]
        others: dict[str, bytes] = {}
        for path, attributes in groups.items():
            others |= group_files(path, attributes, zarr_format)  # type: ignore[arg-type]
        return others, root


def own_attributes(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the root keeps of the attributes of a dataset, as JSON can hold it.

    Parameters
    ----------
    attrs
        Of the dataset and its image; the metadata document among them is taken apart.
    """
    values = {str(name): _plain(value) for name, value in attrs.items()}
    document = values.pop(METADATA_ATTR, None)
    made: dict[str, Any] = {"version": version("limnd2-xr"), "attributes": values}
    if isinstance(document, str):
        try:
            made[METADATA_ATTR] = _plain(json.loads(document))
        except ValueError:
            values[METADATA_ATTR] = document
    return made


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it: no numpy, no NaN."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return str(value)
