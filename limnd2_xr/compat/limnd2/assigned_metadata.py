"""Metadata that are assigned to a writer, until its file is completed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from limnd2_xr.compat.limnd2.attributes import ImageAttributes
from limnd2_xr.compat.limnd2.base import BaseChunker
from limnd2_xr.compat.limnd2.experiment import ExperimentLevel
from limnd2_xr.compat.limnd2.experiment_factory import ExperimentFactory
from limnd2_xr.compat.limnd2.image_input import level_of, stored_layout
from limnd2_xr.compat.limnd2.metadata import PictureMetadata
from limnd2_xr.compat.limnd2.metadata_factory import MetadataFactory

if TYPE_CHECKING:
    from limnd2_xr.compat.limnd2.file_target import FileTarget
    from limnd2_xr.compat.limnd2.stores import FileStore

__all__ = ["AssignedMetadata"]

_T = TypeVar("_T")


class AssignedMetadata(BaseChunker):
    """Attributes, loops and picture metadata: those assigned, else those of the file.

    Parameters
    ----------
    store
        The file to be.
    target
        Where they go.
    given
        See `BaseChunker`.
    """

    def __init__(self, store: FileStore, target: FileTarget, **given: Any) -> None:
        super().__init__(**given)
        self._store = store
        self._target = target
        self._attributes = self._given("with_image_attributes", ImageAttributes)
        self._experiment = self._given("with_experiment", ExperimentLevel)
        self._picture = self._given("with_picture_metadata", PictureMetadata)
        if self._attributes is not None:
            self._begin(self._attributes)

    def _given(self, name: str, kind: type[_T]) -> _T | None:
        found = self.given.get(name)
        if found is not None:
            _check_kind(found, name, kind)
        return found

    @property
    def store(self) -> FileStore:
        """The file to be."""
        return self._store

    @property
    def imageAttributes(self) -> ImageAttributes:
        """Size, type and number of the frames.

        Raises
        ------
        RuntimeError
            If they have not been assigned.
        TypeError
            If something else is assigned, such as a factory that was not called; so
            for the other metadata.
        """
        return _known(self._attributes, self._target.attributes, "ImageAttributes")

    @imageAttributes.setter
    def imageAttributes(self, value: ImageAttributes | None) -> None:
        if value is not None:
            self._check_open()
            _check_kind(value, "imageAttributes", ImageAttributes)
            self._begin(value)
            self._attributes = value
            self._target.note_change()

    def _begin(self, attributes: ImageAttributes) -> None:
        layout = stored_layout(attributes)
        self._target.begin(
            layout,
            significant_bits=attributes.uiBpcSignificant,
            level=level_of(attributes),
        )

    @property
    def experiment(self) -> ExperimentLevel | None:
        """The outermost loop; None without one."""
        found = self._experiment
        return self._target.experiment if found is None else found

    @experiment.setter
    def experiment(self, value: ExperimentLevel | None) -> None:
        if value is not None:
            self._check_open()
            _check_kind(value, "experiment", ExperimentLevel)
            self._experiment = value
            self._target.note_change()

    @property
    def pictureMetadata(self) -> PictureMetadata:
        """Channels, calibration and settings.

        Raises
        ------
        RuntimeError
            If they have not been assigned.
        """
        return _known(self._picture, self._target.picture, "PictureMetadata")

    @pictureMetadata.setter
    def pictureMetadata(self, value: PictureMetadata | None) -> None:
        if value is not None:
            self._check_open()
            _check_kind(value, "pictureMetadata", PictureMetadata)
            self._picture = value
            self._target.note_change()

    def _check_open(self) -> None:
        if self._target.closed:
            raise ValueError(f"{self._target.name}: the file is closed")


def _check_kind(value: object, name: str, kind: type) -> None:
    if isinstance(value, kind):
        return
    found = type(value).__name__
    hint = ""
    if isinstance(value, (ExperimentFactory, MetadataFactory)):
        hint = ": call it, and assign what it returns"
    raise TypeError(f"{name} has to be {kind.__name__}, not {found}{hint}")


def _known(assigned: _T | None, of_file: _T | None, name: str) -> _T:
    """Return what was assigned, else what the file has."""
    found = of_file if assigned is None else assigned
    if found is None:
        raise RuntimeError(f"Missing {name}")
    return found
