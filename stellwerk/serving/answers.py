"""Answers of people, as clients send them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stellwerk.errors import InputError
from stellwerk.graphs.questions import Asked
from stellwerk.graphs.session import Session
from stellwerk.serving.problem import conflict


async def check_waits(session: Session) -> None:
    """Check that a thread can be resumed now.

    Raises:
        Problem: if it is being run, or nothing waits.
    """
    await session.check_free()
    if not (await session.state())[1]:
        raise conflict(
            "Nothing waits to be resumed",
            "No run of this thread waits for answers or was broken off; POST /threads/{id}/runs begins one.",
        )


def decided(given: Mapping[str, Mapping[str, Any]], asked: Sequence[Asked]) -> dict[str, Any]:
    """The answers as the run takes them.

    Raises:
        InputError: if one does not fit, naming its question.
    """
    by_id = {one.id: one for one in asked}
    answers = {}
    for name, decision in given.items():
        if name not in by_id:
            open_ = ", ".join(by_id) or "none"
            raise InputError(f"answers.{name[:64]}: no open question has this id; open are {open_}")
        try:
            answers[name] = by_id[name].decide(decision)
        except ValueError as error:
            raise InputError(f"answers.{name}: {error}") from None
    return answers
