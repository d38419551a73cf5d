"""Settings of who is told of runs while they go on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ObservabilitySettings(BaseModel):
    """What is told of runs, and to whom. The command line and Studio also export it; a program does itself.

    Args:
        opentelemetry: whether runs are OpenTelemetry's spans and metrics, which go where its own variables
            (`OTEL_EXPORTER_OTLP_ENDPOINT` and so on) say.
        contents: whether the spans hold prompts, answers, and arguments and outputs of tools.
        prometheus: whether runs are counted as Prometheus metrics.
        prometheus_port: where the process serves them, at `/metrics`; None for nowhere.
        prometheus_host: on which address.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    opentelemetry: bool = False
    contents: bool = False
    prometheus: bool = False
    prometheus_port: int | None = Field(None, ge=1, le=65535)
    prometheus_host: str = "127.0.0.1"
