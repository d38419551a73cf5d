"""A router trained on this machine's own traces: three small models, three kinds of work.

    python -m benchmarks.routing_local collect --records records.jsonl --traces traces.sqlite --minutes 70
    python -m benchmarks.routing_local evaluate --records records.jsonl --json routing_local.json
    python -m benchmarks.routing_local floors --records records.jsonl --json floors.json
    python -m benchmarks.routing_local live --records records.jsonl --traces traces.sqlite --jobs 6
    python -m benchmarks.routing_local pack --records records.jsonl --to records.jsonl.gz

Collecting may be stopped at any time, and goes on from what the file has. Two processes of one thread each
(`--share 1/2 --threads 1` and `--share 2/2 --threads 1`, each with its own file of records) get more done on
two cores that others use as well than one of two threads. Evaluating runs no model, but reads
the data: records have no texts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.routing.report import promises
from benchmarks.routing_local.collect import collect, progress
from benchmarks.routing_local.compare import markdown
from benchmarks.routing_local.evaluate import evaluate
from benchmarks.routing_local.floors import floors
from benchmarks.routing_local.live import run_live, spread
from benchmarks.routing_local.records import Record, load_records, packed, save_records
from benchmarks.routing_local.schedule import all_jobs
from stellwerk.persistence.traces import TraceStore
from stellwerk.tiers import embedded_ladder

COMMAND = "python -m benchmarks.routing_local"
RECORDS = Path(__file__).with_name("records.jsonl.gz")
"""What was collected so far, packed."""


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("collect", help="run the rows that are missing")
    collecting.add_argument("--records", type=Path, required=True, metavar="FILE")
    collecting.add_argument("--traces", required=True, metavar="URL", help="database, or a SQLite file")
    collecting.add_argument("--minutes", type=float, default=70.0, help="after which no job is begun")
    collecting.add_argument(
        "--share", type=_share, default=(1, 1), metavar="K/N", help="every N-th block from the K-th on"
    )
    collecting.add_argument("--threads", type=int, metavar="N", help="of each model (default: llama.cpp's)")
    evaluating = commands.add_parser("evaluate", help="train, replay, and print the tables")
    evaluating.add_argument("--records", type=Path, default=[RECORDS], metavar="FILE", nargs="+")
    evaluating.add_argument("--seeds", type=int, default=5, metavar="N", help="models to train (default: 5)")
    evaluating.add_argument("--json", type=Path, metavar="FILE", help="keep the figures here")
    promising = commands.add_parser("floors", help="draw calibration rows anew, and count broken floors")
    promising.add_argument("--records", type=Path, default=[RECORDS], metavar="FILE", nargs="+")
    promising.add_argument("--json", type=Path, metavar="FILE", help="keep the figures here")
    living = commands.add_parser("live", help="run held-out jobs with the learned router")
    living.add_argument("--records", type=Path, default=[RECORDS], metavar="FILE", nargs="+")
    living.add_argument("--traces", required=True, metavar="URL", help="database, or a SQLite file")
    living.add_argument("--jobs", type=int, default=6, metavar="N", help="how many (default: 6)")
    living.add_argument("--json", type=Path, metavar="FILE", help="keep what was seen here")
    packing = commands.add_parser("pack", help="join files of records, compressed, without traces' ids")
    packing.add_argument("--records", type=Path, required=True, metavar="FILE", nargs="+")
    packing.add_argument("--to", type=Path, required=True, metavar="FILE", help="such as records.jsonl.gz")
    arguments = parser.parse_args()
    match arguments.command:
        case "pack":
            save_records(arguments.to, packed(_loaded(arguments)))
        case "collect":
            if arguments.records.suffix == ".gz":
                parser.error(f"--records {arguments.records}: unpack it first, lines are added at its end")
            _collect(arguments)
        case "evaluate":
            found = evaluate(_loaded(arguments), all_jobs(), embedded_ladder(), seeds=arguments.seeds)
            _keep(found, arguments.json)
            print(markdown(found["figures"]))
        case "floors":
            promised = floors(_loaded(arguments), all_jobs(), embedded_ladder().names)
            _keep(promised, arguments.json)
            print(promises(promised))
        case _:
            _live(arguments)


def _collect(arguments: argparse.Namespace) -> None:
    first, step = arguments.share
    blocks, ladder = all_jobs()[first - 1 :: step], embedded_ladder(threads=arguments.threads)
    with TraceStore.from_url(arguments.traces) as traces:
        for line in collect(blocks, ladder, traces, arguments.records, seconds=60 * arguments.minutes):
            progress(line)


def _share(text: str) -> tuple[int, int]:
    first, _, step = text.partition("/")
    return int(first), int(step)


def _live(arguments: argparse.Namespace) -> None:
    blocks, records = all_jobs(), _loaded(arguments)
    ladder = embedded_ladder()
    ran = {(record.job, record.arm) for record in records}
    jobs = spread(
        [
            job
            for block in blocks
            for job in block
            if job.part == "held-out" and all((job.name, tier) in ran for tier in ladder.names)
        ],
        arguments.jobs,
    )
    seen = []
    with TraceStore.from_url(arguments.traces) as traces:
        for one in run_live(records, blocks, ladder, traces, jobs):
            seen.append(one)
            same = "as expected" if one.expected == one.tiers else f"expected {', '.join(one.expected)}"
            progress(f"{one.key}: {', '.join(one.tiers)} ({same}), answers the same: {one.same_answers}")
    _keep([one.as_json() for one in seen], arguments.json)
    alike = sum(one.expected == one.tiers for one in seen)
    answers = sum(one.same_answers for one in seen)
    print(f"{len(seen)} subtasks: tiers as expected in {alike}, answers as recorded in {answers}")


def _loaded(arguments: argparse.Namespace) -> list[Record]:
    return [record for path in arguments.records for record in load_records(path)]


def _keep(found: object, path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
