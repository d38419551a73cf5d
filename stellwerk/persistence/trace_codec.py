"""Traces as rows, and back."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage

from stellwerk.errors import ConfigurationError
from stellwerk.outcome import Call, ToolUse, answer_digest
from stellwerk.persistence.origins import Gate, OriginKeys
from stellwerk.persistence.schema.columns import MAX_KEY, digest, text
from stellwerk.trace import (
    AttemptTrace,
    BareAttempt,
    FeedbackTrace,
    RunTrace,
    StoredAttempt,
    StoredFeedback,
    StoredRun,
    tool_uses,
)

Content = Literal["full", "hash", "none"]
Row = Any  # a SQLAlchemy row; its columns are known by the statement alone

BARE = ("trace", "value", *(name for name in BareAttempt.__annotations__ if name != "trace_id"))
"""Columns of `BareAttempt`."""

MOST_CONTENT = 4_000_000  # characters of an attempt in all; MariaDB refuses a statement of 16 MB


@dataclass(frozen=True, slots=True)
class ToldRow:
    """A row, whether it may be written, and the definitions of tools that it names, as a row of their own."""

    row: dict[str, Any]
    gate: Gate
    tools: dict[str, Any] | None = None


class TraceCodec:
    """Turns traces into rows, with as much of their content as is wanted.

    Args:
        content: `full` keeps prompts, answers, tool calls and values. `hash` keeps a keyed hash of the task,
            of the prompt and the answer, of the value, and of each tool's arguments and output, so that equal
            ones can be told without being read; of details of verdicts and errors, nothing is kept. `none`
            keeps nothing of all that, only the tools' names. Both leave the instruction out of the context.
        hash_key: for `hash`, at least 16 bytes; without a key, a short text could be guessed from its hash.
        keys: make the hashes of whom a trace comes from.

    Raises:
        ConfigurationError: if `content` is another, or the key is missing or too short.
    """

    def __init__(self, content: Content, hash_key: bytes | None, keys: OriginKeys | None = None) -> None:
        if content not in ("full", "hash", "none"):
            raise ConfigurationError(f"content is {content!r}; use 'full', 'hash' or 'none'")
        if content == "hash" and len(hash_key or b"") < 16:
            raise ConfigurationError("content='hash' needs a hash_key of at least 16 bytes; keep it secret")
        self._content: Content = content
        self._key = hashlib.sha256(hash_key or b"").digest()
        self._keys = keys or OriginKeys()

    def attempt(self, trace: AttemptTrace) -> ToldRow:
        """The row of an attempt."""
        prompt = [_chat(message) for message in trace.messages]
        prompt_text = _json(prompt)
        kept: Content = self._content
        value = _json(trace.value) if kept == "full" and trace.value is not None else None
        detail = trace.verdict.get("detail")
        uses = tool_uses(trace.calls)
        tools = _json([self._tool(kept, use) for use in uses])
        calls = _json([_call(kept, call) for call in trace.calls])
        if kept == "full" and _size(prompt_text, trace.answer, value, detail, tools, calls) > MOST_CONTENT:
            kept = "none"
            tools = _json([self._tool(kept, use) for use in uses])
            calls = _json([_call(kept, call) for call in trace.calls])
        full = kept == "full"
        decision, verdict = trace.decision, trace.verdict
        thread_id = self._keys.known_as(trace.thread_id, private=trace.origin.private)
        gate = self._keys.gate(trace.thread_id, trace.origin)
        offered = _tool_set(trace.offered) if full and trace.offered else None
        row = {
            "trace": bytes.fromhex(trace.trace_id),
            "run": run_key(thread_id, trace.run_id),
            "thread": digest(thread_id),
            "run_id": _name(trace.run_id),
            "thread_id": _bytes(thread_id),
            "subtask": _bytes(trace.subtask),
            "worker": _name(trace.worker),
            "worker_version": trace.worker_version,
            "tier": _name(trace.tier),
            "model": trace.model,
            "number": trace.number,
            "router": decision["router"] if decision else None,
            "router_version": decision["version"] if decision else None,
            "propensity": _finite(decision["propensity"]) if decision else None,
            "decision": _json(decision) if decision else None,
            "accepted": verdict["accepted"],
            "reason": verdict.get("reason"),
            "detail": detail if full else None,  # it quotes the answer
            "checks": _json(trace.checks),
            "content": kept,
            "prompt": prompt_text if full else None,
            "answer": trace.answer if full else None,
            "prompt_hash": self._hash(kept, prompt_text),
            "answer_hash": self._hash(kept, trace.answer),
            "value": value if full else None,
            "tools": tools,
            "calls": calls,
            "input": sum(call["usage"]["input"] for call in trace.calls),
            "cached": sum(call["usage"]["cached"] for call in trace.calls),
            "output": sum(call["usage"]["output"] for call in trace.calls),
            "usd": _finite(trace.usd),
            "seconds": _finite(sum(call["seconds"] for call in trace.calls)) or 0.0,
            "logprobs": _json(trace.logprobs) if trace.logprobs is not None else None,
            "context": _context(trace, full),
            "episode": bytes.fromhex(trace.episode) if trace.episode else None,
            # A value that is kept has its digest worked out when it is read.
            "value_hash": None if trace.value is None else self._hash(kept, _canonical(trace.value)),
            "origin": gate.row["origin"] if gate.row else None,
            "offered": offered["tools"] if offered else None,
            "created_at": trace.created_at,
        }
        return ToldRow(row, gate, offered)

    def run(self, trace: RunTrace) -> ToldRow:
        """The row of a run."""
        total = trace.ledger["total"] if trace.ledger else None
        thread_id = self._keys.known_as(trace.thread_id, private=trace.origin.private)
        gate = self._keys.gate(trace.thread_id, trace.origin)
        row = {
            "run": run_key(thread_id, trace.run_id),
            "thread": digest(thread_id),
            "run_id": _name(trace.run_id),
            "thread_id": _bytes(thread_id),
            "task": trace.task[:MOST_CONTENT] if self._content == "full" else None,
            "task_hash": self._hash(self._content, trace.task),
            "outcome": trace.outcome,
            "detail": trace.detail if self._content == "full" else None,
            "ledger": _json(trace.ledger) if trace.ledger else None,
            "calls": total["calls"] if total else None,
            "input": total["input"] if total else None,
            "cached": total["cached"] if total else None,
            "output": total["output"] if total else None,
            "usd": _finite(total["usd"]) if total else None,
            "wall_seconds": _finite(trace.ledger["wall_seconds"]) if trace.ledger else None,
            "versions": _json(trace.versions),
            "origin": gate.row["origin"] if gate.row else None,
            "started_at": trace.started_at,
            "updated_at": trace.updated_at,
        }
        return ToldRow(row, gate)

    def feedback(self, trace: FeedbackTrace) -> ToldRow:
        """The row of what somebody said."""
        thread_id = self._keys.known_as(trace.thread_id, private=trace.origin.private)
        row = {
            "feedback": bytes.fromhex(trace.feedback_id),
            "trace": None if trace.trace_id is None else bytes.fromhex(trace.trace_id),
            "run": run_key(thread_id, trace.run_id),
            "run_id": _name(trace.run_id),
            "thread_id": _bytes(thread_id),
            "score": _finite(trace.score),
            "label": trace.label,
            "comment": trace.comment if self._content == "full" else None,
            "who": trace.who,
            "source": trace.source,
            "created_at": trace.created_at,
        }
        return ToldRow(row, self._keys.gate(trace.thread_id, trace.origin))

    def _hash(self, kept: Content, said: str | None) -> bytes | None:
        if kept != "hash" or said is None:
            return None
        data = said.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self._key, digest_size=16).digest()

    def _tool(self, kept: Content, use: ToolUse) -> dict[str, Any]:
        if kept == "full":
            return dict(use)
        tool: dict[str, Any] = {"name": use["name"], "failed": use["failed"], "seconds": use["seconds"]}
        if "by" in use:
            tool["by"] = use["by"]
        for field, said in (("args", _json(use["args"])), ("output", use["output"])):
            if (hashed := self._hash(kept, said)) is not None:
                tool[f"{field}_hash"] = hashed.hex()
        return tool


def run_key(thread_id: str, run_id: str) -> bytes:
    """The key of a run: its id is the caller's, and only unique within a thread."""
    return digest(f"{len(thread_id)}:{thread_id}{run_id}")


def read_bare_attempt(row: Row) -> BareAttempt:
    """An attempt's row, of which only `BARE` was asked for."""
    value = _parsed(row.value)
    return BareAttempt(
        trace_id=bytes(row.trace).hex(),
        run_id=text(row.run_id),
        thread_id=text(row.thread_id),
        subtask=text(row.subtask),
        worker=text(row.worker),
        worker_version=row.worker_version,
        tier=text(row.tier),
        model=row.model,
        number=row.number,
        decision=_parsed(row.decision),
        accepted=bool(row.accepted),
        reason=row.reason,
        value_hash=_hex(row.value_hash) if value is None else answer_digest(value),
        calls=json.loads(row.calls),
        origin=_hex(row.origin),
        offered=_hex(row.offered),
        input=row.input,
        cached=row.cached,
        output=row.output,
        usd=row.usd,
        seconds=row.seconds,
        logprobs=_parsed(row.logprobs),
        context=_parsed(row.context),
        episode=_hex(row.episode),
        created_at=row.created_at,
    )


def read_attempt(row: Row) -> StoredAttempt:
    """An attempt's row."""
    return StoredAttempt(
        **read_bare_attempt(row),
        detail=row.detail,
        checks=json.loads(row.checks),
        content=row.content,
        prompt=_parsed(row.prompt),
        answer=row.answer,
        prompt_hash=_hex(row.prompt_hash),
        answer_hash=_hex(row.answer_hash),
        value=_parsed(row.value),
        tools=json.loads(row.tools),
    )


def read_run(row: Row) -> StoredRun:
    """A run's row."""
    return StoredRun(
        run_id=text(row.run_id),
        thread_id=text(row.thread_id),
        task=row.task,
        task_hash=_hex(row.task_hash),
        outcome=row.outcome,
        detail=row.detail,
        ledger=_parsed(row.ledger),
        wall_seconds=row.wall_seconds,
        versions=json.loads(row.versions),
        started_at=row.started_at,
        updated_at=row.updated_at,
    )


def read_feedback(row: Row) -> StoredFeedback:
    """A row of feedback."""
    return StoredFeedback(
        trace_id=_hex(row.trace),
        run_id=text(row.run_id) if row.trace is None else None,
        thread_id=text(row.thread_id),
        score=row.score,
        label=row.label,
        comment=row.comment,
        who=row.who,
        source=row.source,
        created_at=row.created_at,
    )


def content_size(trace: AttemptTrace) -> int:
    """About how many characters a trace holds on to while it waits."""
    size = 2_000 + len(trace.answer or "")
    for message in trace.messages:
        size += len(message.content) if isinstance(message.content, str) else 2_000
    return size


def _context(trace: AttemptTrace, full: bool) -> str | None:
    if trace.context is None:
        return None
    return _json(trace.context if full else {**trace.context, "instruction": ""})


def _tool_set(definitions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    told = json.dumps(list(definitions), ensure_ascii=False, sort_keys=True, default=str)
    return {"tools": digest(told), "definitions": told}


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _chat(message: BaseMessage) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "user", "content": message.text}
    if isinstance(message, SystemMessage):
        said["role"] = "system"
    elif isinstance(message, ToolMessage):
        said |= {"role": "tool", "tool_call_id": message.tool_call_id}
    elif isinstance(message, AIMessage):
        said["role"] = "assistant"
        if message.tool_calls:
            said["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": _json(call["args"])},
                }
                for call in message.tool_calls
            ]
    return said


def _call(kept: Content, call: Call) -> dict[str, Any]:
    said = {name: value for name, value in call.items() if name != "tools"}
    if "error" in said and kept != "full":
        said["error"] = ""
    return said


def _size(*texts: str | None) -> int:
    return sum(len(said) for said in texts if said is not None)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _parsed(stored: str | None) -> Any:
    return None if stored is None else json.loads(stored)


def _hex(stored: bytes | None) -> str | None:
    return None if stored is None else bytes(stored).hex()


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _name(value: str) -> bytes:
    """A name as a key; one that is too long is cut, as a trace must not fail for it."""
    encoded = _bytes(value)
    return encoded if len(encoded) <= MAX_KEY else encoded[:MAX_KEY].decode("utf-8", "ignore").encode()


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
