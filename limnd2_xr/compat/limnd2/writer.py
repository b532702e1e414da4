"""`Nd2Writer`: makes a file, or adds to one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from limnd2_xr.compat.limnd2.base import NotNd2Format
from limnd2_xr.compat.limnd2.file_target import NewFile
from limnd2_xr.compat.limnd2.stores import FileStore
from limnd2_xr.compat.limnd2.wellplates import WellplateDesc, WellplateFrameInfo
from limnd2_xr.compat.limnd2.writing_chunker import WritingChunker
from limnd2_xr.container.chunk_format import parse_signature
from limnd2_xr.errors import Nd2Error
from limnd2_xr.model.frame_wells import FRAME_WELLS
from limnd2_xr.model.plates import PLATE_CHUNK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Literal, Self

    from numpy.typing import ArrayLike

    from limnd2_xr.compat.limnd2.attributes import ImageAttributes
    from limnd2_xr.compat.limnd2.experiment import ExperimentLevel
    from limnd2_xr.compat.limnd2.file_target import FileTarget
    from limnd2_xr.compat.limnd2.metadata import PictureMetadata

__all__ = ["Nd2Writer"]

_HEAD_NBYTES = 112


class Nd2Writer:
    """Writes a file: frames, metadata and chunks in any order.

    The file has its name only once `finalize` is done, which the end of a ``with`` block
    does; after an exception there is nothing of it, and a file that was there is as it
    was. The same is true of a writer that is forgotten, which a UserWarning tells.

    Parameters
    ----------
    file
        Path, or `FileStore`.
    append
        True adds to a file that exists; False replaces one, once the new one is
        complete; None makes a new file, and nothing else.
    chunker_kwargs
        ``with_image_attributes`` are those that frames are written with until
        `imageAttributes` is assigned, if it ever is; their number of frames may be 0 or
        ``...``: as many as are written. ``with_binary_raster_metadata`` describes the
        layers of masks.
    missing
        What to do about frames that were not written: ``"raise"``, or ``"zeros"``.

    Raises
    ------
    FileExistsError
        If there is a file, and `append` is None; of `finalize`, if one appeared
        meanwhile. An empty file is none.
    FileNotFoundError
        If there is none, and `append` is True.
    NotNd2Format
        If there is one that is something else.
    ValueError
        If `file` is no file on this machine.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from limnd2_xr.compat import limnd2
    >>> folder = tempfile.TemporaryDirectory()
    >>> attributes = limnd2.ImageAttributes.create(
    ...     width=6, height=4, component_count=1, bits=16, sequence_count=2
    ... )
    >>> with Nd2Writer(folder.name + "/a.nd2") as writer:
    ...     writer.imageAttributes = attributes
    ...     for i in range(2):
    ...         writer.setImage(i, np.full((4, 6, 1), i, "uint16"))
    ...     writer.experiment = limnd2.ExperimentFactory(t=2)()
    >>> with limnd2.Nd2Reader(folder.name + "/a.nd2") as reader:
    ...     int(reader.image(1).sum()), reader.dimensionSizes()
    (24, {'t': 2})
    >>> folder.cleanup()
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | FileStore,
        *,
        append: bool | None = None,
        chunker_kwargs: Mapping[str, Any] | None = None,
        missing: Literal["raise", "zeros"] = "raise",
    ) -> None:
        if missing not in {"raise", "zeros"}:
            raise ValueError(f"missing must be 'raise' or 'zeros', not {missing!r}")
        store = _store(file)
        target = _target(store.path, append=append)
        try:
            self._chunker = WritingChunker(
                store,
                target,
                fill_missing=missing == "zeros",
                **dict(chunker_kwargs or {}),
            )
        except BaseException:
            target.rollback()
            raise

    @property
    def chunker(self) -> WritingChunker:
        """What writes single chunks, and smaller copies and masks."""
        return self._chunker

    @property
    def store(self) -> FileStore:
        """The file to be."""
        return self._chunker.store

    @property
    def imageAttributes(self) -> ImageAttributes:
        """Size, type and number of the frames; to be assigned before the first."""
        return self._chunker.imageAttributes

    @imageAttributes.setter
    def imageAttributes(self, value: ImageAttributes | None) -> None:
        self._chunker.imageAttributes = value

    @property
    def experiment(self) -> ExperimentLevel | None:
        """The outermost loop; None without one."""
        return self._chunker.experiment

    @experiment.setter
    def experiment(self, value: ExperimentLevel | None) -> None:
        self._chunker.experiment = value

    @property
    def pictureMetadata(self) -> PictureMetadata:
        """Channels, calibration and settings; made up if none are assigned."""
        return self._chunker.pictureMetadata

    @pictureMetadata.setter
    def pictureMetadata(self, value: PictureMetadata | None) -> None:
        self._chunker.pictureMetadata = value

    def setImage(
        self, seq_index: int, data: ArrayLike, *, acqtime: float | None = None
    ) -> None:
        """Write a frame; see `WritingChunker.setImage`.

        Parameters
        ----------
        seq_index
            Number of the frame, from 0 on; in any order.
        data
            Of shape (rows, columns, components).
        acqtime
            ms since the start of the acquisition.
        """
        self._chunker.setImage(seq_index, data, acqtime=acqtime)

    def setImageTile(
        self,
        seq_index: int,
        x: int,
        y: int,
        tile: ArrayLike,
        *,
        acqtime: float | None = None,
    ) -> None:
        """Write a part of a frame; see `WritingChunker.setImageTile`.

        Parameters
        ----------
        seq_index
            Number of the frame.
        x, y
            Column and row of the part's first pixel.
        tile
            Of shape (rows, columns, components).
        acqtime
            Time of the frame; None leaves it as it is.
        """
        self._chunker.setImageTile(seq_index, x, y, tile, acqtime=acqtime)

    def setChunk(self, name: bytes | str, data: bytes | memoryview) -> None:
        """Store a chunk; see `WritingChunker.setChunk`.

        Parameters
        ----------
        name
            With its closing ``!``.
        data
            Payload.
        """
        self._chunker.setChunk(name, data)

    def setWellplateDesc(self, desc: WellplateDesc | Mapping[str, Any]) -> None:
        """Say what plate it is.

        Parameters
        ----------
        desc
            `WellplateDesc`, or its fields; what else there is among them is left out.

        Raises
        ------
        TypeError
            If it is something else.
        """
        if not isinstance(desc, WellplateDesc):
            if not hasattr(desc, "keys"):
                raise TypeError(f"a WellplateDesc or a dict, not {type(desc).__name__}")
            known = vars(WellplateDesc())
            desc = WellplateDesc(**{name: desc[name] for name in known if name in desc})
        self.setChunk(PLATE_CHUNK, desc.to_lv())

    def setWellplateFrameInfo(self, info: Any) -> None:
        """Say in which well each frame was taken.

        Parameters
        ----------
        info
            `WellplateFrameInfo`, or a list of its items: objects or dicts.

        Raises
        ------
        TypeError
            If it is something else.
        """
        if not isinstance(info, WellplateFrameInfo):
            if not isinstance(info, (list, tuple)):
                raise TypeError(
                    f"a WellplateFrameInfo or a list, not {type(info).__name__}"
                )
            info = WellplateFrameInfo(info)
        self.setChunk(FRAME_WELLS, info.to_chunk())

    def setWellplate(
        self,
        *,
        desc: WellplateDesc | Mapping[str, Any] | None = None,
        frame_info: Any = None,
    ) -> None:
        """Say both; what is None stays as it is.

        Parameters
        ----------
        desc
            See `setWellplateDesc`.
        frame_info
            See `setWellplateFrameInfo`.
        """
        if desc is not None:
            self.setWellplateDesc(desc)
        if frame_info is not None:
            self.setWellplateFrameInfo(frame_info)

    def finalize(self) -> None:
        """Complete the file; see `WritingChunker.finalize`."""
        self._chunker.finalize()

    def rollback(self) -> None:
        """Forget all that was written: there is no new file, an old one is as it was."""
        self._chunker.rollback()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.rollback()
            return
        if self._chunker.is_rolled_back:
            return
        try:
            self.finalize()
        except BaseException:
            self.rollback()
            raise

    def __repr__(self) -> str:
        return f"<Nd2Writer of {str(self.store.path)!r}>"


def _store(file: Any) -> FileStore:
    if isinstance(file, FileStore):
        return file
    if not isinstance(file, (str, os.PathLike)) or "://" in os.fspath(file):
        raise ValueError(
            "argument 'file' expected to be a path of this machine or a FileStore, not "
            f"{file if isinstance(file, str) else type(file).__name__}"
        )
    return FileStore(file)


def _target(path: Path, *, append: bool | None) -> FileTarget:
    """Open what is there, if that is wanted, else begin a new file."""
    nbytes = path.stat().st_size if path.is_file() else 0
    if nbytes and append is not False:
        _check_is_nd2(path)
    if append:
        if not path.exists():
            raise FileNotFoundError(2, "there is no file to append to", str(path))
        if nbytes:
            from limnd2_xr.compat.limnd2.grown_file import GrownFile

            return GrownFile(path)
    if nbytes and append is None:
        raise FileExistsError(
            17,
            "the file exists: append=True adds to it, append=False replaces it",
            str(path),
        )
    return NewFile(path, overwrite=append is False)


def _check_is_nd2(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(_HEAD_NBYTES)
    try:
        parse_signature(head)
    except Nd2Error as error:
        raise NotNd2Format(f"{path}: {error}") from error
