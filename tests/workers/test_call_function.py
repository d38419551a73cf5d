import json
from typing import Any

import pytest
from langchain_core.tools import tool

from stellwerk import ConfigurationError, Ladder, Rails, Tier, call_function_worker
from stellwerk.graphs import create_worker_graph
from stellwerk.trace import AttemptTrace, RunTrace
from stellwerk.worker import Brief, Worker
from tests.fakes import Scripted, always, in_turn, ladder, run

TRAVEL: dict[str, Any] = {
    "name": "travel.route",
    "description": "Find a route between two towns.",
    "parameters": {
        "type": "object",
        "properties": {
            "start": {"type": "string", "description": "Where it begins."},
            "end": {"type": "string", "description": "Where it ends."},
            "kind": {
                "type": "string",
                "description": "Can be 'fastest', 'shortest' or 'scenic'. Default 'fastest'.",
            },
            "stops": {"type": "integer", "description": "Number of stops. Default is 0."},
            "avoid_tolls": {"type": "boolean", "description": "Default is false."},
        },
        "required": ["start", "end"],
    },
}
AREA: dict[str, Any] = {
    "name": "area",
    "description": "Area of a rectangle.",
    "parameters": {
        "type": "object",
        "properties": {
            "width": {"type": "number", "description": "in cm"},
            "height": {"type": "number", "description": "in cm"},
        },
        "required": ["width", "height"],
    },
}


NARROW = Rails(ground=True, omit=True, settle=True, solved=True)


def arguments(worker: Worker, request: str) -> dict[str, Any]:
    """The schema of the arguments for a request, by name."""
    schema = worker.schema_for(Brief(instruction=request))
    found: dict[str, Any] = schema["properties"]["arguments"]["properties"]
    return found


def ask(worker: Worker, request: str, *replies: str) -> dict[str, Any]:
    graph = create_worker_graph(
        worker, ladder(Scripted(reply=in_turn(*replies)), always("not this one"))
    ).compile()
    output: dict[str, Any] = run(graph, {"instruction": request}, sync=True)
    return output


def test_values_come_from_the_request() -> None:
    offered = arguments(call_function_worker([TRAVEL], rails=NARROW), "From Graz to Bad Ischl, please.")
    assert {"Graz", "Bad Ischl"} <= set(offered["start"]["enum"])
    assert "Vienna" not in offered["start"]["enum"]
    figures = arguments(call_function_worker([AREA], rails=NARROW), "A sheet of 12 by 7.5 cm")
    assert figures["width"]["enum"] == [12, 7.5]


def test_a_figure_that_follows_its_name_is_settled() -> None:
    offered = arguments(
        call_function_worker([AREA], rails=NARROW), "What area has a height of 3 and a width of 4?"
    )
    assert (offered["width"], offered["height"]) == ({"enum": [4]}, {"enum": [3]})


@pytest.mark.parametrize(
    ("request_text", "optional"),
    [
        ("From Graz to Linz", set()),
        ("The scenic way from Graz to Linz", {"kind"}),
        ("From Graz to Linz with stops: 2 of them", {"stops"}),
        ("From Graz to Linz, avoiding tolls", {"avoid_tolls"}),
    ],
)
def test_an_optional_argument_is_there_where_the_request_speaks_of_it(
    request_text: str, optional: set[str]
) -> None:
    offered = arguments(call_function_worker([TRAVEL], rails=NARROW), request_text)
    assert offered.keys() - {"start", "end"} == optional
    free = arguments(call_function_worker([TRAVEL], rails=Rails(settle=True, ground=True)), request_text)
    assert free.keys() == TRAVEL["parameters"]["properties"].keys()


def test_a_choice_that_the_request_names_is_settled() -> None:
    offered = arguments(
        call_function_worker([TRAVEL], rails=NARROW), "The scenic way from Graz to Linz, avoiding tolls"
    )
    assert offered["kind"] == {"enum": ["scenic"]}
    assert offered["avoid_tolls"] == {"enum": [True]}
    asked = arguments(
        call_function_worker([TRAVEL], rails=NARROW), "From Graz to Linz, but do not avoid tolls"
    )
    assert asked["avoid_tolls"] == {"type": "boolean"}


def test_without_the_rails_the_function_says_it_all() -> None:
    assert arguments(call_function_worker([AREA]), "12 by 7.5") == AREA["parameters"]["properties"]


def test_the_call_is_the_result() -> None:
    said = json.dumps({"function": "area", "arguments": {"width": 12, "height": 7.5}})
    output = ask(call_function_worker([AREA]), "A sheet of 12 by 7.5 cm", said)
    assert output["value"] == {"function": "area", "arguments": {"width": 12, "height": 7.5}}


def test_each_of_several_functions_has_its_own_arguments() -> None:
    worker = call_function_worker([TRAVEL, AREA])
    schema = worker.schema_for(Brief(instruction="Something of 12 and 7"))
    offered = schema["properties"]["call"]["anyOf"]
    assert [one["properties"]["function"]["enum"] for one in offered] == [["travel.route"], ["area"]]
    said = json.dumps({"call": {"function": "area", "arguments": {"width": 12, "height": 7}}})
    assert ask(worker, "Something of 12 and 7", said)["value"]["function"] == "area"


def test_a_function_that_the_request_clearly_means_is_settled() -> None:
    worker = call_function_worker([TRAVEL, AREA], rails=NARROW)
    schema = worker.schema_for(Brief(instruction="The area of a rectangle, width 3, height 4"))
    assert schema["properties"]["call"]["properties"]["function"]["enum"] == ["area"]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ({"function": "volume", "arguments": {}}, "there is no function 'volume'; there are area"),
        ({"function": "area", "arguments": {"width": 3}}, "arguments.height is missing"),
        ({"function": "area", "arguments": {"width": "3", "height": 4}}, "must be of type number"),
        ({"function": "area", "arguments": {"width": True, "height": 4}}, "must be of type number"),
        ({"function": "area", "arguments": {"width": 3, "height": 4, "depth": 5}}, "depth is no parameter"),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong_and_mended_once(call: dict[str, Any], problem: str) -> None:
    good = json.dumps({"function": "area", "arguments": {"width": 3, "height": 4}})
    worker = call_function_worker([AREA])
    output = ask(worker, "3 by 4", json.dumps(call), good)
    assert output["value"]["arguments"] == {"width": 3, "height": 4}
    assert [each["step"] for each in output["calls"]] == ["generate", "repair"]
    again = ask(worker, "3 by 4", json.dumps(call), json.dumps(call))
    assert again["verdict"]["reason"] == "check"
    assert problem in again["verdict"]["detail"]


def test_functions_and_tools_serve_as_well() -> None:
    @tool
    def weather(town: str, days: int = 1) -> str:
        """Tell the weather of a town.

        Args:
            town: where
            days: how many days
        """
        return "rain"

    def dose(weight: float) -> float:
        """Work out a dose."""
        return weight

    worker = call_function_worker([weather, dose])
    prompt = worker.prompt_for(Brief(instruction="A dose for 3 kg"))
    assert "Function weather: Tell the weather of a town." in prompt
    assert "- weight (number)" in prompt


def test_no_function_and_two_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="has no function to call"):
        call_function_worker([])
    with pytest.raises(ConfigurationError, match="two functions named 'area'"):
        call_function_worker([AREA, AREA])


def test_a_name_that_two_parameters_share_settles_neither() -> None:
    years: dict[str, Any] = {
        "name": "growth",
        "parameters": {
            "properties": {"start_year": {"type": "integer"}, "end_year": {"type": "integer"}},
            "required": ["start_year", "end_year"],
        },
    }
    offered = arguments(call_function_worker([years], rails=NARROW), "Growth between the years 1990 and 2000")
    assert offered["start_year"]["enum"] == offered["end_year"]["enum"] == [1990, 2000]


def test_a_share_keeps_both_its_readings() -> None:
    loan: dict[str, Any] = {
        "name": "loan",
        "parameters": {"properties": {"rate": {"type": "number"}}, "required": ["rate"]},
    }
    worker = call_function_worker([loan], rails=NARROW)
    assert arguments(worker, "At a rate of 5% for 3 years")["rate"]["enum"] == [5, 0.05]


def test_a_tier_says_which_rails_its_model_needs() -> None:
    said = json.dumps({"function": "area", "arguments": {"width": 12, "height": 7.5}})
    small, large = Scripted(reply=always(said)), Scripted(reply=always(said))
    tiers = Ladder([Tier(name="small", model=small, rails=NARROW), Tier(name="large", model=large)])
    graph = create_worker_graph(call_function_worker([AREA]), tiers).compile()
    for tier in tiers.names:
        assert run(graph, {"instruction": "12 by 7.5", "tier": tier}, sync=True)["verdict"]["accepted"]
    assert "Function reserve_table" in small.prompts[0]
    assert "Function reserve_table" not in large.prompts[0]
    offered = [model.options[0]["response_format"]["json_schema"]["schema"] for model in (small, large)]
    width = [schema["properties"]["arguments"]["properties"]["width"] for schema in offered]
    assert width == [{"enum": [12, 7.5]}, AREA["parameters"]["properties"]["width"]]


def test_a_worker_with_rails_of_its_own_runs_on_them_on_every_tier() -> None:
    said = json.dumps({"function": "area", "arguments": {"width": 12, "height": 7.5}})
    small = Scripted(reply=always(said))
    tiers = Ladder([Tier(name="small", model=small, rails=NARROW)])
    graph = create_worker_graph(call_function_worker([AREA], rails=Rails()), tiers).compile()
    run(graph, {"instruction": "12 by 7.5"}, sync=True)
    assert "Function reserve_table" not in small.prompts[0]


def test_a_repair_is_the_tiers_to_allow() -> None:
    wrong = Scripted(reply=always("no JSON"))
    tiers = Ladder([Tier(name="small", model=wrong, rails=Rails(repair=False))])
    output = run(
        create_worker_graph(call_function_worker([AREA]), tiers).compile(), {"instruction": "x"}, sync=True
    )
    assert [call["step"] for call in output["calls"]] == ["generate"]


def test_the_version_tells_tiers_of_other_rails_apart() -> None:
    free, own = call_function_worker([AREA]), call_function_worker([AREA], rails=Rails())
    assert free.version == free.version_on(Rails()) != free.version_on(NARROW)
    assert own.version_on(Rails()) == own.version_on(NARROW) == own.version


LOAN: dict[str, Any] = {
    "name": "loan",
    "parameters": {
        "properties": {
            "sum": {"type": "number"},
            "rate": {"type": "number", "description": "Interest for a year."},
            "rates": {"type": "array", "items": {"type": "number"}},
            "fee": {"type": "number", "description": "In percent."},
            "discount": {"type": "integer"},
        },
        "required": [],
    },
}


@pytest.mark.parametrize(
    ("request_text", "given", "meant"),
    [
        ("900 at 5%", {"sum": 900, "rate": 5}, {"sum": 900, "rate": 0.05}),
        ("900 at 5.5 percent", {"rate": 5.5}, {"rate": 0.055}),
        ("900 at 5%", {"rate": 0.05}, {"rate": 0.05}),
        ("900 at 5%, for 5 years", {"rate": 5}, {"rate": 5}),
        ("at 3% and then 4%", {"rates": [3, 4]}, {"rates": [0.03, 0.04]}),
        ("a fee of 2%", {"fee": 2}, {"fee": 2}),
        ("a discount of 2%", {"discount": 2}, {"discount": 2}),
        ("-3% a year", {"rate": -3}, {"rate": -0.03}),
    ],
)
def test_a_percentage_is_a_fraction_unless_the_function_speaks_of_percent(
    request_text: str, given: dict[str, Any], meant: dict[str, Any]
) -> None:
    said = json.dumps({"function": "loan", "arguments": given})
    mended = ask(call_function_worker([LOAN], rails=Rails(shares=True)), request_text, said)
    assert mended["value"]["arguments"] == meant
    left = ask(call_function_worker([LOAN]), request_text, said)
    assert left["value"]["arguments"] == given


def test_a_trace_tells_which_rails_shaped_the_answer() -> None:
    class Sink:
        def __init__(self) -> None:
            self.attempts: list[AttemptTrace] = []

        def attempt(self, trace: AttemptTrace, /) -> None:
            self.attempts.append(trace)

        def run(self, trace: RunTrace, /) -> None:
            raise AssertionError("a worker that runs alone is no run")

    sink, worker = Sink(), call_function_worker([AREA])
    model = Scripted(reply=always("no JSON"))
    tiers = Ladder([Tier(name="small", model=model, rails=NARROW), Tier(name="large", model=model)])
    graph = create_worker_graph(worker, tiers, traces=sink).compile()
    for tier in tiers.names:
        run(graph, {"instruction": "12 by 7.5", "tier": tier}, sync=True)
    told = [trace.worker_version for trace in sink.attempts]
    assert told == [worker.version_on(NARROW), worker.version_on(Rails())]
