"""One run: its plan, and the attempts at each subtask."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

from stellwerk.errors import DatabaseError, InputError, UntrustedDataError
from stellwerk.outcome import SubtaskResult, served_attempt
from stellwerk.persistence import report_units as units
from stellwerk.persistence.report_units import Selection, Visible
from stellwerk.persistence.saver import SQLAlchemySaver
from stellwerk.persistence.traces import TraceStore
from stellwerk.report.overview import WAIT, by_price, run_lines
from stellwerk.report.records import AttemptView, RunLine, RunView, SubtaskView
from stellwerk.trace import BareAttempt, StoredAttempt

MOST_CONTENT = 20_000  # characters of a prompt or an answer that are shown


def run_view(
    traces: TraceStore,
    run_id: str | None = None,
    *,
    thread_id: str | None = None,
    visible: Visible | None = None,
    contents: bool = False,
) -> RunView | None:
    """One run; None if there is none, or it may not be seen.

    The plan is in the thread's checkpoints, which are looked for in the same database. Without them, or where
    they hold types of a program's own or are encrypted, subtasks are those of which there are attempts.

    Args:
        traces: to read from.
        run_id: of the run, or its beginning; None for the newest run of the thread.
        thread_id: of the thread.
        visible: which rows may be seen; None for all.
        contents: whether the task, instructions, prompts, answers and errors are told.

    Raises:
        InputError: if neither is given, or several runs have such an id.
        DatabaseError: if the database fails.
    """
    traces.flush(WAIT)
    chosen, database = Selection(visible=visible), traces.database
    if run_id:
        rows = database.read(lambda c: units.found(c, chosen, run_id, thread_id, tasks=contents))
        if len(rows) > 1:
            raise InputError(f"several runs have an id like {run_id!r}; give more of it, or its thread")
    elif thread_id is not None:
        newest = database.read(lambda c: units.newest_of(c, chosen, thread_id, tasks=contents))
        rows = [] if newest is None else [newest]
    else:
        raise InputError("which run? give its id, or a thread")
    if not rows:
        return None
    (run,) = run_lines(traces, rows, contents=contents)
    return _view(traces, run, json.loads(rows[0].ledger) if rows[0].ledger else None, contents=contents)


def _view(traces: TraceStore, run: RunLine, ledger: Mapping[str, Any] | None, *, contents: bool) -> RunView:
    read = traces.attempts if contents else traces.bare_attempts
    made: dict[str, list[BareAttempt]] = {}
    for attempt in read(run_id=run.run_id, thread_id=run.thread_id, newest_first=False):
        made.setdefault(attempt["subtask"], []).append(attempt)
    state = _state(traces, run)
    planned = _planned(state)
    results = _results(state)
    done = {name for name, tried in made.items() if any(attempt["accepted"] for attempt in tried)}
    known = planned or [
        {"id": name, "worker": attempts[0]["worker"], "depends_on": []} for name, attempts in made.items()
    ]
    # Of the week before, so that a tier has one place in the order whether this run came to it or not.
    week = Selection(since=run.started_at - timedelta(days=7), until=run.started_at + timedelta(days=1))
    work = traces.database.read(lambda c: units.work(c, week))
    return RunView(
        run=run,
        subtasks=[
            _subtask(
                one,
                made.get(one["id"], ()),
                results.get(one["id"]),
                _open(run, one["id"] in made or done.issuperset(one["depends_on"])),
                contents=contents,
            )
            for one in known
        ],
        planned=bool(planned),
        tiers=by_price(work),
        method=ledger["all_large"]["method"] if ledger and run.saving else None,
        answer=_cut(state.get("answer")) if contents and run.outcome in ("ok", "failed") else None,
    )


def _state(traces: TraceStore, run: RunLine) -> Mapping[str, Any]:
    """The run's state at its last checkpoint; empty where none can be read."""
    if not run.thread_id:
        return {}
    saver = SQLAlchemySaver(traces.database)
    at: Any = {"configurable": {"thread_id": run.thread_id, "checkpoint_ns": ""}}
    try:
        latest = saver.get_tuple(at)
        if latest is None:
            return {}
        for found in (latest, *saver.list(at, filter={"run_id": run.run_id}, limit=1)):
            values: Mapping[str, Any] = found.checkpoint["channel_values"]
            if values.get("run_id") == run.run_id:
                return values
    except (UntrustedDataError, DatabaseError):  # it is the program's own to show
        return {}
    return {}


def _planned(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Subtasks of all plans of the run; of those with one id the last."""
    plans = [each["plan"] for each in state.get("replaced") or ()]
    if final := state.get("final_plan"):
        plans.append(final)
    found: dict[str, dict[str, Any]] = {}
    for plan in plans:
        for one in plan["subtasks"]:
            found[one["id"]] = one
    return list(found.values())


def _results(state: Mapping[str, Any]) -> dict[str, SubtaskResult]:
    found: dict[str, SubtaskResult] = {}
    for each in state.get("replaced") or ():
        found.update(each["results"])
    return found | (state.get("results") or {})


def _subtask(
    planned: Mapping[str, Any],
    made: Sequence[BareAttempt],
    result: SubtaskResult | None,
    open_: str | None,
    *,
    contents: bool,
) -> SubtaskView:
    attempts = sorted(made, key=lambda attempt: (attempt["number"], attempt["created_at"]))
    accepted = [attempt for attempt in attempts if attempt["accepted"]]
    served = served_attempt(result) if result is not None else None
    if result is not None:
        status: str = result["status"]
    elif accepted:
        status = "accepted"
    else:
        status = open_ or ("failed" if attempts else "skipped")
    last = (accepted or attempts)[-1]["tier"] if attempts else None
    prices = [attempt["usd"] for attempt in attempts if attempt["usd"] is not None]
    reason = result.get("reason") if result is not None else None
    if reason is None and status == "failed" and attempts:
        reason = attempts[-1]["reason"]
    instruction = planned.get("instruction") or _instruction(attempts)
    return SubtaskView(
        id=planned["id"],
        worker=planned["worker"],
        status=status,
        tier=served["tier"] if served is not None else last,
        depends_on=list(planned["depends_on"]),
        attempts=[_attempt(attempt) for attempt in attempts],
        usd=sum(prices) if prices else None,
        seconds=sum(attempt["seconds"] for attempt in attempts),
        reason=reason,
        instruction=_cut(instruction) if contents else None,
    )


def _open(run: RunLine, has_inputs: bool) -> str | None:
    """How a subtask stands that has no result yet; None where it will get none."""
    if run.outcome == "running":
        return "running" if has_inputs else "waiting"  # each begins as soon as its inputs are there
    return "waiting" if run.outcome == "interrupted" else None


def _instruction(attempts: Iterable[BareAttempt]) -> str | None:
    for attempt in attempts:
        if attempt["context"] is not None and attempt["context"]["instruction"]:
            return attempt["context"]["instruction"]
    return None


def _attempt(attempt: BareAttempt | StoredAttempt) -> AttemptView:
    decision = attempt["decision"]
    view: dict[str, Any] = {}
    if "prompt" in attempt:  # with its contents
        stored = cast("StoredAttempt", attempt)
        said = stored["prompt"]
        view = {
            "prompt": None if said is None else [_message(message) for message in said],
            "answer": _cut(stored["answer"]),
            "detail": stored["detail"],
        }
    return AttemptView(
        trace_id=attempt["trace_id"],
        number=attempt["number"],
        tier=attempt["tier"],
        model=attempt["model"],
        accepted=attempt["accepted"],
        reason=attempt["reason"],
        router=decision["router"] if decision else None,
        why=decision["why"] if decision else None,
        propensity=decision["propensity"] if decision else None,
        calls=len(attempt["calls"]),
        input=attempt["input"],
        cached=attempt["cached"],
        output=attempt["output"],
        usd=attempt["usd"],
        seconds=attempt["seconds"],
        ended_at=attempt["created_at"],
        **view,
    )


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"role": str(message["role"]), "content": _cut(str(message.get("content") or ""))}
    if calls := message.get("tool_calls"):
        shown["content"] = f"{shown['content']}\n{json.dumps(calls, ensure_ascii=False)}".strip()
    return shown


def _cut(said: str | None) -> str | None:
    if said is None or len(said) <= MOST_CONTENT:
        return said
    return f"{said[:MOST_CONTENT]}… ({len(said) - MOST_CONTENT:,} characters more)"
