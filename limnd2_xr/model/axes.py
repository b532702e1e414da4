"""How acquisition loops become array dimensions and frame numbers.

The only place that knows the loop order of a file. Frames are numbered row by row over
the loops, the outermost slowest (FORMAT 7.5); arrays have the dims ``U T P Z``, in
this order, whatever the file's. Two loops along one dim become one dim, the outer loop
slowest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from limnd2_xr.errors import CorruptChunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from limnd2_xr.model.experiment import Dim, Loop

__all__ = ["DIM_ORDER", "Axes"]

DIM_ORDER: Final[tuple[Dim, ...]] = ("U", "T", "P", "Z")
"""Order of the loop dims in every array."""

_FRAMES_PER_PRESENT: Final = 4
_FRAMES_FREE: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Axes:
    """Loop dims of a file and the frame number of each of their indices.

    Examples
    --------
    A file with Z outside T: frames count along T first, arrays still have T first.

    >>> axes = Axes(nesting=(("Z", 2), ("T", 3)))
    >>> axes.dims, axes.shape, axes.file_order
    (('T', 'Z'), (3, 2), ('Z', 'T'))
    >>> axes.sequence()
    array([[0, 3],
           [1, 4],
           [2, 5]])
    """

    nesting: tuple[tuple[Dim, int], ...] = ()
    """Dim and count of each loop, outermost first, as used."""
    declared: tuple[tuple[Dim, int], ...] = ()
    """The same before loops were cut to the frames of the file; empty if the same."""
    loop_numbers: tuple[int | None, ...] = ()
    """Number of each loop in the experiment, None for dims that no loop declares;
    their order if not given."""
    extra_frames: int = 0
    """Frames of the file that the loops do not reach."""
    dims: tuple[Dim, ...] = field(init=False, repr=False, compare=False)
    """Dims of the file, in array order."""
    shape: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Length of each dim."""
    contributions: tuple[npt.NDArray[np.int64], ...] = field(
        init=False, repr=False, compare=False
    )
    """For each dim, in the order of `dims`, what an index adds to the frame number."""

    def __post_init__(self) -> None:
        if not self.loop_numbers:
            numbers = tuple(range(len(self.nesting)))
            object.__setattr__(self, "loop_numbers", numbers)
        names = {dim for dim, _ in self.nesting}
        dims = tuple(dim for dim in DIM_ORDER if dim in names)
        object.__setattr__(self, "dims", dims)
        object.__setattr__(self, "shape", self._lengths(self.nesting))
        found = tuple(self._contribution(dim) for dim in self.dims)
        for array in found:
            array.flags.writeable = False
        object.__setattr__(self, "contributions", found)

    @classmethod
    def from_loops(
        cls, loops: Iterable[Loop], frame_count: int | None, present: int
    ) -> Axes:
        """Fit the loops of an experiment to the frames of a file (FORMAT 7.6).

        - No loop but several frames: they run along T.
        - Fewer frames than the loops promise: the outermost loop is cut to what is
          there. Frames that are merely missing in between cut nothing.
        - More frames than the loops promise: the loops win.

        Parameters
        ----------
        loops
            Loops that count frames, outermost first.
        frame_count
            Frames the attributes promise; None or 0 if not known.
        present
            Frames the chunk map holds.

        Raises
        ------
        CorruptChunk
            If the loops inside the outermost promise over 4 times the frames there
            are (and 64 more): no array of that shape is worth allocating.

        Examples
        --------
        >>> from limnd2_xr.model.experiment import TimeLoop, ZStackLoop
        >>> loops = [
        ...     TimeLoop(count=10, declared_count=10),
        ...     ZStackLoop(count=3, declared_count=3),
        ... ]
        >>> axes = Axes.from_loops(loops, frame_count=8, present=8)
        >>> axes.shape, axes.declared_shape
        ((3, 3), (10, 3))
        """
        declared = [(loop.dim, loop.count) for loop in loops]
        numbers: tuple[int | None, ...] = tuple(range(len(declared)))
        frames = max(frame_count or 0, present)
        if not declared and frames > 1:
            declared, numbers = [("T", frames)], (None,)
        counts = [count for _, count in declared]
        if counts:
            counts[0] = _fitted(counts, frames, present)
        nesting = tuple((dim, n) for (dim, _), n in zip(declared, counts, strict=True))
        return cls(
            nesting=nesting,
            declared=tuple(declared) if nesting != tuple(declared) else (),
            loop_numbers=numbers,
            extra_frames=max(frames - math.prod(counts), 0) if counts else 0,
        )

    @property
    def declared_shape(self) -> tuple[int, ...]:
        """Length of each dim as the loops declare it; larger where loops were cut."""
        return self._lengths(self.declared or self.nesting)

    @property
    def file_order(self) -> tuple[Dim, ...]:
        """Dims in the order of the file, the slowest first."""
        return tuple(dict.fromkeys(dim for dim, _ in self.nesting))

    @property
    def n_frames(self) -> int:
        """Frames that the dims address."""
        return math.prod(self.shape)

    def size(self, dim: Dim) -> int:
        """Length of one dim; 1 where the file does not have it."""
        return math.prod(n for name, n in self.nesting if name == dim)

    def sequence(self) -> npt.NDArray[np.int64]:
        """Frame number of every index: an int64 array of shape `shape`."""
        numbers = np.zeros(self.shape, np.int64)
        for i, part in enumerate(self.contributions):
            tail = (1,) * (len(self.contributions) - 1 - i)
            numbers += part.reshape(-1, *tail)
        return numbers

    def with_dims(self, dims: Iterable[Dim]) -> Axes:
        """Return the same axes with dims of length 1 for those that are not there.

        Examples
        --------
        >>> axes = Axes(nesting=(("Z", 5),)).with_dims(("T", "P", "Z"))
        >>> axes.dims, axes.shape
        (('T', 'P', 'Z'), (1, 1, 5))
        """
        known = self.dims
        new = tuple((dim, 1) for dim in dims if dim not in known)
        return replace(
            self,
            nesting=(*new, *self.nesting),
            declared=(*new, *self.declared) if self.declared else (),
            loop_numbers=(*(None for _ in new), *self.loop_numbers),
        )

    def loops_along(self, dim: Dim) -> tuple[int, ...]:
        """Return the places in `nesting` of the loops that make up a dim."""
        return tuple(i for i, (name, _) in enumerate(self.nesting) if name == dim)

    def loop(self, place: int, loops: Sequence[Loop]) -> Loop | None:
        """Return the loop at a place of `nesting`, None if no loop declares the dim.

        Parameters
        ----------
        place
            Place in `nesting`.
        loops
            Loops of the experiment that the axes were made from.
        """
        number = self.loop_numbers[place]
        return loops[number] if number is not None and number < len(loops) else None

    def loop_index(self, place: int) -> npt.NDArray[np.int64]:
        """Index of one loop at every index of its dim.

        For a dim of one loop that is 0, 1, 2 ...; where two loops share a dim, the
        outer one repeats and the inner one cycles.

        Parameters
        ----------
        place
            Place of the loop in `nesting`.

        Examples
        --------
        >>> axes = Axes(nesting=(("T", 2), ("Z", 5), ("T", 3)))
        >>> axes.loop_index(0), axes.loop_index(2)
        (array([0, 0, 0, 1, 1, 1]), array([0, 1, 2, 0, 1, 2]))
        """
        dim, count = self.nesting[place]
        inner = math.prod(n for name, n in self.nesting[place + 1 :] if name == dim)
        return np.arange(self.size(dim), dtype=np.int64) // inner % count

    def along(
        self, dim: Dim, values: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Shape one value for each index of a dim to broadcast against `shape`."""
        dims = self.dims
        return values.reshape([-1 if name == dim else 1 for name in dims])

    def _lengths(self, nesting: tuple[tuple[Dim, int], ...]) -> tuple[int, ...]:
        return tuple(
            math.prod(n for name, n in nesting if name == dim) for dim in self.dims
        )

    def _contribution(self, dim: Dim) -> npt.NDArray[np.int64]:
        total = np.zeros(self.size(dim), np.int64)
        for place in self.loops_along(dim):
            stride = math.prod(n for _, n in self.nesting[place + 1 :])
            total += self.loop_index(place) * stride
        return total


def _fitted(counts: list[int], frames: int, present: int) -> int:
    """Count of the outermost loop that the frames of the file warrant."""
    outer, inner = counts[0], math.prod(counts[1:])
    limit = _FRAMES_PER_PRESENT * present + _FRAMES_FREE
    if inner > limit:
        raise CorruptChunk(
            f"the loops promise {inner} frames for each step of the outermost one, "
            f"but the file has {present} frames"
        )
    if outer * inner > frames:
        outer = max(-(-frames // inner), 1)
    if outer * inner > limit:
        outer = max(-(-present // inner), 1)
    return outer
