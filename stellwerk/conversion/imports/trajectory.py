"""What an agent did, as a list of messages, and its reward; as benchmarks of agents write it down.

A row is `{"messages": [...], "reward": 1.0}`; the list may also be called `traj`, `trajectory` or
`conversation`, and the reward `score`. Each message of the assistant is a call, with all messages before it
as its prompt, and what its tools gave from the messages that follow. All calls of a row are one run and,
unless the row names a thread, one thread. `call_site`, `model`, `tools`, `thread_id`, `user_id` and
`timestamp` are looked for in the row and its `metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from langchain_core.messages import HumanMessage

from stellwerk.conversion.foreign_call import ForeignCall
from stellwerk.conversion.imports.chat import (
    UnreadableError,
    is_broken,
    mapping,
    messages_of,
    turns,
    unpacked,
)
from stellwerk.conversion.imports.parsed import (
    ImportOptions,
    Parsed,
    first,
    judged,
    moment,
    number,
    origin_at,
    text,
    trace_id,
)
from stellwerk.conversion.reply import definitions
from stellwerk.trace import FeedbackTrace, RunTrace

LISTS = ("messages", "traj", "trajectory", "conversation")
REWARDS = ("reward", "score")


def parse(row: Mapping[str, Any], options: ImportOptions) -> Parsed:
    """The calls of a trajectory, how it ended, and its reward.

    Raises:
        UnreadableError: if it holds no messages.
    """
    given = unpacked(first(row, *LISTS))
    if not isinstance(given, list):
        raise UnreadableError(f"it has no list of messages; it may be called {', '.join(LISTS)}")
    told = {**mapping(row.get("metadata")), **{name: row[name] for name in row if name not in LISTS}}
    messages = messages_of(given)
    # What it is named by may be the same for several tries at a task.
    run = trace_id("trajectory", [told.get(name) for name in ("id", "run_id", "task_id", "trial")], given)
    thread, origin = origin_at(
        row,
        options,
        user=first(told, "user_id", "user"),
        thread=first(told, "thread_id", "conversation_id", "session_id") or run,
    )
    ended = moment(first(told, "timestamp", "created_at")) or datetime.now(UTC)
    found = Parsed()
    for turn in turns(messages):
        call = ForeignCall(
            trace_id=trace_id("trajectory", run, turn.number),
            call_site=text(told.get("call_site")) or options.call_site or "agent",
            model=text(told.get("model")) or options.model or "unknown",
            prompt=turn.prompt,
            answer=str(turn.answer.text) or None,
            uses=turn.uses,
            offered=definitions(told),
            run_id=run,
            thread_id=thread,
            origin=origin,
            ended_at=ended,
        )
        found.calls.append(judged(call, None, broken=is_broken(turn.answer)))
        found.metadata[call.trace_id] = told
    if not found.calls:
        raise UnreadableError("no message in it is the assistant's")
    reward = number(first(row, *REWARDS))
    if reward is not None:
        asked = next((str(each.text) for each in messages if isinstance(each, HumanMessage)), "")
        found.runs.append(
            RunTrace(
                run_id=run,
                thread_id=thread,
                task=asked,
                outcome="ok" if reward >= options.succeeds_at else "failed",
                started_at=ended,
                updated_at=ended,
                origin=origin,
            )
        )
        found.feedback.append(
            FeedbackTrace(
                feedback_id=trace_id("reward", run),
                run_id=run,
                thread_id=thread,
                score=reward,
                who="reward",
                source="gold",
                created_at=ended,
                origin=origin,
            )
        )
    return found
