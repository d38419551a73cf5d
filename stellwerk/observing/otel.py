"""Runs as OpenTelemetry spans, and model calls as its two metrics for clients of models."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from stellwerk.errors import MissingExtraError
from stellwerk.observer import (
    AttemptPart,
    CallPart,
    Observer,
    Part,
    Place,
    PlanPart,
    RunPart,
    SubtaskPart,
    ToolPart,
)
from stellwerk.observing import contents as recorded
from stellwerk.observing import conventions as names

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, SpanKind, TracerProvider

Attributes = dict[str, str | bool | int | float | list[str]]

_DETAIL = 1000  # characters


class OpenTelemetry(Observer):
    """Tells OpenTelemetry of runs, after its conventions for generative AI.

    Each part is a span: the run, planning, each subtask, each attempt, each call of a model or of a tool.
    They go to the provider that the program has set up; where there is none, nowhere.

    Args:
        tracer_provider: gets the spans; the global one if None.
        meter_provider: gets the metrics; the global one if None.
        contents: whether to record prompts, answers, arguments and outputs of tools, and what was wrong in
            full. Otherwise, of an error there is only its kind.
        redact: changes each text of the contents before it is recorded.

    Raises:
        MissingExtraError: if the package `opentelemetry-api` is not installed.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        contents: bool = False,
        redact: Callable[[str], str] | None = None,
    ) -> None:
        try:
            from opentelemetry import metrics, trace
        except ImportError:
            raise MissingExtraError("opentelemetry-api", "otel") from None
        scope = "stellwerk", version("stellwerk")
        self._trace = trace
        self._tracer = trace.get_tracer(*scope, tracer_provider=tracer_provider)
        meter = metrics.get_meter(*scope, meter_provider=meter_provider)
        self._tokens = meter.create_histogram(
            names.TOKEN_USAGE,
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=names.TOKEN_BUCKETS,
        )
        self._duration = meter.create_histogram(
            names.DURATION,
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=names.DURATION_BUCKETS,
        )
        self._contents = contents
        self._redact = redact or (lambda text: text)
        # A span that is made current for its work: what work raises is told by the part.
        self._use = partial(trace.use_span, record_exception=False, set_status_on_exception=False)

    def begin(self, part: Part, place: Place, around: Any) -> Span:
        """A span begins."""
        name, attributes = _named(part)
        attributes |= _placed(place)
        context = self._trace.set_span_in_context(around) if around is not None else None
        span = self._tracer.start_span(name, context, kind=self._kind(part), attributes=attributes)
        if isinstance(part, RunPart):
            part.address = _address(span.get_span_context())
        return span

    def end(self, part: Part, place: Place, mark: Any) -> None:
        """A span ends."""
        span: Span | None = mark
        if isinstance(part, CallPart):
            self._measure(part)
        if span is None:
            return
        if span.is_recording():
            span.set_attributes({**_placed(place), **_ended(part)})
            if self._contents:
                span.set_attributes(self._recorded(part))
            if isinstance(part, AttemptPart):
                span.update_name(_named(part)[0])  # in a run that goes on, its tier was not known
            if isinstance(part, RunPart) and (began := self._found(part.follows)) is not None:
                span.add_link(began)
            if part.outcome == "failed":
                detail = self._redact(part.detail)[:_DETAIL] if self._contents else None
                span.set_status(self._trace.StatusCode.ERROR, detail)
        span.end()

    def during(self, mark: Any) -> AbstractContextManager[object]:
        """The span is the current one."""
        return self._use(mark) if mark is not None else nullcontext()

    def _kind(self, part: Part) -> SpanKind:
        # A model in this process is no other service.
        is_client = isinstance(part, CallPart) and part.provider != "llamacpp"
        return self._trace.SpanKind.CLIENT if is_client else self._trace.SpanKind.INTERNAL

    def _measure(self, part: CallPart) -> None:
        common: dict[str, str] = {
            names.OPERATION: names.CHAT,
            names.PROVIDER: part.provider,
            names.MODEL: part.model,
        }
        if part.usage is not None:
            self._tokens.record(part.usage["input"], {**common, names.TOKEN_TYPE: "input"})
            self._tokens.record(part.usage["output"], {**common, names.TOKEN_TYPE: "output"})
        if part.error:
            common[names.ERROR] = part.error
        self._duration.record(part.seconds, common)

    def _recorded(self, part: Part) -> Attributes:
        attributes: Attributes = {}
        if isinstance(part, CallPart):
            attributes[names.INPUT_MESSAGES] = self._redact(recorded.prompt(part.messages))
            if part.answer is not None:
                attributes[names.OUTPUT_MESSAGES] = self._redact(recorded.answer(part.answer, part.finish))
        elif isinstance(part, ToolPart):
            attributes[names.ARGUMENTS] = self._redact(recorded.as_json(part.arguments))
            if part.output is not None:
                attributes[names.RESULT] = self._redact(part.output)
        return attributes

    def _found(self, address: str) -> Any:
        """The span context at an address."""
        parts = address.split("-")
        if len(parts) != 4:
            return None
        trace_id, span_id, flags = (int(part, 16) for part in parts[1:])
        found = self._trace.TraceFlags(flags)
        return self._trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=found)


def _address(context: Any) -> str:
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _named(part: Part) -> tuple[str, Attributes]:
    """A span's name, and the attributes by which a sampler may decide."""
    match part:
        case RunPart():
            given: Attributes = {
                names.OPERATION: names.INVOKE_WORKFLOW,
                names.WORKFLOW: part.name,
                names.AGENT: part.name,
            }
            return f"{names.INVOKE_WORKFLOW} {part.name}", given
        case PlanPart():
            return f"{names.PLAN} supervisor", {names.OPERATION: names.PLAN, names.AGENT: "supervisor"}
        case SubtaskPart():
            return (
                f"{names.INVOKE_AGENT} {part.worker}",
                {names.OPERATION: names.INVOKE_AGENT, names.AGENT: part.worker},
            )
        case AttemptPart():
            return f"attempt {part.tier}".rstrip(), {names.AGENT: part.worker}
        case CallPart():
            given = {
                names.OPERATION: names.CHAT,
                names.PROVIDER: part.provider,
                names.MODEL: part.model,
                names.OUTPUT_TYPE: "json" if part.is_json else "text",
                names.OWN + "tier": part.tier,
            }
            if part.max_tokens is not None:
                given[names.MAX_TOKENS] = part.max_tokens
            return f"{names.CHAT} {part.model}", given
        case ToolPart():
            given = {names.OPERATION: names.EXECUTE_TOOL, names.TOOL: part.tool, names.TOOL_TYPE: "function"}
            if part.call_id:
                given[names.TOOL_CALL] = part.call_id
            return f"{names.EXECUTE_TOOL} {part.tool}", given
        case _:
            return type(part).__name__, {}


def _placed(place: Place) -> Attributes:
    attributes: Attributes = {}
    if place.run is not None:
        if place.run.thread_id:
            attributes[names.CONVERSATION] = place.run.thread_id
        if place.run.run_id:
            attributes[names.OWN + "run.id"] = place.run.run_id
    if place.subtask is not None and place.subtask.subtask:
        attributes[names.OWN + "subtask"] = place.subtask.subtask
    if place.attempt is not None and place.attempt.number:
        attributes[names.OWN + "attempt"] = place.attempt.number
    return attributes


def _ended(part: Part) -> Attributes:
    """What is known of a part at its end, under our own names but for what the conventions have one for."""
    told: dict[str, str | bool | int | float | list[str] | None] = {"outcome": part.outcome}
    given: Attributes = {}
    if part.error:
        given[names.ERROR] = part.error
    match part:
        case RunPart():
            if part.ledger is not None:
                total = part.ledger["total"]
                # Under our own names: who sums up the conventions' would count the tokens of calls twice.
                told |= {f"{kind}_tokens": total[kind] for kind in ("input", "cached", "output")}
                told |= {"usd": total["usd"], "attempts": part.ledger["attempts"]}
                told["subtasks"] = len(part.subtasks)
                told["subtasks.accepted"] = sum(status == "accepted" for _, status in part.subtasks)
        case PlanPart():
            told["subtasks"] = part.subtasks or None
        case SubtaskPart():
            told |= {"tier": part.tier or None, "attempts": part.attempts, "usd": part.usd}
        case AttemptPart():
            told |= {"tier": part.tier, "usd": part.usd, "escalated_from": part.above or None}
            if part.decision is not None:
                told["router"], told["router.version"] = part.decision["router"], part.decision["version"]
                told["propensity"] = part.decision["propensity"]
            if part.verdict is not None:
                told["verdict"] = "accepted" if part.verdict["accepted"] else "rejected"
                told["reason"] = part.verdict.get("reason")
        case CallPart():
            if part.usage is not None:
                given[names.INPUT_TOKENS] = part.usage["input"]
                given[names.OUTPUT_TOKENS] = part.usage["output"]
                given[names.CACHED_TOKENS] = part.usage["cached"]
                given[names.FINISH] = [part.finish]
            told |= {"waited": part.waited, "usd": part.usd, "replica": part.replica or None}
            told |= {"tries": part.tries + 1, "lost_tokens": part.lost or None}
        case _:
            pass
    return given | {names.OWN + name: value for name, value in told.items() if value is not None}
