"""Runs as Prometheus metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from stellwerk.errors import MissingExtraError
from stellwerk.observer import AttemptPart, CallPart, Observer, Part, Place, RunPart, SubtaskPart, ToolPart

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# A call takes from a tenth of a second to minutes, and so does a subtask; a run up to hours.
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, float("inf"))
_RUN_SECONDS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, float("inf"))


@dataclass(frozen=True, slots=True)
class _Metrics:
    runs: Counter
    run_seconds: Histogram
    runs_running: Gauge
    subtasks: Counter
    subtask_seconds: Histogram
    subtasks_running: Gauge
    attempts: Counter
    escalations: Counter
    calls: Counter
    call_seconds: Histogram
    calls_running: Gauge
    queue_seconds: Histogram
    tokens: Counter
    usd: Counter
    tool_calls: Counter


class Prometheus(Observer):
    """Counts what runs do. Labels are names of workers and tiers, and words such as reasons: all of them few.

    Args:
        registry: gets the metrics, named `stellwerk_...`; that of `prometheus_client` if None. Observers with
            the same registry share them.

    Raises:
        MissingExtraError: if the package `prometheus-client` is not installed.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        try:
            from prometheus_client import REGISTRY
        except ImportError:
            raise MissingExtraError("prometheus-client", "metrics") from None
        registry = registry if registry is not None else REGISTRY
        found = _made.get(registry)
        if found is None:
            found = _made[registry] = _metrics(registry)
        self._metrics = found

    def begin(self, part: Part, place: Place, around: Any) -> None:
        """Something more is running."""
        self._running(part, 1)

    def end(self, part: Part, place: Place, mark: Any) -> None:
        """It has ended, and is counted."""
        self._running(part, -1)
        metrics = self._metrics
        match part:
            case RunPart():
                metrics.runs.labels(part.outcome).inc()
                metrics.run_seconds.observe(part.seconds)
                for worker, status in part.subtasks:
                    metrics.subtasks.labels(worker, status).inc()
            case SubtaskPart():
                metrics.subtask_seconds.labels(part.worker).observe(part.seconds)
            case AttemptPart() if part.outcome != "interrupted":
                verdict = "accepted" if part.outcome == "ok" else "rejected"
                metrics.attempts.labels(part.worker, part.tier, verdict, _word(part)).inc()
                if part.above:
                    metrics.escalations.labels(part.worker, part.tier).inc()
            case CallPart():
                self._call(part)
            case ToolPart():
                worker = place.subtask.worker if place.subtask is not None else ""
                metrics.tool_calls.labels(worker, part.outcome).inc()
            case _:
                pass

    def _call(self, part: CallPart) -> None:
        metrics, tier = self._metrics, part.tier
        metrics.calls.labels(tier, part.outcome).inc()
        metrics.call_seconds.labels(tier).observe(part.seconds - part.waited)
        metrics.queue_seconds.labels(tier).observe(part.waited)
        if part.usage is not None:
            for kind, tokens in (
                ("input", part.usage["input"] - part.usage["cached"]),
                ("cached", part.usage["cached"]),
                ("output", part.usage["output"]),
            ):
                metrics.tokens.labels(tier, kind).inc(tokens)
        if part.lost:
            metrics.tokens.labels(tier, "lost").inc(part.lost)
        if part.usd is not None:
            metrics.usd.labels(tier).inc(part.usd)

    def _running(self, part: Part, change: int) -> None:
        match part:
            case RunPart():
                self._metrics.runs_running.inc(change)
            case SubtaskPart():
                self._metrics.subtasks_running.inc(change)
            case CallPart():
                self._metrics.calls_running.labels(part.tier).inc(change)
            case _:
                pass


def _word(part: AttemptPart) -> str:
    """The reason, of which there are few; an exception of a worker's own code has a name of any kind."""
    if part.outcome == "ok":
        return ""
    return part.error if part.verdict is not None else "worker"


def _metrics(registry: CollectorRegistry) -> _Metrics:
    from prometheus_client import Counter, Gauge, Histogram

    def counter(name: str, said: str, *labels: str) -> Counter:
        return Counter(f"stellwerk_{name}", said, labels, registry=registry)

    def histogram(name: str, said: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"stellwerk_{name}", said, labels, buckets=buckets, registry=registry)

    def gauge(name: str, said: str, *labels: str) -> Gauge:
        # With several processes that share a folder of metrics, the sum over those that live.
        return Gauge(f"stellwerk_{name}", said, labels, registry=registry, multiprocess_mode="livesum")

    return _Metrics(
        runs=counter("runs", "Runs that ended, were interrupted or failed.", "outcome"),
        run_seconds=histogram("run_seconds", "From the task, or a resumption, to the end.", _RUN_SECONDS),
        runs_running=gauge("runs_running", "Runs on their way."),
        subtasks=counter("subtasks", "Subtasks of runs that ended.", "worker", "status"),
        subtask_seconds=histogram("subtask_seconds", "Subtasks that had their inputs.", _SECONDS, "worker"),
        subtasks_running=gauge("subtasks_running", "Subtasks on their way."),
        attempts=counter("attempts", "Attempts.", "worker", "tier", "verdict", "reason"),
        escalations=counter("escalations", "Attempts on another tier than the one before.", "worker", "tier"),
        calls=counter("calls", "Calls of models.", "tier", "outcome"),
        call_seconds=histogram("call_seconds", "Calls of models, without the queue.", _SECONDS, "tier"),
        calls_running=gauge("calls_running", "Calls of models on their way or in the queue.", "tier"),
        queue_seconds=histogram("queue_seconds", "What calls wait for a place.", _SECONDS, "tier"),
        tokens=counter("tokens", "Tokens; input leaves out what was cached.", "tier", "kind"),
        usd=counter("usd", "US dollars, on tiers that have a price.", "tier"),
        tool_calls=counter("tool_calls", "Calls of tools.", "worker", "outcome"),
    )


_made: WeakKeyDictionary[CollectorRegistry, _Metrics] = WeakKeyDictionary()
