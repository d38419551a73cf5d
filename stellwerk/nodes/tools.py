"""Tools: what a model wants called, and how it is told what came of it."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Sequence

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langgraph.types import Send

from stellwerk.nodes.call_args import call_name
from stellwerk.nodes.decided import on_call
from stellwerk.nodes.state import Known, TimeLeft, ToolTask
from stellwerk.nodes.written_calls import written_calls
from stellwerk.outcome import Call, PersonDecision, ToolProblem, ToolUse
from stellwerk.worker import Worker

MOST_AT_ONCE = 16  # tool calls in one reply; a reply that asks for more is a runaway
_MOST_SAID_OF_ERROR = 1_000  # characters

# What asking again does not change: it is not known, or a person does not want it.
_SETTLED = {ToolProblem.OUTCOME, ToolProblem.REJECTED}

NumberedCall = tuple[int, ToolCall]


def asks_for_tools(worker: Worker, message: AIMessage) -> AIMessage | None:
    """The reply with its tool calls, also where the model wrote them into its text; None if it has none."""
    if message.tool_calls or message.invalid_tool_calls:
        return message
    written = written_calls(message.text, {tool.name for tool in worker.tools})
    return AIMessage("", tool_calls=written) if written else None


def repeats(worker: Worker, call: ToolCall, calls: Iterable[Call]) -> bool:
    """Whether a call was made before in the attempt, and would only give the same again.

    What failed may be tried once more, unless it is a write that may have been done. What was read before a
    tool was called that declares side effects may be read again.
    """
    name, before = call["name"], 0
    for use in reversed([use for made in calls for use in made.get("tools", ())]):
        if _is(use, call):
            if not use["failed"]:
                return True
            if use.get("problem") in _SETTLED:
                return True
            if worker.effect_of(name).writes and use.get("problem") == ToolProblem.TIMEOUT:
                return True
            before += 1
        if use["name"] in worker.serial and name not in worker.serial:
            break
    return before > 1


def was_told(calls: Iterable[Call]) -> bool:
    """Whether the model was told that it repeats itself."""
    problems = (use.get("problem") for call in calls for use in call.get("tools", ()))
    return ToolProblem.REPEATED in problems


def plan_calls(
    worker: Worker, message: AIMessage, calls: Sequence[Call]
) -> tuple[list[ToolUse | None], list[NumberedCall]]:
    """What becomes of each call of a reply: why it is not made, or None; and the calls to make."""
    known = {tool.name: tool for tool in worker.tools}
    asked: set[str] = set()
    refused: list[ToolUse | None] = []
    made: list[NumberedCall] = []
    for number, (call, wrong) in enumerate(_calls(message, len(calls) - 1)):
        name, use = call["name"], None
        if wrong:
            use = failed(call, wrong, ToolProblem.ARGUMENTS)
        elif name not in known:
            there = ", ".join(tool.name for tool in worker.tools)
            why = f"there is no tool {name[:64]!r}; the tools are: {there}"
            use = failed(call, why, ToolProblem.UNKNOWN)
        elif number >= MOST_AT_ONCE:
            why = f"no more than {MOST_AT_ONCE} calls are made at once; ask again for what is still needed"
            use = failed(call, why, ToolProblem.TOO_MANY)
        elif repeats(worker, call, calls):
            why = f"{name} was called with these arguments before, and its output stands above; use that"
            use = failed(call, why, ToolProblem.REPEATED)
        elif worker.asks_before(name) and (same := call_name(known[name], call["args"])) in asked:
            why = f"{name} was called with these arguments in the same reply; use what that gives"
            use = failed(call, why, ToolProblem.REPEATED)
        else:
            if worker.asks_before(name):
                asked.add(same)
            made.append((number, call))
        refused.append(use)
    return refused, made


def known_of(
    worker: Worker,
    made: Iterable[NumberedCall],
    calls: Sequence[Call],
    people: Sequence[PersonDecision],
    instruction: str,
) -> dict[str, Known]:
    """What is known of the calls of a reply; only of those of which something is.

    Args:
        worker: says which tools write.
        made: the calls.
        calls: of the attempt so far.
        people: what they decided in this subtask.
        instruction: of the subtask.
    """
    found: dict[str, Known] = {}
    tools = {tool.name: tool for tool in worker.tools} if people else {}
    for number, call in made:
        known, turn = Known(), _done(call, calls)
        if worker.effect_of(call["name"]).writes and turn:
            known["turn"] = turn
        if people and (decisions := on_call(people, call_name(tools[call["name"]], call["args"]))):
            # Made again on purpose, as the world has changed since: what was approved was the one before.
            known["decisions"] = [each for each in decisions if not turn or each["kind"] != "approve_tool"]
        if worker.asks_before(call["name"]):
            known["instruction"] = instruction
        if known:
            found[str(number)] = known
    return found


def _done(call: ToolCall, calls: Iterable[Call]) -> int:
    """How often a call was made before in the attempt, and gave something."""
    return sum(_is(use, call) and not use["failed"] for made in calls for use in made.get("tools", ()))


def _is(use: ToolUse, call: ToolCall) -> bool:
    """Whether that is what came of the same call; a person may have changed its arguments."""
    return (use["name"], use.get("asked", use["args"])) == (call["name"], call["args"])


def send_calls(
    worker: Worker,
    made: Sequence[NumberedCall],
    known: dict[str, Known],
    left: TimeLeft | None = None,
    *,
    native: bool,
) -> list[Send]:
    """The calls of a reply on their way to the tools: all at once, or one after the other.

    Args:
        worker: says which tools have side effects, and whether its model's calls may run side by side.
        made: the calls.
        known: what is known of them.
        left: the time that they have, if it is limited.
        native: whether the server had them parsed, and not this process.
    """
    together = native if worker.parallel_tools is None else worker.parallel_tools
    if together and not any(call["name"] in worker.serial for _, call in made):
        return [_send(number, call, (), known, left) for number, call in made]
    return [_send(*made[0], made[1:], known, left)]


def next_call(task: ToolTask, seconds: float) -> Send | None:
    """The next of calls that are made one after the other; this one took so many seconds."""
    then = task["then"]
    return _send(*then[0], then[1:], task.get("known", {}), _less(task, seconds)) if then else None


def same_call(task: ToolTask, known: Known, seconds: float) -> Send:
    """The same call once more, in a step of its own, with more known of it."""
    all_known = {**task.get("known", {}), str(task["number"]): known}
    return _send(task["number"], task["call"], task["then"], all_known, _less(task, seconds))


def _less(task: ToolTask, seconds: float) -> TimeLeft | None:
    left = task.get("left")
    return None if left is None else TimeLeft(seconds=left["seconds"] - seconds, of=left["of"])


def _send(
    number: int,
    call: ToolCall,
    then: Sequence[NumberedCall],
    known: dict[str, Known],
    left: TimeLeft | None,
) -> Send:
    task = ToolTask(call=call, number=number, then=list(then))
    if known:
        task["known"] = known
    if left is not None:
        task["left"] = left
    return Send("tools", task)


def exchange(message: AIMessage, used: Iterable[ToolUse]) -> list[BaseMessage]:
    """A reply that asked for tools, and what they gave, as the model is shown both."""
    used = list(used)
    calls = [ToolCall(name=use["name"], args=use["args"], id=use["id"]) for use in used]
    # As the calls were made, not as they were written: servers refuse a history with arguments that are no
    # JSON or a call without an id.
    clean = message.model_copy(update={"tool_calls": calls, "invalid_tool_calls": []})
    return [clean, *(_shown(use) for use in used)]


def exchanges(calls: Iterable[Call]) -> list[BaseMessage]:
    """The exchanges of an attempt, from its record."""
    return [
        message for call in calls if (used := call.get("tools")) for message in exchange(AIMessage(""), used)
    ]


def failed(call: ToolCall, why: str, problem: ToolProblem, seconds: float = 0.0) -> ToolUse:
    """The record of a call that came to nothing; `why` is for the model."""
    use = _use(call, why[:_MOST_SAID_OF_ERROR], True, seconds)
    use["problem"] = problem.value
    return use


def as_output(call: ToolCall, message: ToolMessage, limit: int, seconds: float) -> ToolUse:
    """The record of a call that gave something, of which `limit` characters are kept."""
    text = message.text
    use = _use(call, text[:limit], message.status == "error", seconds)
    if use["failed"]:
        use["problem"] = ToolProblem.ERROR.value
    if len(text) > limit:
        use["characters"] = len(text)
    return use


def given_output(call: ToolCall, output: str, limit: int) -> ToolUse:
    """The record of a call whose output is not from the tool itself; `limit` characters of it are kept."""
    use = _use(call, output[:limit], False, 0.0)
    if len(output) > limit:
        use["characters"] = len(output)
    return use


def _use(call: ToolCall, output: str, has_failed: bool, seconds: float) -> ToolUse:
    return ToolUse(
        id=call["id"] or "",
        name=call["name"],
        args=call["args"],
        output=_clean(output),
        failed=has_failed,
        seconds=seconds,
    )


def _clean(text: str) -> str:
    # A lone surrogate is a str that no checkpoint and no server takes.
    return text.encode(errors="replace").decode()


def _shown(use: ToolUse) -> ToolMessage:
    text = use["output"] or "(no output)"
    if (characters := use.get("characters")) is not None:
        text += (
            f"\n(cut off: the output has {characters:,} characters, and {len(use['output']):,} are shown; "
            "ask for less)"
        )
    if (asked := use.get("asked")) is not None:
        said = json.dumps(asked, ensure_ascii=False)
        text += f"\n(a person changed the arguments of this call, which were {said}; do not ask for it again)"
    return ToolMessage(
        text, tool_call_id=use["id"], name=use["name"], status="error" if use["failed"] else "success"
    )


def _calls(message: AIMessage, turn: int) -> Generator[tuple[ToolCall, str | None], None, None]:
    """The calls of a reply, each with what is wrong with it, if anything."""
    for number, call in enumerate(message.tool_calls):
        name, wrong = _clean(call["name"]), None
        args = call["args"]
        try:
            json.dumps(args, allow_nan=False, ensure_ascii=False).encode()
        except ValueError as error:  # NaN, a lone surrogate: no checkpoint and no server takes them
            args, wrong = {}, f"the arguments of {name} are not JSON ({error}); send them as a JSON object"
        yield _call(name, args, call["id"], turn, number), wrong
    for number, bad in enumerate(message.invalid_tool_calls, len(message.tool_calls)):
        name = _clean(bad["name"] or "")
        said = _clean((bad["args"] or "")[:200])
        wrong = f"the arguments of {name or 'the call'} are not JSON: {said!r}; send one JSON object"
        yield _call(name, {}, bad["id"], turn, number), wrong


def _call(name: str, args: dict[str, object], id: str | None, turn: int, number: int) -> ToolCall:
    return ToolCall(name=name, args=args, id=_clean(id or f"call_{turn}_{number}"), type="tool_call")
