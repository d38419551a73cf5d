"""What a run asks of people: how it is shown, and what is answered by options."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stellwerk.cli.render import one_line, plain
from stellwerk.errors import InputError
from stellwerk.graphs.questions import Asked, short_ids

LATER = "later"
_FORMS = {"approve": "approve", "edit": "edit:{JSON}", "reject": "reject:WHY", "respond": "respond:VALUE"}
_DECISION = re.compile(r"(?:([^=:]*)=)?([^=:]*)(?::(.*))?", re.DOTALL)
_UNSEEN = {"Cc", "Cf", "Zl", "Zp"}  # control, format, and separators of lines and paragraphs
_MOST_SHOWN = 4_000  # characters of one argument


def decided(decisions: Sequence[str], asked: Sequence[Asked]) -> dict[str, Any]:
    """The answers that were given as `ID=DECISION`, by the whole ids.

    Raises:
        InputError: if one does not fit.
    """
    if not asked:
        raise InputError("no question of this run is open, so there is nothing to decide")
    answers: dict[str, Any] = {}
    for decision in decisions:
        match = _DECISION.fullmatch(decision)
        if match is None:
            raise InputError(f"--decision {decision[:80]!r} cannot be read; give ID=approve or such")
        one = _meant(match[1], asked)
        if one.id in answers:
            raise InputError(f"question {match[1] or short_ids(asked)[one.id]} is answered twice")
        try:
            answers[one.id] = one.answer(match[2], match[3])
        except ValueError as error:
            raise InputError(f"--decision {decision[:80]!r}: {error}") from None
    return answers


def shown(one: Asked, title: str, choices: Mapping[str, str]) -> RenderableType:
    """A question with all that is to be known for an answer.

    Args:
        one: the question.
        title: of it.
        choices: what may be answered, with what it means.
    """
    parts: list[RenderableType] = [Text(title, style="bold magenta")]
    facts, options = _grid(), _grid()
    for name, fact in _facts(one):
        facts.add_row(Text(name), Text(fact))
    for choice, meaning in choices.items():
        options.add_row(Text(one_line(choice, 80), style="bold"), Text(one_line(meaning)))
    if one.structured:
        parts.append(Text(plain(str(one.value.get("question", "")))))
        parts.append(facts)
        if error := one.value.get("error"):
            parts.append(Text(plain(str(error)), style="red"))
    else:
        parts.append(Text(exact(one.value)))
    return Group(*parts, Text(), options)


def questions_shown(asked: Sequence[Asked]) -> RenderableType:
    """Questions to be answered by `--decision`."""
    short = short_ids(asked)
    several = []
    for number, one in enumerate(asked, 1):
        choices = {f"{short[one.id]}={_FORMS.get(kind, kind)}": said for kind, said in one.meanings.items()}
        several += [Text(), shown(one, f"question {number} of {len(asked)}: {short[one.id]}", choices)]
    return Group(*several)


def example(asked: Sequence[Asked]) -> list[str]:
    """Words that answer each question in the first way that it allows."""
    short = short_ids(asked)
    words = []
    for one in asked:
        kind = next(iter(one.meanings))
        words += ["--decision", f"{short[one.id]}={_FORMS.get(kind, kind)}"]
    return words


def exact(value: Any) -> str:
    """A value as a terminal may show it; what hides or is no text is written out as JSON."""
    if isinstance(value, str):
        hides = _hides(value) or value != value.strip() or not value
        text = json.dumps(value) if hides or _is_json(value) else value
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
        text = json.dumps(value, default=str) if _hides(text) else text
    left = len(text) - _MOST_SHOWN
    return text if left <= 0 else f"{text[:_MOST_SHOWN]}… ({left:,} characters more; --json has all)"


def _facts(one: Asked) -> list[tuple[str, str]]:
    if not one.structured:
        return []
    value = one.value
    who = one_line(str(value.get("worker", "")))
    if subtask := one_line(str(value.get("subtask") or "")):
        who += f", subtask {subtask}"
    facts = [("asked by", who)]
    if tool := value.get("tool"):
        facts.append(("tool", one_line(str(tool))))
    if value.get("instruction"):
        facts.append(("instruction", exact(value["instruction"])))
    facts += [(f"  {one_line(str(name), 60)}", exact(arg)) for name, arg in (value.get("args") or {}).items()]
    if inputs := value.get("inputs"):
        facts += [(f"given by {one_line(str(name), 60)}", exact(given)) for name, given in inputs.items()]
    if (found := value.get("value")) is not None:
        facts.append(("what was found", exact(found)))
    if unknown := value.get("unknown"):
        facts.append(("not known", one_line(", ".join(map(str, unknown)))))
    return facts


def _hides(text: str) -> bool:
    """Whether characters of it cannot be seen, or turn the direction of what follows."""
    return any(unicodedata.category(each) in _UNSEEN and each not in "\n\t" for each in text)


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", max_width=28, overflow="fold")
    grid.add_column(overflow="fold")
    return grid


def _meant(name: str | None, asked: Sequence[Asked]) -> Asked:
    short = ", ".join(short_ids(asked).values())
    if name is None:
        if len(asked) > 1:
            raise InputError(
                f"{len(asked)} questions are open; say which is answered, as ID=approve: {short}"
            )
        return asked[0]
    found = [one for one in asked if name and one.id.startswith(name.strip().lower())]
    if len(found) == 1:
        return found[0]
    which = f"{len(found)} open questions begin with" if found else "there is no open question"
    raise InputError(f"{which} {name[:40]!r}; open are {short}")


def _is_json(said: str) -> bool:
    try:
        json.loads(said)
    except (ValueError, RecursionError):
        return False
    return True
