"""The observers that the settings ask for, and where a process of ours sends what they are told."""

from __future__ import annotations

import atexit
import threading
import time
from functools import cache
from typing import Any

from stellwerk.errors import ConfigurationError, MissingExtraError
from stellwerk.observer import Observer
from stellwerk.settings import Settings

_PATIENCE = 3.0  # seconds that the end of a process waits for a collector


def configured_observers(settings: Settings) -> tuple[Observer, ...]:
    """The observers; no provider is set up and no port is opened.

    Raises:
        MissingExtraError: if the package of one is not installed.
    """
    wanted, observers = settings.observability, list[Observer]()
    if wanted.opentelemetry:
        from stellwerk.observing.otel import OpenTelemetry

        observers.append(OpenTelemetry(contents=wanted.contents))
    if wanted.prometheus:
        from stellwerk.observing.prometheus import Prometheus

        observers.append(Prometheus())
    return tuple(observers)


def start_exporting(settings: Settings) -> None:
    """Send what observers are told, in a process that is nobody else's program; once for each process.

    A provider of OpenTelemetry that is there already is left alone; `opentelemetry-instrument` sets one up.

    Raises:
        MissingExtraError: if a package is not installed.
        ConfigurationError: if the port for Prometheus cannot be opened.
    """
    wanted = settings.observability
    if wanted.opentelemetry:
        _send_otel()
    if wanted.prometheus and wanted.prometheus_port is not None:
        _serve_prometheus(wanted.prometheus_host, wanted.prometheus_port)


def finish_exporting() -> None:
    """Send what is still to be sent, as the process ends; a collector that is not there holds up nobody."""
    # OpenTelemetry's own way at the end of a process tries for twenty seconds.
    threads = [threading.Thread(target=provider.shutdown, daemon=True) for provider in _providers]
    _providers.clear()
    until = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


_providers: list[Any] = []


@cache
def _send_otel() -> None:
    try:
        from opentelemetry import metrics, trace
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtraError(_package(error.name or ""), "otel") from None
    # The variables OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go first.
    resource = Resource.create({SERVICE_NAME: "stellwerk"}).merge(OTELResourceDetector().detect())
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        spans = TracerProvider(resource=resource, shutdown_on_exit=False)
        spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(spans)
        _providers.append(spans)
    if type(metrics.get_meter_provider()).__name__ == "_ProxyMeterProvider":
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        meters = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
        metrics.set_meter_provider(meters)
        _providers.append(meters)
    atexit.register(finish_exporting)


@cache
def _serve_prometheus(host: str, port: int) -> None:
    try:
        from prometheus_client import start_http_server
    except ImportError:
        raise MissingExtraError("prometheus-client", "metrics") from None
    try:
        start_http_server(port, host)
    except OSError as error:
        raise ConfigurationError(
            f"observability.prometheus_port: {host}:{port} cannot be opened ({error.strerror or error}); "
            "choose another port, or leave it out"
        ) from None


def _package(module: str) -> str:
    if "exporter" in module:
        return "opentelemetry-exporter-otlp-proto-http"
    return "opentelemetry-sdk" if "sdk" in module else "opentelemetry-api"
