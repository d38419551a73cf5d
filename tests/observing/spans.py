"""Spans that stay in memory, and the tree that they are."""

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from stellwerk.observing.otel import OpenTelemetry

Tree = dict[str, Any]


class Recorded:
    """An observer, and what it has told OpenTelemetry."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        meters = MeterProvider(metric_readers=[self._reader])
        self.observer = OpenTelemetry(tracer_provider=self.provider, meter_provider=meters, **options)

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that ended, as they began."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def lines(self) -> list[str]:
        """The tree, a span a line; siblings that may run side by side by their subtasks."""
        return list(_lines(self.spans, None, ""))

    def everything(self) -> str:
        """All that was told, as text."""
        metrics = self._reader.get_metrics_data()
        return "\n".join([*(span.to_json() for span in self.spans), metrics.to_json() if metrics else ""])

    def points(self, name: str) -> list[Any]:
        """The data points of a metric."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def _lines(spans: list[ReadableSpan], parent: int | None, indent: str) -> Any:
    children = [span for span in spans if (span.parent.span_id if span.parent else None) == parent]
    for span in sorted(children, key=lambda span: str(attributes(span).get("stellwerk.subtask", ""))):
        told = attributes(span)
        subtask = f" [{told['stellwerk.subtask']}]" if span.name.startswith("invoke_agent") else ""
        failed = f" !{told['error.type']}" if span.status.status_code is StatusCode.ERROR else ""
        mark = " (interrupted)" if told["stellwerk.outcome"] == "interrupted" else ""
        yield f"{indent}{span.name}{subtask}{failed}{mark}"
        yield from _lines(spans, span.context.span_id if span.context else None, indent + "  ")
