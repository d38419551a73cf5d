"""Why a run is not wholly done, in words and so that a program can act on it."""

from __future__ import annotations

from collections.abc import Mapping

from stellwerk.nodes.state import Failure
from stellwerk.outcome import Reason, SubtaskFailure, SubtaskResult
from stellwerk.worker import Worker


def failure_of(results: Mapping[str, SubtaskResult], workers: Mapping[str, Worker]) -> Failure | None:
    """What the results lack; None if all are accepted."""
    lacking = {name: result for name, result in results.items() if result["status"] != "accepted"}
    if not lacking:
        return None
    said = f"{len(results) - len(lacking)} of {len(results)} subtasks done; missing: {', '.join(lacking)}"
    failure = Failure(
        message=said,
        missing={name: in_words(result) for name, result in lacking.items()},
        subtasks={name: _failed(result) for name, result in lacking.items()},
    )
    ending = [name for name, result in lacking.items() if _ends_the_run(result, workers)]
    if ending:
        failure["ended_by"] = ending
        failure["message"] += f"; no result of {', '.join(ending)} fails the run"
    return failure


def in_words(result: SubtaskResult) -> str:
    """Why there is no result, for a person."""
    said = f"{result.get('reason', result['status'])}: {result.get('detail', '')}".rstrip(": ")
    return f"{said} (its substitute went on)" if "substituted" in result else said


def _failed(result: SubtaskResult) -> SubtaskFailure:
    attempts = result["attempts"]
    failed = SubtaskFailure(
        subtask=result["id"],
        worker=result["worker"],
        status="skipped" if result["status"] == "skipped" else "failed",
        reason=result.get("reason", "rejected"),
        detail=result.get("detail", ""),
        tier=attempts[-1]["tier"] if attempts else None,
        attempts=len(attempts),
        reasons=[attempt["verdict"].get("reason", Reason.DOUBTED.value) for attempt in attempts],
        roots=result.get("roots", []),
        substituted="substituted" in result,
    )
    if "by" in result:
        failed["by"] = result["by"]
    return failed


def _ends_the_run(result: SubtaskResult, workers: Mapping[str, Worker]) -> bool:
    worker = workers.get(result["worker"])
    return result["status"] == "failed" and worker is not None and worker.errors.on_failure == "fail"
