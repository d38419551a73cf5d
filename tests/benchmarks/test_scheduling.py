import asyncio
from pathlib import Path

import pytest

from benchmarks.scheduling.measures.crowd import due as crowd_due
from benchmarks.scheduling.measures.makespan import FLOOR, HANDOFFS, OURS, SYSTEMS, WAVES, timed
from benchmarks.scheduling.plans import SHAPES, DrawnPlan, Step, check, draw
from benchmarks.scheduling.report import goals, markdown, over
from benchmarks.scheduling.server import reply, serving
from benchmarks.scheduling.systems.handoffs import is_installed
from benchmarks.scheduling.turns import Due, Turn, Turns
from stellwerk import Plan
from stellwerk.errors import InputError


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [5, 6, 7, 20, 200])
def test_a_drawn_plan_is_a_dag_of_the_size_asked_for(shape: str, size: int) -> None:
    for seed in range(5):
        plan = draw(shape, size, seed)
        assert len(Plan.parse(plan.as_input()).subtasks) == len(plan.steps) == size
        known: set[str] = set()
        for step in plan.steps:  # each after those that it needs
            assert known >= set(step.needs)
            known.add(step.id)
        assert all(step.seconds > 0 for step in plan.steps)
        assert plan.critical_path >= 10 or plan.most_at_once < 50


def test_a_plan_is_the_same_each_time_and_another_for_each_seed() -> None:
    for shape in SHAPES:
        assert draw(shape, 20, 1) == draw(shape, 20, 1) != draw(shape, 20, 2)


def test_plans_have_the_shape_asked_for() -> None:
    chain, fan_out = draw("chain", 6, 1), draw("fan-out", 6, 1)
    assert [step.needs for step in chain.steps] == [(), ("s0",), ("s1",), ("s2",), ("s3",), ("s4",)]
    assert [len(level) for level in fan_out.levels] == [1, 4, 1]
    assert set(fan_out.steps[-1].needs) == {"s1", "s2", "s3", "s4"}
    layered = draw("layered", 25, 1)
    depth = {step.id: int(step.id[1:]) // 5 for step in layered.steps}
    assert all(depth[name] == depth[step.id] - 1 for step in layered.steps for name in step.needs)
    assert all(1 <= len(step.needs) <= 3 for step in layered.steps[5:])
    diamond = draw("diamond", 20, 1)
    assert max(len(step.needs) for step in diamond.steps) >= 2
    assert len(Plan.parse(diamond.as_input()).sinks()) == 1


def longest(plan: DrawnPlan) -> float:
    """By trying every way through the plan."""
    steps = {step.id: step for step in plan.steps}

    def until(step: Step) -> list[float]:
        before = [seconds for name in step.needs for seconds in until(steps[name])]
        return [seconds + step.seconds for seconds in before or [0.0]]

    return max(seconds for step in plan.steps for seconds in until(step))


def test_the_critical_path_is_the_longest_of_all_ways() -> None:
    for shape in SHAPES:
        for seed in range(5):
            plan = draw(shape, 12, seed)
            assert plan.critical_path == pytest.approx(longest(plan))
            assert plan.critical_path <= plan.in_levels + 1e-9 <= plan.work + 2e-9


def test_the_server_takes_as_long_as_the_plan_says_and_needs_the_answers_before() -> None:
    first, second = draw("chain", 5, 1).steps[:2]
    seconds, message = reply({"messages": [{"role": "user", "content": first.instruction}]})
    assert message is not None
    assert seconds == first.seconds
    alone = {"role": "user", "content": second.instruction}
    assert reply({"messages": [alone]})[1] is None
    assert reply({"messages": [{"role": "user", "content": message["content"]}, alone]})[1] is not None


@pytest.mark.server
def test_every_system_answers_every_step_of_a_tiny_plan() -> None:
    plans = [draw(shape, 7, 1).stretched(0.01) for shape in ("diamond", "layered")]
    with serving() as url, asyncio.Runner() as runner:
        for name, make in SYSTEMS.items():
            if name == HANDOFFS and not is_installed:
                continue
            system = make(url)
            for plan in plans:
                values = timed(system, plan, runner)  # which checks the answers
                assert values["wall"] >= plan.critical_path
        crowd = crowd_due(3, url, 1, runner)
        assert crowd[0].go()["least"] > 0


def test_a_missing_or_wrong_answer_is_no_timing() -> None:
    plan = draw("chain", 5, 1)
    check(plan, plan.answers)
    with pytest.raises(RuntimeError, match=r"chain-5-1: 1 answers are wrong or missing: s4"):
        check(plan, {**plan.answers, "s4": "wrong"})


def a_turn(arm: str, wall: float, case: str = "layered-20-1", run: int = 0) -> Turn:
    times = {"wall": wall, "cpu": 0.0, "critical_path": 4.0, "in_levels": 6.0}
    return Turn("makespan", case, arm, run, times)


def test_goals_are_judged_by_medians_over_plans() -> None:
    turns = [a_turn(OURS, 4.1), a_turn(WAVES, 6.15), a_turn(OURS, 4.8, "chain-5-1"), a_turn(FLOOR, 4.0)]
    assert over(turns, WAVES, OURS) == [pytest.approx(1.5)]
    assert over(turns, OURS, "critical_path") == [pytest.approx(1.025), pytest.approx(1.2)]
    met = {goal.measure: goal.met for goal in goals(turns)}
    assert met[f"wall time over the critical path, {OURS}"] is False
    assert met[f"{WAVES} over {OURS}, layered plans"] is True
    assert "| layered-20-1 | 4.00 | 1.500 | 1.025 | 1.538 | 1.000 |" in markdown(turns)


def test_a_file_is_gone_on_from_and_only_under_its_own_conditions(tmp_path: Path) -> None:
    file, made = tmp_path / "turns.json", list[int]()

    def due(run: int) -> Due:
        def go() -> dict[str, float]:
            made.append(run)
            return {"wall": 1.0}

        return Due("makespan", "chain-5-1", OURS, run, 1.0, go)

    turns = Turns(file, {"quick": True})
    turns.make(due(0))
    again = Turns(file, {"quick": True})
    assert list(again) == list(turns)
    for each in again.left([due(0), due(1)]):
        again.make(each)
    assert made == [0, 1]
    with pytest.raises(InputError, match="name another file"):
        Turns(file, {"quick": False})
