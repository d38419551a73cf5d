"""Messages of a bank's customers: which of 77 intents is each of?

Rows are those of Banking77's published training set, shuffled once. The worker is told the labels and no
example: on a dozen messages that are not among these, one example of each label made the prompt five times
as long and no model clearly better.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.data import data_dir
from benchmarks.routing_local.jobs import Item, Job, Part
from stellwerk.errors import DocumentError
from stellwerk.worker import Worker
from stellwerk.workers import classify_worker

FILE = "conversion/banking77_train.csv"
SOURCE = "Banking77 is published at https://github.com/PolyAI-LDN/task-specific-datasets (CC BY 4.0)"
TRACK = "banking77"
SEED = 77
SIZE = 10  # messages of a job
TRIED = frozenset({284, 4055, 8031, 8567, 9591})  # rows that the prompt was tried on


@dataclass(frozen=True)
class Message:
    """A message with its intent; `row` is its place in the published file, from 0."""

    row: int
    text: str
    intent: str


def load_messages() -> list[Message]:
    """Every message, shuffled, each text once.

    Raises:
        ConfigurationError: `STELLWERK_DATA` is not set or names no folder.
        DocumentError: that folder lacks the file.
    """
    path = data_dir() / FILE
    if not path.is_file():
        raise DocumentError(f"{path} does not exist. {SOURCE}.")
    found: dict[str, Message] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        for row, line in enumerate(csv.DictReader(lines)):
            text = " ".join(line["text"].split())
            found.setdefault(text.lower(), Message(row, text, line["category"]))
    messages = list(found.values())
    random.Random(SEED).shuffle(messages)
    return [message for message in messages if message.row not in TRIED]


def intent_worker(messages: list[Message]) -> Worker:
    """The worker: all labels that there are."""
    return classify_worker(sorted({message.intent for message in messages}))


def message_jobs(part: Part, start: int, count: int) -> Iterator[Job]:
    """Jobs of ten messages each: `count` of them, from the `start`-th of the shuffled ones on."""
    messages = load_messages()
    worker = intent_worker(messages)
    for place in range(start, start + count):
        rows = messages[place * SIZE : (place + 1) * SIZE]
        yield Job(
            name=f"{TRACK}/{place}",
            track=TRACK,
            part=part,
            unit=TRACK,
            workers=[worker],
            items=[_item(message) for message in rows],
        )


def _item(message: Message) -> Item:
    def right(value: Any) -> float:
        return float(value["label"] == message.intent)

    key = f"{TRACK}/{message.row}"
    return Item(key=key, worker="classify", instruction=message.text, right=right, group=key)
