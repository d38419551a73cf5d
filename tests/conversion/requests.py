"""Requests to an assistant, of a few jobs, and what was answered."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from stellwerk.conversion.example import Example

_PLACES = ["Lisbon", "Graz", "Tampere", "Leeds", "Porto", "Turin", "Ghent", "Malmö", "Basel", "Cork", "Split"]
_DAYS = ["today", "tomorrow", "on Monday", "on Friday", "next week", "this weekend", "on the third of May"]
_NAMES = ["Ada", "Grace", "Edsger", "Barbara", "Alan", "Katherine", "Donald", "Frances", "Niklaus", "Radia"]
_THINGS = ["desk", "lamp", "office chair", "keyboard", "kettle", "bookshelf", "headset", "monitor", "printer"]
_FAULTS = ["arrived broken", "has a scratch", "does not switch on", "is the wrong colour", "lacks a screw"]

WORDINGS = {
    "weather": [
        "what will the weather be like in {place} {day}",
        "is it going to rain in {place} {day}?",
        "how cold does it get in {place} {day}",
        "give me the forecast for {place} {day} please",
        "will there be snow {day} around {place}",
        "do I need an umbrella in {place} {day}",
    ],
    "returns": [
        "my {thing} {fault}, I want my money back",
        "the {thing} I ordered {fault}; how do I return it?",
        "please refund order {number}, the {thing} {fault}",
        "I would like to exchange the {thing} from order {number} since it {fault}",
        "who pays the postage if the {thing} {fault} and I send it back",
        "order {number}: {thing} {fault}. Refund?",
    ],
    "meetings": [
        "schedule a meeting with {name} {day} at {hour}",
        "move my appointment with {name} to {hour} {day}",
        "cancel the call with {name} {day}",
        "invite {name} and {other} to a planning session {day}",
        "when is {name} free {day} for a half hour call",
        "set up a video conference between {name} and {other} at {hour}",
    ],
    "translations": [
        "how do you say good evening in the language of {place}",
        "translate 'where is the station' into Portuguese",
        "what is the Finnish word for {thing}",
        "say thank you very much in Dutch",
        "translate the sentence 'the {thing} is too expensive' into German",
        "which phrase do Italians use for I am sorry, spelled out",
    ],
}
STRANGE = [
    "who won the chess olympiad in the nineteen eighties",
    "prove that there are infinitely many primes",
    "write a limerick about a sleepy dragon",
    "recommend a workout against back pain",
    "why do cats purr when nobody touches them",
    "estimate the mass of a neutron star",
    "simmer onions with saffron, then add vinegar",
    "does quantum entanglement violate causality",
    "compare keynesian and austrian economics",
    "my guitar buzzes on the seventh fret",
    "explain photosynthesis using an analogy",
    "which vaccines did smallpox eradication rely upon",
]


def asked(job: str, count: int, seed: int = 0) -> list[str]:
    """Requests of one job."""
    draw = random.Random(f"{job} {seed}")
    return [
        draw.choice(WORDINGS[job]).format(
            place=draw.choice(_PLACES),
            day=draw.choice(_DAYS),
            name=draw.choice(_NAMES),
            other=draw.choice(_NAMES),
            thing=draw.choice(_THINGS),
            fault=draw.choice(_FAULTS),
            number=draw.randrange(1_000, 9_999),
            hour=f"{draw.randrange(8, 18)}:{draw.choice(('00', '15', '30'))}",
        )
        for _ in range(count)
    ]


def calls(job: str, count: int, *, site: str = "agent", seed: int = 0, **more: Any) -> list[Example]:
    """Requests of one job with the tool calls that answer them, as the calls of a call site."""
    draw = random.Random(f"{job} {seed} answers")
    return [
        made(
            text,
            f"{job}-{seed}-{number:05}",
            site,
            tool_calls=[{"name": f"do_{job}", "args": {job: draw.choice(text.split())}}],
            **more,
        )
        for number, text in enumerate(asked(job, count, seed))
    ]


def made(text: str, id: str, site: str = "agent", **more: Any) -> Example:
    """One call, in which only the text matters."""
    prompt = [{"role": "system", "content": "You help."}, {"role": "user", "content": text}]
    return Example(trace_id=id, call_site=site, prompt=prompt, answer=None, **more)


def several(jobs: Sequence[str] = tuple(WORDINGS), count: int = 150, seed: int = 0) -> list[Example]:
    """Calls of several jobs at one call site."""
    return [example for job in jobs for example in calls(job, count, seed=seed)]
