"""`ChunkIndex`: where each chunk of a file is, at some tens of bytes a frame."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from limnd2_xr.container.chunk_format import HEADER_NBYTES
from limnd2_xr.container.chunk_map import FRAME_PREFIX, I64, U64, iter_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["UNKNOWN_NBYTES", "ChunkIndex", "Entry", "Family", "split_name"]

UNKNOWN_NBYTES = 2**64 - 1
"""In `Family.nbytes`: the map does not tell; the chunk's header does."""

_MAX_DIGITS = 18  # what fits in an i64
_BATCH = 4096


class Entry(NamedTuple):
    """Where a chunk is: file offset of its header, and bytes of its payload.

    `nbytes` is None where the map does not tell (it lists size == offset, FORMAT 2.3)
    and the chunk's header has to be asked.
    """

    offset: int
    nbytes: int | None


def split_name(name: str) -> tuple[str, int] | None:
    """Return prefix and number of a chunk name ``<prefix>|<number>!``, else None.

    Only decimal numbers without leading zeros count (FORMAT 1.4).

    Examples
    --------
    >>> split_name("ImageDataSeq|12!")
    ('ImageDataSeq', 12)
    >>> split_name("CustomData|X!"), split_name("ImageDataSeq|012!")
    (None, None)
    """
    if not name[-2:-1].isdigit():  # most names
        return None
    prefix, bar, digits = name[:-1].rpartition("|")
    if not bar or not prefix or not (digits.isascii() and digits.isdigit()):
        return None
    if len(digits) > _MAX_DIGITS or (digits[0] == "0" and len(digits) > 1):
        return None
    return prefix, int(digits)


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """The chunks ``<prefix>|<number>!`` of one prefix, as read-only arrays.

    Attributes
    ----------
    prefix
        What is before the bar.
    numbers
        int64, ascending, each once; they may have holes and start anywhere.
    offsets
        uint64, file offset of each chunk's header.
    nbytes
        uint64, bytes of each chunk's payload; `UNKNOWN_NBYTES` where unknown.
    """

    prefix: str
    numbers: I64
    offsets: U64
    nbytes: U64

    def __len__(self) -> int:
        return self.numbers.size

    def name(self, number: int) -> str:
        """Return the chunk name of a number."""
        return f"{self.prefix}|{number}!"

    def find(self, number: int) -> Entry | None:
        """Return where the chunk of a number is, None where there is none."""
        i = int(np.searchsorted(self.numbers, number))
        if i == self.numbers.size or self.numbers[i] != number:
            return None
        return _entry(int(self.offsets[i]), int(self.nbytes[i]))

    def items(self) -> Iterator[tuple[int, Entry]]:
        """Iterate over (number, entry) by ascending number."""
        for start in range(0, len(self), _BATCH):
            part = slice(start, start + _BATCH)
            columns = (self.numbers[part], self.offsets[part], self.nbytes[part])
            rows = zip(*(column.tolist() for column in columns), strict=True)
            for number, offset, nbytes in rows:
                yield number, _entry(offset, nbytes)

    def take(self, which: npt.NDArray[np.bool_]) -> Family:
        """Return the chunks that a mask selects."""
        columns = (self.numbers[which], self.offsets[which], self.nbytes[which])
        return _family(self.prefix, *columns)


class ChunkIndex:
    """Name -> place of all chunks of a file; immutable.

    Chunks named ``<prefix>|<number>!`` are kept in arrays, 24 bytes each; the others
    in a dict. Where a name occurs twice, the last one counts (FORMAT 2.3).

    Examples
    --------
    >>> index = ChunkIndex.from_entries([("A!", 4096, 10), ("Seq|7!", 8192, None)])
    >>> "A!" in index, index.find("Seq|7!"), index.find("B!")
    (True, Entry(offset=8192, nbytes=None), None)
    >>> index.names(), index.family("Seq").numbers
    (['A!'], array([7]))
    """

    __slots__ = ("_families", "_plain")

    def __init__(
        self, plain: dict[str, Entry] | None = None, families: Iterable[Family] = ()
    ) -> None:
        self._plain = dict(plain or {})
        self._families = {family.prefix: family for family in families}

    @classmethod
    def from_map(cls, payload: bytes, *, base: int) -> ChunkIndex:
        """Return the index that the payload of the chunk map lists (FORMAT 2.2).

        A million frames take about a fifth of a second. Places are as listed: they
        may be outside the file, see `within`.

        Parameters
        ----------
        payload
            Payload of the chunk ``ND2 FILEMAP SIGNATURE NAME 0001!``.
        base
            Its file offset, for messages.

        Raises
        ------
        CorruptChunk
            The payload is not a whole map.
        """
        return cls.from_map_pieces([payload], base=base)

    @classmethod
    def from_map_pieces(cls, pieces: Iterable[bytes], *, base: int) -> ChunkIndex:
        """Return the same as `from_map` of a payload that comes in pieces."""
        builder = IndexBuilder()
        for block in iter_map(pieces, base):
            columns = (block.numbers, block.offsets, block.nbytes)
            builder.add_family(FRAME_PREFIX, *columns, listed=True)
            for name, offset, nbytes in block.others:
                builder.add(name, offset, None if nbytes == offset else nbytes)
        return builder.build()

    @classmethod
    def from_entries(cls, entries: Iterable[tuple[str, int, int | None]]) -> ChunkIndex:
        """Return the index of (name, offset, nbytes or None) in any order."""
        builder = IndexBuilder()
        for name, offset, nbytes in entries:
            builder.add(name, offset, nbytes)
        return builder.build()

    def __len__(self) -> int:
        return len(self._plain) + sum(map(len, self._families.values()))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def __repr__(self) -> str:
        return f"<ChunkIndex of {len(self)} chunks>"

    def find(self, name: str) -> Entry | None:
        """Return where the chunk of this name is, None where there is none."""
        entry = self._plain.get(name)
        if entry is None and (split := split_name(name)) is not None:
            family = self._families.get(split[0])
            entry = family.find(split[1]) if family else None
        return entry

    def names(self) -> list[str]:
        """Return the names that are in no family, sorted."""
        return sorted(self._plain)

    def families(self) -> dict[str, Family]:
        """Return prefix -> family of the numbered names, sorted by prefix."""
        return dict(sorted(self._families.items()))

    def family(self, prefix: str) -> Family | None:
        """Return the chunks ``<prefix>|<number>!``, None where there are none."""
        return self._families.get(prefix)

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Iterate over (name, entry) of every chunk."""
        for name in self.names():
            yield name, self._plain[name]
        for family in self.families().values():
            for number, entry in family.items():
                yield family.name(number), entry

    def within(self, size: int) -> ChunkIndex:
        """Return the chunks that can lie in a file of `size` bytes.

        The header must be in it, and the payload as far as its size is listed.
        """
        limit = size - HEADER_NBYTES
        plain = {
            name: entry
            for name, entry in self._plain.items()
            if entry.offset + (entry.nbytes or 0) <= limit
        }
        if limit < 0:
            return ChunkIndex()
        families = []
        for family in self._families.values():
            sound = family.offsets <= np.uint64(limit)
            # Not a sum, which could overflow; nonsense where the offset is too large.
            room = np.uint64(limit) - family.offsets
            sound &= (family.nbytes <= room) | (family.nbytes == UNKNOWN_NBYTES)
            if sound.all():
                families.append(family)
            elif sound.any():
                families.append(family.take(sound))
        return ChunkIndex(plain, families)

    def without(self, other: ChunkIndex) -> ChunkIndex:
        """Return the chunks that `other` does not list at the same place and size."""
        plain = {
            name: entry
            for name, entry in self._plain.items()
            if other._plain.get(name) != entry
        }
        families = []
        for family in self._families.values():
            same = other._families.get(family.prefix)
            if same is not None:
                i = np.searchsorted(same.numbers, family.numbers)
                i = np.minimum(i, len(same) - 1)
                differs = same.numbers[i] != family.numbers
                differs |= same.offsets[i] != family.offsets
                differs |= same.nbytes[i] != family.nbytes
                if not differs.any():
                    continue
                family = family.take(differs)  # noqa: PLW2901
            families.append(family)
        return ChunkIndex(plain, families)

    def except_family(self, prefix: str) -> ChunkIndex:
        """Return all chunks but those named ``<prefix>|<number>!``."""
        families = (f for f in self._families.values() if f.prefix != prefix)
        return ChunkIndex(self._plain, families)

    def updated(self, other: ChunkIndex) -> ChunkIndex:
        """Return the chunks of both; `other` decides where both have a name."""
        builder = IndexBuilder()
        for index in (self, other):
            for name, entry in index._plain.items():
                builder.add(name, *entry)
            for family in index._families.values():
                columns = (family.numbers, family.offsets, family.nbytes)
                builder.add_family(family.prefix, *columns)
        return builder.build()


class IndexBuilder:
    """Collects chunks compactly, in the order in which later ones win."""

    __slots__ = ("_arrays", "_plain", "_single")

    def __init__(self) -> None:
        self._plain: dict[str, Entry] = {}
        # By prefix: numbers, offsets and sizes in turn; and whole columns at once.
        self._single: dict[str, array[int]] = {}
        self._arrays: dict[str, list[tuple[I64, U64, U64]]] = {}

    def add(self, name: str, offset: int, nbytes: int | None) -> None:
        """Add one chunk."""
        split = split_name(name)
        if split is None:
            self._plain[name] = Entry(offset, nbytes)
            return
        prefix, number = split
        single = self._single.get(prefix)
        if single is None:
            single = self._single[prefix] = array("Q")
        single.extend((number, offset, UNKNOWN_NBYTES if nbytes is None else nbytes))

    def add_family(
        self,
        prefix: str,
        numbers: I64,
        offsets: U64,
        nbytes: U64,
        *,
        listed: bool = False,
    ) -> None:
        """Add many chunks of a prefix; `listed`: size == offset means unknown.

        No number may be added by `add` as well.
        """
        if not numbers.size:
            return
        if listed and (unknown := nbytes == offsets).any():
            nbytes = np.where(unknown, np.uint64(UNKNOWN_NBYTES), nbytes)
        self._arrays.setdefault(prefix, []).append((numbers, offsets, nbytes))

    def build(self) -> ChunkIndex:
        """Return the index; the builder is empty afterwards."""
        families = []
        for prefix in sorted({*self._single, *self._arrays}):
            columns = self._arrays.pop(prefix, [])
            if prefix in self._single:
                columns.append(_columns(self._single.pop(prefix)))
            numbers, offsets, nbytes = (
                np.concatenate(column) if len(column) > 1 else column[0]
                for column in zip(*columns, strict=True)
            )
            columns.clear()
            order = _last_of_each(numbers)
            if order is not None:
                numbers, offsets, nbytes = numbers[order], offsets[order], nbytes[order]
            families.append(_family(prefix, numbers, offsets, nbytes))
        plain, self._plain = self._plain, {}
        return ChunkIndex(plain, families)


def _entry(offset: int, nbytes: int) -> Entry:
    return Entry(offset, None if nbytes == UNKNOWN_NBYTES else nbytes)


def _family(prefix: str, numbers: I64, offsets: U64, nbytes: U64) -> Family:
    for column in (numbers, offsets, nbytes):
        column.flags.writeable = False
    return Family(prefix, numbers, offsets, nbytes)


def _columns(single: array[int]) -> tuple[I64, U64, U64]:
    table = np.array(single, np.uint64).reshape(-1, 3)
    return (
        table[:, 0].astype(np.int64),
        np.ascontiguousarray(table[:, 1]),
        np.ascontiguousarray(table[:, 2]),
    )


def _last_of_each(numbers: I64) -> I64 | None:
    """Return where the last of each number is, by ascending number.

    None where that is the order they have.
    """
    if numbers.size < 2 or bool((numbers[1:] > numbers[:-1]).all()):
        return None
    top = int(numbers.max())
    if top < 4 * numbers.size + 1024:  # few holes: placing is quicker than sorting
        where = np.full(top + 1, -1, np.int64)
        where[numbers] = np.arange(numbers.size)
        return where[where >= 0]
    order = np.argsort(numbers, kind="stable")
    ascending = numbers[order]
    is_last = np.append(ascending[1:] != ascending[:-1], True)
    last: I64 = order[is_last]
    return last
