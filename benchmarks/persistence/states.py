"""States as a graph would save them, step by step."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.base import ChannelVersions, Checkpoint
from langgraph.checkpoint.base.id import uuid6

Step = tuple[Checkpoint, ChannelVersions, list[tuple[str, Any]]]
NextVersion = Callable[[Any, None], Any]
_WORDS = [
    "revenue",
    "grew",
    "margin",
    "region",
    "cost",
    "quarter",
    "plan",
    "share",
    "staff",
    "order",
    "price",
    "market",
    "product",
    "year",
]


def small(step: int, random_: random.Random) -> dict[str, Any]:
    """A few figures and a short text, of which a step changes two."""
    return {"counter": step, "note": f"step {step}: {_text(random_, 6)}", "label": "open"}


def conversation(step: int, random_: random.Random) -> dict[str, Any]:
    """A conversation that grows by a message a step, up to 200, and then begins anew."""
    kept: list[AnyMessage] = []
    for index in range(step % 200 + 1):
        words = _text(random.Random(step // 200 * 1000 + index), 40)
        message = HumanMessage if index % 2 == 0 else AIMessage
        kept.append(message(words, id=f"{step // 200}-{index}"))
    return {"messages": kept, "counter": step}


def megabyte(step: int, random_: random.Random) -> dict[str, Any]:
    """A document of 1 MB that stays, beside a counter and a note that change."""
    return {"document": {"text": _DOCUMENT}, "counter": step, "note": f"step {step}"}


STATES: dict[str, Callable[[int, random.Random], dict[str, Any]]] = {
    "small": small,
    "conversation": conversation,
    "1 MB": megabyte,
}


def steps(state: str, next_version: NextVersion) -> Iterator[Step]:
    """Checkpoints with the versions that are new in each, and the writes that led to them."""
    random_ = random.Random(7)
    make, versions, last = STATES[state], dict[str, Any](), dict[str, Any]()
    step = 0
    while True:
        values = make(step, random_)
        values |= {"branch:to:agent": None, "__start__": {"input": "go"}}
        changed = [name for name, value in values.items() if name not in last or last[name] != value]
        highest = max(versions.values(), default=None)
        new: ChannelVersions = {name: next_version(highest, None) for name in changed}
        versions |= new
        last = values
        checkpoint = Checkpoint(
            v=4,
            id=str(uuid6(clock_seq=step)),
            ts=datetime.now(UTC).isoformat(),
            channel_values=dict(values),
            channel_versions=dict(versions),
            versions_seen={"__input__": {}, "agent": dict(versions), "tools": dict(versions)},
            updated_channels=sorted(changed),
        )
        yield checkpoint, new, [("counter", step), ("note", f"step {step}"), ("branch:to:agent", None)]
        step += 1


def _text(random_: random.Random, words: int) -> str:
    return " ".join(random_.choice(_WORDS) for _ in range(words))


_DOCUMENT = _text(random.Random(1), 170_000)[:1_000_000]
