"""Damage that reading finds, told in one piece: a warning, an error or nothing.

What finds damage calls `report_damage` and goes on with what there is. Who opens a file
does so within `DamageReport`, which collects what is reported meanwhile and tells it at
its end. Damage that nobody collects is warned of at once.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from limnd2_xr.errors import CorruptChunk, Nd2Error, warn_user

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType
    from typing import Self

__all__ = ["Damage", "DamageReport", "OnDamage", "check_on_damage", "report_damage"]

OnDamage: TypeAlias = Literal["raise", "warn", "ignore"]
"""What to do about damage in a file that can be opened nevertheless."""

_CHOICES: Final = get_args(OnDamage)
_SHOWN: Final = 20
"""So many are told in a message; all are in `DamageReport.texts`."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong with a file.

    Examples
    --------
    >>> print(Damage("it is cut short", "it is left out", chunk="A!", offset=4096))
    chunk A! at offset 4096: it is cut short; it is left out
    """

    reason: str
    """What is wrong."""
    lost: str = ""
    """What is lost by it, or done about it; empty if `reason` says so."""
    chunk: str | None = None
    """Name of the chunk, if it is about one."""
    offset: int | None = None
    """Where in the file, as far as that is known."""

    def __str__(self) -> str:
        where = str(Nd2Error(self.reason, chunk=self.chunk, offset=self.offset))
        return f"{where}; {self.lost}" if self.lost else where


_collecting: ContextVar[DamageReport | None] = ContextVar("damage", default=None)


def check_on_damage(value: str) -> None:
    """Refuse what is not an `OnDamage`.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if value not in _CHOICES:
        names = ", ".join(f'"{name}"' for name in _CHOICES)
        raise ValueError(f"on_damage must be one of {names}, not {value!r}")


def report_damage(
    found: str | Nd2Error,
    lost: str = "",
    *,
    path: str | None = None,
    chunk: str | None = None,
    offset: int | None = None,
) -> None:
    """Tell of damage that reading can go on in spite of.

    Parameters
    ----------
    found
        What is wrong; an error knows its place.
    lost
        What is lost by it.
    path, chunk, offset
        Where it is, as far as an error does not know.

    Warns
    -----
    Nd2Warning
        At once, unless a `DamageReport` collects.
    """
    error = found if isinstance(found, Nd2Error) else Nd2Error(found)
    error = error.located(path=path, chunk=chunk)
    place = error.offset if error.offset is not None else offset
    damage = Damage(error.reason, lost, error.chunk, place)
    report = _collecting.get()
    if report is None:
        warn_user(f"{error.path}: {damage}" if error.path else str(damage))
    else:
        report.add(damage)


class DamageReport:
    """Collects the damage reported within a `with` block and tells it at its end.

    A block within another adds to the outer one. An exception ends the block as ever,
    without a report.

    Parameters
    ----------
    path
        The file, as the user named it.
    on_damage
        What to do at the end.

    Examples
    --------
    >>> with DamageReport("a.nd2", "ignore") as report:
    ...     report_damage("the chunk map is missing")
    >>> report.texts
    ('the chunk map is missing',)
    """

    def __init__(self, path: str, on_damage: OnDamage) -> None:
        check_on_damage(on_damage)
        self.path = path
        self.on_damage = on_damage
        self._found: dict[Damage, None] = {}
        self._outer: DamageReport | None = None
        self._token: Token[DamageReport | None] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """What was found so far, each thing once."""
        return tuple(map(str, self._found))

    def add(self, damage: Damage) -> None:
        """Take note of damage; outer blocks do so, too."""
        self._found[damage] = None
        if self._outer is not None:
            self._outer.add(damage)

    def __enter__(self) -> Self:
        self._outer = _collecting.get()
        self._token = _collecting.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._token is not None  # noqa: S101 - entered before
        _collecting.reset(self._token)
        if error is None and self._outer is None:
            self._tell()

    def _tell(self) -> None:
        if not self._found or self.on_damage == "ignore":
            return
        if self.on_damage == "raise":
            first = next(iter(self._found))
            raise CorruptChunk(
                self._message(first.reason),
                path=self.path,
                chunk=first.chunk,
                offset=first.offset,
            )
        warn_user(f"{self.path}: {self._message(self.texts[0])}")

    def _message(self, first: str) -> str:
        """All that was found, the first in the words given."""
        texts = [first, *self.texts[1:_SHOWN]]
        if len(self._found) > _SHOWN:
            texts.append(f"and {len(self._found) - _SHOWN} things more")
        return "\n- ".join(texts)
