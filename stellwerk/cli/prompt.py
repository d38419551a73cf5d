"""A prompt at which a person answers questions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.text import Text

from stellwerk.cli.people import LATER, exact, shown
from stellwerk.cli.render import one_line, plain
from stellwerk.graphs.questions import Asked, short_ids, typed


def somebody_is_there() -> bool:
    """Whether questions can be shown to a person, and answered."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def answers_of(asked: Sequence[Asked], console: Console) -> dict[str, Any]:
    """What a person answers, by the ids of the questions; those that are left for later are not among them.

    Raises:
        KeyboardInterrupt: if the person leaves.
    """
    with suppress(ImportError):
        import readline  # noqa: F401  # `input` edits lines with it
    answers: dict[str, Any] = {}
    short = short_ids(asked)
    for number, one in enumerate(asked, 1):
        title = f"question {number} of {len(asked)}: {short[one.id]}"
        console.print()
        console.print(shown(one, title, {**one.meanings, LATER: "leave it open"}), soft_wrap=False)
        _forget_what_was_typed()
        try:
            answer = _answer(one, console)
        except EOFError:
            console.print()
            break
        if answer is not None:
            answers[one.id] = answer[0]
    return answers


def _answer(one: Asked, console: Console) -> tuple[Any] | None:
    """What is answered to a question; None for later."""
    words = f"{', '.join(one.meanings)} or {LATER}"
    while True:
        said = _line(f"{words}: ").strip()
        kind, colon, rest = said.partition(":")
        kind = kind.strip().lower()
        if not kind:
            continue
        if kind == LATER:
            return None
        try:
            if colon or kind not in one.meanings:
                return (one.answer(kind, rest.strip() if colon else None),)
            return (_asked_further(one, kind, console),)
        except ValueError as error:
            _refuse(error, console)
        except EOFError:  # out of a value, back to the decision
            console.print()


def _asked_further(one: Asked, kind: str, console: Console) -> Any:
    if kind == "reject":
        return one.answer(kind, _line("why, for the model (Enter for no reason): ").strip())
    if kind == "respond":
        return _until_it_fits(lambda: one.answer(kind, _line("value: ").strip()), console)
    if kind != "edit":
        return one.answer(kind)
    properties: Mapping[str, Any] = one.part("args").get("properties") or {}
    names = list(dict.fromkeys([*one.args, *properties]))
    if not names:
        return one.answer(kind, _line("all arguments as JSON: "))
    console.print("Enter keeps what is in brackets", style="dim")
    # References of a part are to definitions of the whole.
    definitions = {key: one.part("args").get(key, {}) for key in ("$defs", "definitions")}
    args: dict[str, Any] = {}
    for name in names:
        kept = f"[{one_line(exact(one.args[name]), 60)}]" if name in one.args else "[not given]"
        label, schema = f"{one_line(name, 60)} {kept}: ", {**definitions, **properties.get(name, {})}

        def field(
            label: str = label, schema: Mapping[str, Any] = schema, name: str = name
        ) -> tuple[Any, ...]:
            said = _line(label).strip()
            return (typed(said, schema, one_line(name, 60)),) if said else ()

        if given := _until_it_fits(field, console):
            args[name] = given[0]
        elif name in one.args:
            args[name] = one.args[name]
    answer = one.answer(kind, args=args)
    console.print(Text(f"with {exact(args)}"), soft_wrap=False)
    _forget_what_was_typed()
    if _line("Enter to take that, anything else to begin again: ").strip():
        raise ValueError("it was not taken; decide again")
    return answer


def _until_it_fits(ask: Callable[[], Any], console: Console) -> Any:
    while True:
        try:
            return ask()
        except ValueError as error:
            _refuse(error, console)


def _refuse(error: ValueError, console: Console) -> None:
    console.print(Text(f"that does not fit: {plain(str(error))}", style="red"), soft_wrap=False)


def _line(label: str) -> str:
    if sys.stdout.isatty():
        return input(label)
    # `input` would write the label into a file that is to hold the answer of the run.
    sys.stderr.write(label)
    sys.stderr.flush()
    if not (line := sys.stdin.readline()):
        raise EOFError
    return line.rstrip("\n")


def _forget_what_was_typed() -> None:
    """What was typed before a question was seen is no answer to it."""
    try:
        import termios
    except ImportError:  # on Windows
        return
    with suppress(termios.error, OSError):
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
