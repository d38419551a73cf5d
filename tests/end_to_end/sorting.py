"""What every way of use is given: a worker, a plan of two subtasks for it, and settings with a real model."""

import json
import os
from pathlib import Path
from typing import Any

from stellwerk import Worker, classify_worker

ROOT = Path(__file__).parents[2]
MODEL = "smollm2-135m"
LABELS = {"praise": "the customer is happy", "complaint": "the customer is unhappy"}
MESSAGES = {
    "first": "I love this lamp. It is wonderful, thank you!",
    "second": "The lamp arrived broken, and nobody answers. I am angry.",
}
PLAN: dict[str, Any] = {
    "subtasks": [
        {"id": name, "worker": "sort", "instruction": text, "depends_on": []}
        for name, text in MESSAGES.items()
    ]
}
TASK = "Sort the first message.\nSort the second message."  # several requests, so that nothing is merged
GIVEN: dict[str, Any] = {"task": TASK, "plan": PLAN}


def sorter() -> Worker:
    """Says whether a message is praise or a complaint."""
    return classify_worker(LABELS, name="sort")


def environment(folder: Path) -> dict[str, str]:
    """Variables under which everything runs on the smallest embedded model."""
    return {
        "STELLWERK_TIERS": "[]",
        "STELLWERK_MODELS": json.dumps([MODEL]),
        "STELLWERK_WORKERS": '["tests.end_to_end.sorting:sorter"]',
        "STELLWERK_DATABASE": str(folder / "runs.sqlite"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }


def labels(output: dict[str, Any]) -> dict[str, str]:
    """The label of each message, of a run that used the model and came to its end."""
    assert output["failure"] is None, output["failure"]
    used = output["ledger"]["by_tier"][MODEL]
    assert used["calls"] == len(MESSAGES)
    assert used["output"] > 0
    results = output["results"]
    assert {name: result["status"] for name, result in results.items()} == dict.fromkeys(MESSAGES, "accepted")
    return {name: result["value"]["label"] for name, result in results.items()}
