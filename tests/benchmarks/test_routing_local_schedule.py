"""Which rows are learned from and which are reported, on made-up data in the published forms."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from benchmarks.rails.cases import REPORTED
from benchmarks.routing_local.jobs import PARTS, Job
from benchmarks.routing_local.schedule import BLOCKS, SHARES, all_jobs
from stellwerk.plan import Plan


@pytest.fixture
def blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[Job]]:
    monkeypatch.setenv("STELLWERK_DATA", str(tmp_path))
    (tmp_path / "conversion").mkdir()
    with (tmp_path / "conversion" / "banking77_train.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "category"])
        rows.writerows([f"Message {number // 2}\nagain", f"intent_{number % 77}"] for number in range(2_400))
    bfcl = tmp_path / "tasks" / "bfcl"
    (bfcl / "possible_answer").mkdir(parents=True)
    asked, answers = [], []
    for row in range(400):
        name = f"function_{row // 2}"
        parameters = {"type": "dict", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        function = {"name": name, "description": "Does it.", "parameters": parameters}
        question = [[{"role": "user", "content": f"Do it {row} times."}]]
        asked.append({"id": f"simple_{row}", "question": question, "function": [function]})
        answers.append({"id": f"simple_{row}", "ground_truth": [{name: {"n": [row]}}]})
    for path, lines in ((bfcl / "simple_python.jsonl", asked), (bfcl / "possible_answer", answers)):
        target = path / "simple_python.jsonl" if path.is_dir() else path
        target.write_text("\n".join(map(json.dumps, lines)))
    pages = [
        {
            "table": {"table": [["", "2019"], [f"Sales {index}", "12"]]},
            "paragraphs": [{"order": 1, "text": "In millions." * (400 if index == 7 else 1)}],
            "questions": [
                {
                    "uid": f"{index}-{place}",
                    "question": f"What were sales {index} in 2019?",
                    "answer": ["12"],
                    "scale": "million",
                    "derivation": "",
                    "answer_type": "span",
                    "answer_from": "table",
                }
                for place in range(6)
            ],
        }
        for index in range(130)
    ]
    (tmp_path / "tasks" / "tatqa_dev.json").write_text(json.dumps(pages))
    return all_jobs()


def test_no_group_is_both_learned_from_and_reported(blocks: list[list[Job]]) -> None:
    groups = {part: set() for part in PARTS}  # type: dict[str, set[str]]
    keys = []
    for job in (job for block in blocks for job in block):
        groups[job.part] |= {item.group for item in job.items}
        keys += [item.key for item in job.items]
    assert not groups["held-out"] & (groups["every"] | groups["explored"])
    assert len(keys) == len(set(keys)) >= 1_500
    texts = [item.instruction for block in blocks for job in block for item in job.items]
    assert sum(text.startswith("Message") for text in texts) == len(
        {text for text in texts if text.startswith("Message")}
    )


def test_no_row_is_used_that_rails_or_prompts_were_written_on(blocks: list[list[Job]]) -> None:
    rows: dict[tuple[str, bool], set[int]] = {}
    for job in (job for block in blocks for job in block):
        for item in job.items:
            track, row, *_ = item.key.split("/")
            rows.setdefault((track, job.part == "held-out"), set()).add(int(row))
    assert rows["bfcl", True] <= set(REPORTED["simple"])
    assert min(rows["bfcl", False]) >= 100
    assert max(rows["tatqa", True] | rows["tatqa", False]) < 100
    assert 7 not in rows["tatqa", True] | rows["tatqa", False]  # too long


def test_every_block_has_its_share_of_each_track_and_part(blocks: list[list[Job]]) -> None:
    assert len(blocks) == BLOCKS
    for share in SHARES:
        for part in PARTS:
            counts = [sum(job.track == share.track and job.part == part for job in block) for block in blocks]
            assert sum(counts) == share.sizes[part]
            assert max(counts) - min(counts) <= 1


def test_the_known_answer_is_right_and_another_is_not(blocks: list[list[Job]]) -> None:
    found = {job.track: job for block in blocks for job in block}
    message, call, question = (found[track].items[0] for track in ("banking77", "bfcl", "tatqa"))
    row = int(call.key.split("/")[1])
    name = f"function_{row // 2}"
    assert call.right({"function": name, "arguments": {"n": row}}) == 1.0
    assert call.right({"function": name, "arguments": {"n": row + 1}}) == 0.0
    assert question.right({"answer": ["12"], "unit": "million"}) == 1.0
    assert question.right({"answer": ["12"], "unit": ""}) == 0.0
    assert message.right({"label": f"intent_{int(message.key.split('/')[1]) % 77}"}) == 1.0
    assert message.right({"label": "unknown"}) == 0.0


def test_plans_are_ready_and_contexts_belong_to_their_items(blocks: list[list[Job]]) -> None:
    job = next(job for job in blocks[0] if job.track == "tatqa")
    plan = Plan.parse(job.plan())
    contexts = job.contexts()
    assert [subtask.instruction for subtask in plan.subtasks] == [item.instruction for item in job.items]
    assert [contexts[item.key]["position"] for item in job.items] == list(range(6))
    assert {context["worker"] for context in contexts.values()} == {"look_up"}
    assert all(context["source"] > 0 for context in contexts.values())
    assert job.item("s3") is job.items[3]
