"""Questions on pages of annual reports: one large model, one small one, and the orchestrator.

    python -m benchmarks.tatqa --pages 40 --json tatqa.json
    python -m benchmarks.tatqa --report tatqa.json

Finished pages are kept in the JSON file and not run again. Arms take turns block by block, each with
models freshly loaded: a drift of the machine meets all of them, and none reads from another's cache.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.tatqa.arms import ARMS, Run, run_arm
from benchmarks.tatqa.pages import load_pages
from benchmarks.tatqa.report import markdown, summarise

HELD_OUT = 100  # prompts were written on pages from here on


def main() -> None:
    """Run what is missing, write the file, print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tatqa",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pages", type=int, default=8, metavar="N", help="pages 0 to N-1 (default: 8)")
    parser.add_argument("--arms", default=",".join(ARMS), help="comma-separated, of: " + ", ".join(ARMS))
    parser.add_argument("--block", type=int, default=10, help="pages before the next arm has its turn")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep runs here, and go on from what is there"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="only print the tables of a file")
    arguments = parser.parse_args()
    if arguments.report:
        print(markdown(summarise(_load(arguments.report))))
        return
    arms = arguments.arms.split(",")
    if unknown := [arm for arm in arms if arm not in ARMS]:
        parser.error(f"unknown arm {unknown[0]!r}; arms: {', '.join(ARMS)}")
    if not 1 <= arguments.pages <= HELD_OUT:
        parser.error(f"--pages {arguments.pages}: take 1 to {HELD_OUT}; prompts were written on later pages")
    runs = _load(arguments.json) if arguments.json and arguments.json.exists() else []
    pages = load_pages()[: arguments.pages]
    for start in range(0, len(pages), arguments.block):
        block = pages[start : start + arguments.block]
        for arm in arms:
            done = {run["page"] for run in runs if run["arm"] == arm}
            for run in run_arm(arm, [page for page in block if page.index not in done]):
                runs.append(run.as_json())
                _progress(run)
                if arguments.json:
                    _save(arguments.json, runs)
            gc.collect()  # graphs hold their models in cycles, gigabytes that Python sees no need to free
    summary = summarise(runs)
    if arguments.json:
        _save(arguments.json, runs, summary)
    print(markdown(summary))


def _progress(run: Run) -> None:
    correct = sum(row.em for row in run.rows)
    print(
        f"page {run.page:3} {run.arm:8} {correct:.0f}/{len(run.rows)} exact, {run.wall_seconds:.1f} s",
        file=sys.stderr,
        flush=True,
    )


def _load(path: Path) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["runs"]
    return runs


def _save(path: Path, runs: list[dict[str, Any]], summary: dict[str, Any] | None = None) -> None:
    content = {"command": "python -m benchmarks.tatqa", "summary": summary, "runs": runs}
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(content, ensure_ascii=False, indent=1, default=str), encoding="utf-8")
    scratch.replace(path)


main()
