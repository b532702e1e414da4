"""`Nd2Writer`: how its files come to be, and what is left where they do not."""

from __future__ import annotations

import gc
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from limnd2_xr.compat.limnd2.attributes import (
    ImageAttributes,
)
from limnd2_xr.compat.limnd2.base import (
    NotNd2Format,
)
from limnd2_xr.compat.limnd2.reader import Nd2Reader
from limnd2_xr.compat.limnd2.stores import FileStore, MemoryStore
from limnd2_xr.compat.limnd2.writer import Nd2Writer
from limnd2_xr.container.sink import PartialFile
from limnd2_xr.frames.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

H, W = 20, 31


def attributes(
    count: Any = 1, components: int = 2, bits: int = 16, **fields: Any
) -> ImageAttributes:
    made = ImageAttributes.create(
        height=H,
        width=W,
        component_count=components,
        bits=bits,
        sequence_count=count,
    )
    return replace(made, **fields)


def picture(number: int, components: int = 2, dtype: str = "uint16") -> NDArray[Any]:
    rng = np.random.default_rng(number)
    return rng.integers(0, 200, (H, W, components)).astype(dtype)


def write(
    path: Path, like: ImageAttributes, numbers: Iterable[int], **more: Any
) -> Path:
    with Nd2Writer(path, **more) as writer:
        writer.imageAttributes = like
        for number in numbers:
            writer.setImage(
                number, picture(number, like.uiComp, np.dtype(like.dtype).name)
            )
    return path


def failing() -> Iterator[int]:
    """Numbers of frames, of which the second cannot be had."""
    yield 0
    raise ZeroDivisionError


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.nd2"


def test_an_existing_file_is_not_touched_unless_asked(
    path: Path, tmp_path: Path
) -> None:
    write(path, attributes(1), [0])
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="append=True adds to it"):
        Nd2Writer(path)
    assert path.read_bytes() == before
    with pytest.raises(ZeroDivisionError):
        write(path, attributes(1), failing(), append=False)
    assert path.read_bytes() == before
    assert leftovers(tmp_path) == ["out.nd2"]


@pytest.mark.parametrize("is_reserved", [False, True], ids=["new", "empty"])
def test_of_two_writers_of_one_new_file_the_first_to_finish_has_it(
    path: Path, tmp_path: Path, is_reserved: bool
) -> None:
    if is_reserved:
        path.touch()
    writers = [Nd2Writer(path) for _ in range(2)]
    for number, writer in enumerate(writers):
        writer.imageAttributes = attributes(1)
        writer.setImage(0, picture(number))
    first, second = writers
    second.finalize()
    for _ in range(2):
        with pytest.raises(FileExistsError, match="append=False replaces it") as told:
            first.finalize()
    assert told.value.filename == str(path)
    with Nd2Reader(path) as reader:
        assert np.array_equal(reader.image(0), picture(1))
    path.rename(tmp_path / "other.nd2")
    first.finalize()
    with Nd2Reader(path) as reader:
        assert np.array_equal(reader.image(0), picture(0))
    assert leftovers(tmp_path) == ["other.nd2", "out.nd2"]


def test_a_file_that_appears_at_the_last_moment_is_kept(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = PartialFile.commit

    def late(partial: PartialFile) -> None:
        path.write_bytes(b"somebody else's")
        commit(partial)

    monkeypatch.setattr(PartialFile, "commit", late)
    with pytest.raises(FileExistsError, match="append=False replaces it"):
        write(path, attributes(1), [0])
    assert path.read_bytes() == b"somebody else's"
    assert leftovers(tmp_path) == ["out.nd2"]


def test_files_of_something_else(path: Path) -> None:
    path.write_bytes(b"garbage" * 100)
    for append in (None, True):
        with pytest.raises(NotNd2Format):
            Nd2Writer(path, append=append)
    assert path.read_bytes() == b"garbage" * 100
    path.write_bytes(b"")
    write(path, attributes(1), [0])
    assert verify(path).is_sound


def test_files_that_are_not_there(path: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Nd2Writer(path, append=True)
    with pytest.raises(FileNotFoundError):
        Nd2Writer(tmp_path / "no" / "a.nd2")
    for file in (MemoryStore(b""), b"", "s3://bucket/a.nd2", 3):
        with pytest.raises(ValueError, match="a path of this machine"):
            Nd2Writer(file)  # type: ignore[arg-type]
    write(path, attributes(1), [0])
    assert FileStore(path).sizeOnDisk > 0


def test_an_exception_leaves_nothing(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write(path, attributes(1), failing())
    assert leftovers(tmp_path) == []
    with pytest.raises(RuntimeError, match="Missing"), Nd2Writer(path):
        pass
    assert leftovers(tmp_path) == []


def test_a_writer_that_is_forgotten_leaves_nothing_and_says_so(
    path: Path, tmp_path: Path
) -> None:
    writer = Nd2Writer(path)
    writer.imageAttributes = attributes(2)
    writer.setImage(0, picture(0))
    writer.setImage(1, picture(1))
    assert len(leftovers(tmp_path)) == 1
    with pytest.warns(UserWarning, match="2 frames were discarded") as told:
        del writer
    assert str(told[0].message).startswith(f"{path}: ")
    assert "finalize()" in str(told[0].message)
    assert told[0].filename == __file__
    assert leftovers(tmp_path) == []


def test_metadata_alone_are_discarded_with_a_warning_too(path: Path) -> None:
    writer = Nd2Writer(path)
    writer.setChunk("CustomData|Mine!", b"mine")
    with pytest.warns(UserWarning, match="0 frames.*there is no file"):
        del writer
    write(path, attributes(1), [0])
    writer = Nd2Writer(path, append=False)
    writer.imageAttributes = attributes(1)
    with pytest.warns(UserWarning, match="the file is as it was"):
        del writer


def forgotten(path: Path, how: str) -> None:
    writer = Nd2Writer(path)
    if how == "untouched":
        return
    writer.imageAttributes = attributes(1)
    writer.setImage(0, picture(0))
    if how == "finalized":
        writer.finalize()
    elif how == "rolled back":
        writer.rollback()
    else:
        with pytest.raises(ZeroDivisionError), writer:
            raise ZeroDivisionError


@pytest.mark.parametrize("how", ["untouched", "finalized", "rolled back", "exception"])
def test_who_ends_a_writer_is_not_warned(
    path: Path, how: str, recwarn: pytest.WarningsRecorder
) -> None:
    forgotten(path, how)
    gc.collect()
    assert [str(one.message) for one in recwarn] == []


def test_a_process_that_ends_with_a_forgotten_writer_says_so(tmp_path: Path) -> None:
    program = """if True:
        import numpy as np
        from limnd2_xr.compat import limnd2
        writer = limnd2.Nd2Writer("f.nd2")
        writer.imageAttributes = limnd2.ImageAttributes.create(8, 8, 1, 8, 1)
        writer.setImage(0, np.zeros((8, 8), "u1"))
    """
    done = subprocess.run(  # noqa: S603 - the program is the one above
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "UserWarning: f.nd2: " in done.stderr
    assert "1 frame was discarded" in done.stderr
    assert leftovers(tmp_path) == []


def test_finalize_twice_and_after_rollback(path: Path, tmp_path: Path) -> None:
    writer = Nd2Writer(path)
    writer.imageAttributes = attributes(1)
    writer.setImage(0, picture(0))
    writer.finalize()
    before = path.read_bytes()
    writer.finalize()
    writer.rollback()
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="is closed"):
        writer.setImage(0, picture(0))
    with pytest.raises(ValueError, match="is closed"):
        writer.setChunk("CustomData|X!", b"")
    with pytest.raises(ValueError, match="is closed"):
        writer.imageAttributes = attributes(1)
    other = Nd2Writer(tmp_path / "b.nd2")
    other.rollback()
    other.rollback()
    with pytest.raises(ValueError, match="rolled back"):
        other.finalize()
    assert leftovers(tmp_path) == ["out.nd2"]


def test_finalize_may_be_tried_again(path: Path) -> None:
    writer = Nd2Writer(path)
    writer.imageAttributes = attributes(2)
    writer.setImage(0, picture(0))
    with pytest.raises(ValueError, match="1 of 2 frames"):
        writer.finalize()
    writer.setImage(1, picture(1))
    writer.finalize()
    assert verify(path).is_sound
