"""Logs that say which run, subtask and attempt a line belongs to, and JSON lines of them."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from stellwerk import scope

FIELDS = ("run_id", "thread_id", "subtask", "worker", "tier", "attempt")
_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class RunFilter(logging.Filter):
    """Lets every record pass, and gives it what is known of `FIELDS` where it is written; for a handler.

    A handler sees the records of all loggers, so what a worker's own code and libraries log inside of a run
    has the fields too.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields to a record."""
        for name, value in run_fields().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, `error`, and what else the record has."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as a line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _KNOWN}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        elif record.exc_text:
            line["error"] = record.exc_text
        return json.dumps(line, ensure_ascii=False, default=str).encode(errors="replace").decode()


def run_fields() -> dict[str, Any]:
    """What is known of `FIELDS` where this is called, and the ids of OpenTelemetry's current span."""
    fields: dict[str, Any] = {}
    if (place := scope.place()) is not None:
        if place.run is not None:
            fields |= {"run_id": place.run.run_id, "thread_id": place.run.thread_id}
        if place.subtask is not None:
            fields |= {"subtask": place.subtask.subtask, "worker": place.subtask.worker}
        if place.attempt is not None:
            fields |= {"tier": place.attempt.tier, "attempt": place.attempt.number}
    if (trace := sys.modules.get("opentelemetry.trace")) is not None:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            fields |= {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    return {name: value for name, value in fields.items() if value}


def log_json(level: int = logging.WARNING) -> None:
    """Have all loggers of this process write JSON lines to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RunFilter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
