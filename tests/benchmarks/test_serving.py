import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scheduling.server import reply
from benchmarks.serving.arrivals import Borne, Load, Made
from benchmarks.serving.growth import growths
from benchmarks.serving.jobs import CALLS, body, chain, held, moments, problem_of
from benchmarks.serving.measure import Measured, measured
from benchmarks.serving.models import simulated
from benchmarks.serving.place import ROOT, Place, serving
from benchmarks.serving.profile import profile_of
from benchmarks.serving.report import added, errors, goals, markdown
from benchmarks.serving.samples import Sample
from benchmarks.serving.saturation import stage_of
from stellwerk import Plan


def test_tasks_arrive_as_often_as_they_are_to() -> None:
    even = moments(10, 3, seed=1, even=True)
    assert even == pytest.approx([number / 10 for number in range(30)])
    by_chance = moments(10, 1_000, seed=1, even=False)
    assert by_chance == sorted(by_chance) == moments(10, 1_000, seed=1, even=False)
    assert len(by_chance) == pytest.approx(10_000, rel=0.05)
    assert moments(10, 1_000, seed=2, even=False) != by_chance


def test_a_task_is_three_calls_one_after_the_other_and_its_answers_are_its_own() -> None:
    task, other = chain(1, 2.0), chain(2, 2.0)
    assert len(Plan.parse(body(task)["plan"]).subtasks) == CALLS
    assert task.critical_path == CALLS * 2.0
    assert reply({"messages": [{"content": held(0).steps[0].instruction}]})[0] == held(0).critical_path
    right = {name: {"value": {"step": name, "answer": answer}} for name, answer in task.answers.items()}
    assert problem_of(task, {"results": right}) is None
    assert "3 answers are wrong or missing" in str(problem_of(other, {"results": right}))
    assert "KeyError" in str(problem_of(task, {"status": "failed"}))


def a_sample(at: float, **values: Any) -> Sample:
    plain = Sample(at=at, rss=200, cpu=at / 2, files=50, connections=5, threads=9, tasks=300, busy=at)
    return replace(plain, **values)


def a_measurement(seconds: float, *, problem: str | None = None, calls: int = 33) -> Measured:
    load = Load(rate=1, seconds=10, think=2.0, streams=3)
    made = [Made(due=number, late=0.0, seconds=seconds, problem=None) for number in range(9)]
    made.append(Made(due=9, late=0.0, seconds=seconds, problem=problem))
    samples = [a_sample(number) for number in range(11)]
    return Measured(load, Borne(made, [None] * 3, 15.0), samples, calls, {"done": 13}, 1.0)


def test_what_is_added_is_the_difference_and_nothing_that_went_wrong_is_left_out() -> None:
    served, called = a_measurement(6.03), a_measurement(6.02)
    assert added(served, called, 0.5) == pytest.approx(0.01)
    assert all(goal.met for goal in goals(served, called))
    assert not errors(served)
    assert errors(a_measurement(6.03, problem="500")).total() == 1
    assert errors(a_measurement(6.03, calls=34)).total() == 1  # a call too many
    assert errors(replace(served, runs={"done": 12, "running": 1})).total() == 1
    met = {goal.name: goal.met for goal in goals(a_measurement(6.1, problem="500"), called)}
    assert met["errors, of tasks and streams"] is met["added, p50"] is False
    assert met["added, p99"] is True
    assert "| added by the server | | 10.0 |" in markdown(served, called, [], None)


def test_growth_is_told_from_what_swings() -> None:
    swinging = [a_sample(at, rss=200 + 20 * (at % 2), tasks=300 + at % 3) for at in range(100)]
    assert not any(growth.grows for growth in growths(swinging))
    growing = [a_sample(at, rss=200 + at, files=50 + at / 10) for at in range(100)]
    assert [growth.name for growth in growths(growing) if growth.grows] == ["memory, MiB", "file handles"]
    assert growths(swinging[:5]) == []


def test_a_stage_keeps_up_if_tasks_are_done_as_they_come() -> None:
    assert stage_of(a_measurement(6.5), 1).kept_up
    late = stage_of(a_measurement(9.0), 1)
    assert not late.kept_up
    assert (late.rate, late.done, late.p50, late.cores, late.machine) == (1.0, 0.8, 3.0, 0.5, 1.0)


def test_a_profile_names_parts_and_functions() -> None:
    route = f"run ({ROOT}/stellwerk/serving/thread_routes.py:10)"
    library = "/x/lib/python3.11/site-packages"
    found = profile_of(
        [
            f"thread (7): MainThread;{route};{route};astream ({library}/langgraph/pregel/main.py:3) 30",
            f"thread (8): stellwerk-sqlite_3;run (/x/lib/python3.11/threading.py:1);{route} 10",
        ],
        looks=100,
    )
    assert found.held == 0.4
    assert found.parts == {"langgraph": 0.75, "stellwerk.serving": 0.25}
    assert found.within == {"stellwerk.serving run (serving/thread_routes.py)": 1.0}
    assert found.threads == {"MainThread": 0.75, "stellwerk-sqlite": 0.25}
    assert "| 75.0% | langgraph |" in markdown(None, None, [], found)


@pytest.mark.server
def test_a_server_and_the_graph_in_process_bear_a_small_load(tmp_path: Path) -> None:
    load = Load(rate=4, seconds=1.5, think=0.05, streams=2, warm=0.5, even=True)

    async def both() -> tuple[Measured, Measured]:
        called = await measured(place, load, every=0.1)
        async with serving(place) as servers:
            return called, await measured(place, load, servers, every=0.1)

    with simulated() as models:
        place = Place(tmp_path, models)
        place.prepare()
        called, served = asyncio.run(both())
    for found in (called, served):
        assert not errors(found)
        assert len(found.borne.made) == 6
        assert found.borne.streams == [None, None]
        assert found.samples[-1].cpu > found.samples[0].cpu > 0
        assert found.samples[-1].files > 10
        assert found.samples[-1].connections > 0
    assert served.runs == {"done": 10}
    assert called.runs == {}
    assert served.samples[-1].tasks > 10  # those of the two streams
    assert "| added by the server |" in markdown(served, called, [], None)
