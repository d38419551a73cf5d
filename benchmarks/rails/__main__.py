"""What each rail is worth: function calls of BFCL, and spans of TAT-QA's pages, on two small models.

    python -m benchmarks.rails --json rails.json
    python -m benchmarks.rails --report rails.json [more.json ...]

Rows that are in the file are not run again. Each arm runs the same rows, greedily, one attempt on one tier.
Rows do not depend on each other: several processes may run some each, with a file of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.rails.arms import ARMS, MODELS, SHARED, run_case
from benchmarks.rails.cases import DEVELOPED, REPORTED, TASKS, load_cases
from benchmarks.rails.report import markdown, summarise
from stellwerk.tiers import embedded_ladder

COMMAND = "python -m benchmarks.rails"


def main() -> None:
    """Run what is missing, write the file row by row, print the tables."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep rows here, and go on from what is there"
    )
    parser.add_argument(
        "--report", type=Path, nargs="+", metavar="FILE", help="only print the tables of files, rows together"
    )
    parser.add_argument("--against", default="all", metavar="ARM", help="what each arm is compared with")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="CPU threads of a model; its default if not given"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="of the rows of a task, the first N")
    parser.add_argument(
        "--skip", type=int, default=0, metavar="N", help="of the rows of a task, not the first N"
    )
    parser.add_argument("--tasks", default=",".join(TASKS), help=f"of: {', '.join(TASKS)}")
    parser.add_argument("--models", default=",".join(MODELS), help="names from `stellwerk models list`")
    parser.add_argument("--arms", default=",".join(ARMS), help="of: " + "; ".join(ARMS))
    parser.add_argument("--development", action="store_true", help="the rows that the rails were written on")
    arguments = parser.parse_args()
    tasks, arms = arguments.tasks.split(","), [arm.strip() for arm in arguments.arms.split(",")]
    arms = _joined(arms)
    for kind, named, known in (
        ("task", tasks, TASKS),
        ("arm", [*arms, arguments.against], tuple(ARMS)),
    ):
        if unknown := [name for name in named if name not in known]:
            parser.error(f"unknown {kind} {unknown[0]!r}; there are: {'; '.join(known)}")
    if arguments.report:
        together = [row for path in arguments.report for row in _rows(path)]
        print(markdown(summarise(together, against=arguments.against), against=arguments.against))
        return
    rows = _rows(arguments.json) if arguments.json and arguments.json.exists() else []
    done = {(row["task"], row["model"], row["arm"], row["key"]) for row in rows}
    split = DEVELOPED if arguments.development else REPORTED
    for task in tasks:
        cases = list(islice(load_cases(task, split[task]), arguments.skip, arguments.limit))
        for model in arguments.models.split(","):
            for arm in arms:
                if task == "tatqa" and arm not in SHARED:
                    continue
                ladder = embedded_ladder(
                    [model], threads=arguments.threads
                )  # fresh, so that no arm reads from another's cache
                for case in cases:
                    if (task, model, arm, case.key) in done:
                        continue
                    row = run_case(case, arm, model, ladder)
                    rows.append(row.as_json())
                    _progress(rows[-1])
                    if arguments.json:
                        _save(arguments.json, rows)
    print(markdown(summarise(rows, against=arguments.against), against=arguments.against))


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def _joined(arms: list[str]) -> list[str]:
    """Arms of a comma-separated list, one of which has a comma in its name."""
    found: list[str] = []
    for arm in arms:
        if found and f"{found[-1]}, {arm}" in ARMS:
            found[-1] = f"{found[-1]}, {arm}"
        else:
            found.append(arm)
    return found


def _progress(row: dict[str, Any]) -> None:
    what = "correct" if row["correct"] else row["reason"] or "wrong"
    print(
        f"{row['task']:8} {row['model']:18} {row['arm']:24} {row['key']:>8} {what}",
        file=sys.stderr,
        flush=True,
    )


def _save(path: Path, rows: list[dict[str, Any]]) -> None:
    scratch = path.with_suffix(".tmp")
    content = {"command": COMMAND, "rows": rows}
    scratch.write_text(json.dumps(content, ensure_ascii=False, indent=0), encoding="utf-8")
    scratch.replace(path)


main()
