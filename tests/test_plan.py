import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellwerk.errors import PlanError
from stellwerk.plan import MAX_SUBTASKS, Plan


def node(name: Any, *needs: Any, worker: str = "extract", instruction: Any = "go") -> dict[str, Any]:
    return {"id": name, "worker": worker, "instruction": instruction, "depends_on": list(needs)}


def parse(*subtasks: Any) -> Plan:
    return Plan.parse(list(subtasks))


def ids(plan: Plan) -> list[str]:
    return [subtask.id for subtask in plan.in_order()]


def test_subtasks_of_one_worker_stand_together_where_the_plan_allows_it() -> None:
    plan = parse(
        node("a", worker="extract"),
        node("b", worker="write"),
        node("c", worker="extract"),
        node("d", "b", worker="write"),
        node("e", "a", worker="extract"),
        node("f", worker="write"),
    )
    assert ids(plan) == ["a", "c", "b", "f", "e", "d"]


@pytest.mark.parametrize(
    ("subtasks", "message"),
    [
        ([], "the plan has no subtask"),
        ([node("a"), node("a")], "subtask id 'a' is used twice"),
        ([node("a", "a")], "subtask 'a' depends on itself"),
        ([node("a", "b")], "subtask 'a' depends on 'b', which is not in the plan"),
        ([node("2nd")], "subtask id '2nd' is not usable"),
        ([node("")], "subtask id '' is not usable"),
        ([node("a b")], "subtask id 'a b' is not usable"),
        ([node("a\n")], r"subtask id 'a\\n' is not usable"),
        ([node("a" * 65)], "at most 64"),
        ([node("a"), node("b", instruction="")], "subtask 'b', field 'instruction'"),
        ([node("a"), node("b", instruction=" \n")], "subtask 'b', field 'instruction': .*blank"),
        ([node("b", instruction="x" * 1_000_001)], "subtask 'b', field 'instruction': .*1000000"),
        ([node("b") | {"tier": "large"}], "subtask 'b', field 'tier': Extra inputs are not permitted"),
        ([node("a"), {"id": "b", "worker": "extract"}], "subtask 'b', field 'instruction': Field required"),
        ([node("a"), {"worker": "extract", "instruction": "go"}], "subtask 2, field 'id': Field required"),
        ([node("a"), node(7)], r"subtask 7, field 'id': .*string.*\(found 7\)"),
        ([node("b", instruction=None)], r"subtask 'b', field 'instruction': .*\(found None\)"),
        ([node("a"), node("b", 1)], r"subtask 'b', field 'depends_on.0': .*\(found 1\)"),
        ([node("b") | {"depends_on": "a"}], r"subtask 'b', field 'depends_on': .*\(found 'a'\)"),
        ([node("a"), "b"], r"subtask 2: .*\(found 'b'\)"),
    ],
)
def test_an_unusable_subtask_is_named(subtasks: list[Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Plan.parse(subtasks)


def test_a_circle_is_shown_in_the_direction_of_need() -> None:
    with pytest.raises(PlanError, match="in a circle: ") as caught:
        parse(node("a", "c"), node("b", "a"), node("c", "b"), node("d"))
    circle = str(caught.value).rpartition(": ")[2].split(" -> ")
    assert circle[0] == circle[-1]
    assert set(pairwise(circle)) == {("a", "c"), ("c", "b"), ("b", "a")}


def test_a_plan_past_the_limit_is_refused_with_both_numbers() -> None:
    with pytest.raises(PlanError, match=f"{MAX_SUBTASKS + 1} subtasks; the limit is {MAX_SUBTASKS}"):
        Plan.parse([node(f"s{number}") for number in range(MAX_SUBTASKS + 1)])


def test_a_chain_as_long_as_the_limit_is_fine() -> None:
    chain = [node(f"s{n}", *([f"s{n + 1}"] if n + 1 < MAX_SUBTASKS else [])) for n in range(MAX_SUBTASKS)]
    assert ids(Plan.parse(chain)) == [f"s{n}" for n in reversed(range(MAX_SUBTASKS))]


def test_a_long_value_is_shortened_in_the_message() -> None:
    with pytest.raises(PlanError) as caught:
        parse(node("a", instruction=["x" * 10_000]))
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "source",
    [
        [node("a"), node("b", "a")],
        (node("a"), node("b", "a")),
        {"subtasks": [node("a"), node("b", "a")]},
        json.dumps({"subtasks": [node("a"), node("b", "a")]}),
        json.dumps([node("a"), node("b", "a")]),
        parse(node("a"), node("b", "a")),
    ],
    ids=["list", "tuple", "mapping", "JSON mapping", "JSON list", "plan"],
)
def test_every_form_of_a_plan_is_read(source: Any) -> None:
    assert Plan.parse(source) == parse(node("a"), node("b", "a"))
    assert ids(Plan.parse(source)) == ["a", "b"]


def test_a_plan_outlives_json() -> None:
    plan = parse(node("a"), node("b", "a"))
    assert Plan.parse(json.loads(json.dumps(plan.model_dump(mode="json")))) == plan


@pytest.mark.parametrize(
    "text", ["", "{", "no plan", '{"subtasks": [', "[" * 100_000, "1" * 5_000], ids=lambda text: text[:10]
)
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="the plan is not JSON"):
        Plan.parse(text)


@pytest.mark.parametrize("source", ["3", "null", '"text"', '{"subtasks": 3}', '{"steps": []}', 3, None])
def test_json_that_is_no_plan_is_refused_by_field(source: Any) -> None:
    with pytest.raises(PlanError, match=r"^(subtasks|steps): "):
        Plan.parse(source)


def test_an_unknown_worker_is_named_with_the_nearest_known_one() -> None:
    plan = parse(node("a"), node("b", worker="extrakt"))
    with pytest.raises(
        PlanError, match="subtask 'b' names the unknown worker 'extrakt'; did you mean 'extract'"
    ):
        plan.check_workers({"extract", "write"})
    with pytest.raises(PlanError, match="known workers: calculate, write"):
        parse(node("a", worker="paint")).check_workers(["write", "calculate"])
    parse(node("a")).check_workers({"extract": object()})


def test_sinks_are_what_nothing_needs() -> None:
    plan = parse(node("a"), node("b", "a"), node("c", "a"), node("d"))
    assert [subtask.id for subtask in plan.sinks()] == ["b", "c", "d"]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Needs by node, written in any order, free of circles."""
    names = [f"n{number}" for number in range(draw(st.integers(1, 12)))]
    needs = {
        name: draw(st.lists(st.sampled_from(names[:index]), unique=True)) if index else []
        for index, name in enumerate(names)
    }
    return {name: needs[name] for name in draw(st.permutations(names))}


def as_plan(needs: Mapping[str, list[str]]) -> Plan:
    return Plan.parse([node(name, *dependencies) for name, dependencies in needs.items()])


@given(graphs())
def test_the_order_is_a_permutation_with_every_need_first(needs: dict[str, list[str]]) -> None:
    order = ids(as_plan(needs))
    assert sorted(order) == sorted(needs)
    place = {name: index for index, name in enumerate(order)}
    assert all(place[need] < place[name] for name in needs for need in needs[name])


@given(graphs())
def test_the_order_is_the_same_every_time(needs: dict[str, list[str]]) -> None:
    plan = as_plan(needs)
    assert ids(plan) == ids(plan) == ids(Plan.parse(plan.model_dump_json()))


@given(graphs(), st.data())
def test_a_circle_anywhere_is_refused(needs: dict[str, list[str]], data: st.DataObject) -> None:
    length = data.draw(st.integers(2, 5))
    ring = [f"r{number}" for number in range(length)]
    for name, need in zip(ring, [*ring[1:], ring[0]], strict=True):
        needs[name] = [need, *data.draw(st.lists(st.sampled_from(sorted(needs)), unique=True, max_size=2))]
        needs[name] = list(dict.fromkeys(need for need in needs[name] if need != name))
    with pytest.raises(PlanError, match="in a circle: "):
        as_plan(needs)
