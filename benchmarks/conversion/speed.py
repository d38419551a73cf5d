"""How long curating takes, and how much memory."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from stellwerk.conversion.curate import curate
from stellwerk.conversion.example import Example
from stellwerk.conversion.redaction.redactor import Redactor

NEW = 250  # characters of a question; its answer and a call of a tool have some 100 more
_SYSTEM = {
    "role": "system",
    "content": "You help the customers of a bank. Say in JSON which of 77 intents a message has. " * 15,
}
_ANSWER = '{"intent": "card_arrival", "reply": "We will look into it today."}'


@dataclass(frozen=True)
class Speed:
    """What curating so many examples took."""

    arm: str
    examples: int
    kept: int
    seconds: float
    processor: float
    megabytes: float
    """Most memory of the process up to then."""


def speed(arm: str, count: int, texts: Sequence[str], people: Sequence[str], redactor: Redactor) -> Speed:
    """Curate so many examples, a third of them with people in them."""
    begun, busy = time.perf_counter(), time.process_time()
    with curate(_examples(count, texts, people), redactor=redactor) as curation:
        kept = sum(1 for _ in curation)
    taken, busy = time.perf_counter() - begun, time.process_time() - busy
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Speed(arm, count, kept, taken, busy, memory)


def _examples(count: int, texts: Sequence[str], people: Sequence[str]) -> Iterator[Example]:
    draw = random.Random(0)
    for number in range(count):
        asked = " ".join(draw.sample(texts, 4))
        if number % 3 == 0:
            asked = f"{draw.choice(people)} {asked}"
        asked = asked[:NEW]
        yield Example(
            trace_id=f"{number:032x}",
            call_site=f"site {number % 7}",
            prompt=[_SYSTEM, {"role": "user", "content": asked}],
            answer=_ANSWER,
            tool_calls=[{"name": "look_up", "args": {"text": asked[:40], "number": number}}],
            value={"intent": "card_arrival", "reply": "We will look into it today."},
            input=400,
            output=30,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
