"""Turns: what is to be measured, and what was; a file keeps the latter, and goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from stellwerk.errors import InputError

Values = Mapping[str, float]


@dataclass(frozen=True)
class Turn:
    """One turn of one arm at one case: what came of it."""

    measure: str
    case: str
    arm: str
    run: int
    values: Values


@dataclass(frozen=True)
class Due:
    """A turn to be made, and about how many seconds it takes."""

    measure: str
    case: str
    arm: str
    run: int
    expected: float
    go: Callable[[], Values]

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells it from all others."""
        return self.measure, self.case, self.arm, self.run


class Turns:
    """The turns made so far.

    Args:
        file: where they are kept; None for nowhere.
        conditions: of the measurement, which all turns of a file share.

    Raises:
        InputError: if the file is about other conditions.
    """

    def __init__(self, file: Path | None, conditions: Mapping[str, object]) -> None:
        self._file, self._conditions = file, dict(conditions)
        self._turns: dict[tuple[str, str, str, int], Turn] = {}
        if file is None or not file.exists():
            return
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["conditions"] != self._conditions:
            raise InputError(
                f"{file} was measured under other conditions ({kept['conditions']}) than these "
                f"({self._conditions}); name another file"
            )
        for turn in kept["turns"]:
            self.add(Turn(**turn))

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns.values())

    def left(self, due: Iterable[Due]) -> list[Due]:
        """Those that were not made yet."""
        return [each for each in due if each.key not in self._turns]

    def make(self, due: Due) -> Turn:
        """Make a turn and keep it."""
        turn = Turn(due.measure, due.case, due.arm, due.run, dict(due.go()))
        self.add(turn)
        if self._file is not None:
            record = {"conditions": self._conditions, "turns": [asdict(each) for each in self]}
            self._file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        return turn

    def add(self, turn: Turn) -> None:
        """Take a turn that was made."""
        self._turns[turn.measure, turn.case, turn.arm, turn.run] = turn
