"""Routers on published data: what each saves, at which quality, beside its peers.

    python -m benchmarks.routing --json routing.json
    python -m benchmarks.routing --report routing.json --pictures docs/pictures

Rows that are in the file are not run again. Jobs of one seed come before those of the next, so that a file
that is cut short has all tables, over fewer seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.routing.jobs import TRACKS, jobs
from benchmarks.routing.peers import installed, versions
from benchmarks.routing.report import markdown

COMMAND = "python -m benchmarks.routing"


def main() -> None:
    """Run what is missing, write the file row by row, print the tables."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep rows here, and go on from what is there"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="only print the tables of a file")
    parser.add_argument("--track", default=",".join(TRACKS), help="comma-separated, of: " + ", ".join(TRACKS))
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="splits of each kind (default: 5)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw the curves here")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    file = arguments.report or arguments.json
    if file and file.exists():
        rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    if not arguments.report:
        tracks = arguments.track.split(",")
        if "E" in tracks:
            parser.error(
                "track E runs models and has a command of its own: python -m benchmarks.routing_local"
            )
        if unknown := [track for track in tracks if track not in TRACKS]:
            parser.error(f"unknown track {unknown[0]!r}; there are: {', '.join(TRACKS)}")
        if arguments.seeds < 1:
            parser.error(f"--seeds {arguments.seeds}: at least 1")
        _run(rows, tracks, arguments.seeds, arguments.json)
    print(markdown(rows))
    if arguments.pictures:
        from benchmarks.routing.pictures import draw

        draw(rows, arguments.pictures)


def _run(rows: list[dict[str, Any]], tracks: list[str], seeds: int, file: Path | None) -> None:
    done = {(row["track"], row["protocol"], row["method"], row["seed"]) for row in rows}
    for name, why in installed()[1].items():
        print(f"{name} is left out: {why}; the extra `bench` installs it", file=sys.stderr)
    for job in jobs(tracks, seeds):
        if job.key in done:
            continue
        started = time.perf_counter()
        figures = job.run()
        seconds = time.perf_counter() - started
        names = dict(zip(("track", "protocol", "method", "seed"), job.key, strict=True))
        rows.append({**names, "seconds": round(seconds, 1), "figures": figures})
        print(*job.key, f"{seconds:.0f} s", sep=", ", file=sys.stderr, flush=True)
        if file:
            _save(file, rows)


def _save(path: Path, rows: list[dict[str, Any]]) -> None:
    scratch = path.with_suffix(".tmp")
    content = {"command": COMMAND, "versions": versions(), "rows": rows}
    scratch.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    scratch.replace(path)


if __name__ == "__main__":
    main()
