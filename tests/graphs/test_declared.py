import json
from pathlib import Path
from typing import Any

import pytest

from stellwerk.error_policy import ErrorPolicy
from stellwerk.errors import ConfigurationError, ModelFileError
from stellwerk.graphs.default import configured_workers, default_ladder, default_orchestrator
from stellwerk.graphs.goals import goal_of, goal_record, recorded_goal
from stellwerk.graphs.learned import check_tiers
from stellwerk.persistence.routers import SQLAlchemyRouterRegistry
from stellwerk.routers import SmallestFirst
from stellwerk.routers.floor import QualityFloor
from stellwerk.routers.goal import CostBudget, ErrorPrice, Goal
from stellwerk.routers.training import train
from stellwerk.settings import (
    BudgetSettings,
    CacheSettings,
    ErrorSettings,
    PlanningSettings,
    RouterSettings,
    Settings,
    TierSettings,
)
from stellwerk.tiers.tier import Price
from tests.fake_openai import Body, job_of, serve_openai, title_of
from tests.routers.questions import episodes

MODULE = """
from pydantic import BaseModel
from stellwerk import ErrorPolicy, create_worker

class Number(BaseModel):
    number: int

def invoice_worker():
    return create_worker("invoice", output=Number, prompt="Give the number of the invoice.")

careful = create_worker(
    "careful", output=Number, prompt="Give a number.",
    errors=ErrorPolicy(retries=1, on_failure="substitute", substitute={"number": 0}),
)
ready = create_worker("ready", output=Number, prompt="Give a number.")
number = 5

def broken():
    raise RuntimeError("no licence")

def nothing():
    return None
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An importable module; the name is new each time, as modules stay imported."""
    name = f"declared_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def workers(*paths: str) -> list[str]:
    return [worker.name for worker in configured_workers(Settings(workers=paths))]


def test_workers_by_name_and_by_import_path(module: str) -> None:
    assert workers("extract", f"{module}:invoice_worker", f"{module}:ready") == [
        "extract",
        "invoice",
        "ready",
    ]


def test_no_workers_means_the_default_ones() -> None:
    assert workers() == ["look_up", "calculate", "extract", "summarise", "write"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (":number", "{module}:number is of type int; it has to be a Worker, or a function that makes one"),
        (":Number", "{module}:Number is a class; it has to be a Worker"),
        (":nothing", "{module}:nothing() gave something of type NoneType; it has to give a Worker"),
        (":broken", "{module}:broken() failed: RuntimeError: no licence"),
        (":invoice_wroker", "{module} has no invoice_wroker; did you mean invoice_worker?"),
        ("_absent:worker", "{module}_absent cannot be imported (ModuleNotFoundError"),
    ],
)  # fmt: skip
def test_a_path_that_leads_to_no_worker_is_named(module: str, name: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        workers(module + name)
    assert said.format(module=module) in str(caught.value)


def test_a_misspelt_ready_made_worker_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"no ready-made worker 'extrakt'; did you mean extract\?"):
        workers("extrakt")


def test_settings_alone_import_nothing() -> None:
    assert Settings(workers=("no_such_module:worker",)).workers == ("no_such_module:worker",)


def tiers(*names: str, **fields: object) -> tuple[TierSettings, ...]:
    given = {"model": "m", "url": "http://127.0.0.1:9/v1", **fields}
    return tuple(TierSettings.model_validate({"name": name, **given}) for name in names)


def test_a_run_with_declared_worker_router_and_budget(module: str) -> None:
    def answer(body: Body) -> object:
        if title_of(body) == "plan":
            step = {"id": "a", "worker": "invoice", "instruction": "Which number?", "depends_on": []}
            return {"subtasks": [step]}
        return {"number": 7} if title_of(body) == "Number" else "It is number 7."

    with serve_openai(answer) as server:
        settings = Settings(
            tiers=tiers("small", "large", url=server.url),
            workers=(f"{module}:invoice_worker",),
            router=RouterSettings(start={"invoice": "large"}),
            budget=BudgetSettings(attempts=1),
        )
        result = default_orchestrator(settings).compile().invoke({"task": "Which number has the invoice?"})
    attempts = result["results"]["a"]["attempts"]
    assert [attempt["tier"] for attempt in attempts] == ["large"]
    assert result["results"]["a"]["value"]["number"] == 7


def test_a_budget_in_money_keeps_a_subtask_where_it_is() -> None:
    def refuse(body: Body) -> object:
        return {"text": ""}

    with serve_openai(refuse) as server:
        dear = {"input_price": 1000, "output_price": 1000}
        settings = Settings(
            tiers=(
                *tiers("small", url=server.url, input_price=1, output_price=1),
                *tiers("large", url=server.url, **dear),
            ),
            budget=BudgetSettings(usd=0.001),
        )
        plan = {"subtasks": [{"id": "a", "worker": "write", "instruction": "Greet", "depends_on": []}]}
        result = default_orchestrator(settings).compile().invoke({"task": "Greet", "plan": plan})
    assert [attempt["tier"] for attempt in result["results"]["a"]["attempts"]] == ["small"]


@pytest.mark.parametrize(
    ("router", "said"),
    [
        (RouterSettings(start={"extract": "huge"}), "there is no tier 'huge'"),
        (RouterSettings(start={"extrakt": "small"}), "router.start.extrakt: there is no such worker"),
        (RouterSettings(name="fixed", tier="large"), "there is no tier 'large'; tiers: small"),
    ],
)  # fmt: skip
def test_a_router_that_names_what_is_not_there(router: RouterSettings, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        default_orchestrator(Settings(tiers=tiers("small"), router=router))
    assert said in str(caught.value)


def test_a_known_model_takes_the_price_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    settings = Settings(
        tiers=(
            *tiers("local"),
            *tiers("gateway", priced_as="openai/gpt-4.1-mini"),
            *tiers("hosted", model="gpt-4.1", url=()),
            *tiers("own", model="gpt-4.1", url=(), input_price=1, output_price=9),
        )
    )
    prices = [tier.price for tier in default_ladder(settings)]
    assert prices == [
        None,
        Price(input=0.4, cached=0.1, output=1.6),
        Price(input=2.0, cached=0.5, output=8.0),
        Price(input=1.0, output=9.0),
    ]


def test_embedded_tiers_stand_beside_others() -> None:
    embedded = TierSettings(name="tiny", kind="embedded", model="smollm2-135m", context_window=2048)
    other = TierSettings(name="middle", kind="embedded", model="qwen2.5-coder-0.5b")
    ladder = default_ladder(Settings(tiers=(embedded, other, *tiers("large", input_price=1, output_price=2))))
    assert ladder.names == ("tiny", "middle", "large")
    assert [tier.context_window for tier in ladder] == [2048, 8192, 32_768]
    assert ladder[0].gate is ladder[1].gate
    assert Settings(tiers=(embedded, *tiers("large"))).embedded_models == ("smollm2-135m",)


def test_an_unknown_embedded_model_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no embedded model 'huge'"):
        default_ladder(Settings(tiers=(TierSettings(name="a", kind="embedded", model="huge"),)))


def test_a_learned_router_needs_a_promoted_one_that_knows_the_tiers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    learned = RouterSettings(name="learned", quality_floor=0.9)
    settings = Settings(tiers=tiers("small", "large"), router=learned, database=tmp_path / "runs.sqlite")
    default_orchestrator(settings)
    assert "no router is promoted yet" in caplog.text
    assert not (tmp_path / "runs.sqlite").exists()
    with SQLAlchemyRouterRegistry.from_url(tmp_path / "runs.sqlite") as registry:
        registry.add("ab" * 32, b"no model", {})
        registry.promote("ab" * 32, who="ada", why="to see")
    with pytest.raises(ModelFileError, match="the router abababababab is cut off"):
        default_orchestrator(settings)
    default_orchestrator(settings, router=SmallestFirst())  # which needs no other


def test_a_router_in_the_shadow_that_cannot_be_used_stops_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shadowed = RouterSettings(shadow=True, quality_floor=0.9)
    settings = Settings(tiers=tiers("small", "large"), router=shadowed, database=tmp_path / "runs.sqlite")
    with SQLAlchemyRouterRegistry.from_url(tmp_path / "runs.sqlite") as registry:
        registry.add("ab" * 32, b"no model", {})
        registry.shadow("ab" * 32, who="ada", why="to see")
    default_orchestrator(settings)
    assert "no router decides in the shadow: the router abababababab is cut off" in caplog.text


def test_a_router_of_the_same_tiers_in_another_order_is_refused_before_a_run() -> None:
    model = train(episodes(40), ("small", "medium", "large"))
    check_tiers(model, default_ladder(Settings(tiers=tiers("small", "large"))))
    with pytest.raises(ConfigurationError, match="the ladder has large < small; train one with"):
        check_tiers(model, default_ladder(Settings(tiers=tiers("large", "small"))))


@pytest.mark.parametrize(
    ("router", "goal"),
    [
        ({"quality_floor": 0.9}, QualityFloor(floor=0.9)),
        (
            {"quality_floor": 0.9, "confidence": 0.9, "relative": True, "coverage": 0.8},
            QualityFloor(floor=0.9, confidence=0.9, relative=True, coverage=0.8),
        ),
        ({"usd_per_failure": 2.0}, ErrorPrice(usd=2.0)),
        ({"usd_per_subtask": 0.5}, CostBudget(usd=0.5)),
    ],
)
def test_goals_come_from_the_settings_and_back_from_their_records(router: dict[str, Any], goal: Goal) -> None:
    found = goal_of(RouterSettings(name="learned", **router))
    assert found == goal == recorded_goal(json.loads(json.dumps(goal_record(goal))))


def policies(**errors: Any) -> dict[str, ErrorPolicy]:
    settings = Settings(errors=ErrorSettings.model_validate(errors))
    return {worker.name: worker.errors for worker in configured_workers(settings)}


def test_one_policy_for_all_workers_and_what_is_different_for_one() -> None:
    extract: dict[str, Any] = {
        "on_failure": "substitute",
        "substitute": {"answer": ["nothing"]},
        "retries": 3,
    }
    found = policies(retries=1, run_timeout=60, workers={"extract": extract})
    assert found["write"] == ErrorPolicy(retries=1, run_timeout=60)
    assert found["extract"] == ErrorPolicy(**{**extract, "run_timeout": 60})


def test_a_worker_keeps_a_policy_of_its_own_but_for_what_is_said_of_it(module: str) -> None:
    paths = (f"{module}:invoice_worker", f"{module}:careful", "write")

    def found(**errors: Any) -> dict[str, ErrorPolicy]:
        settings = Settings(workers=paths, errors=ErrorSettings.model_validate(errors))
        return {worker.name: worker.errors for worker in configured_workers(settings)}

    of_all = found(retries=2)
    assert (of_all["invoice"].retries, of_all["careful"].retries) == (2, 1)
    of_one = found(retries=2, workers={"careful": {"on_failure": "fail"}})
    assert of_one["careful"] == ErrorPolicy(retries=1, on_failure="fail")  # without its substitute


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        (
            {"extrakt": {"retries": 1}},
            "errors.workers.extrakt: there is no such worker; did you mean extract? workers: look_up, calc",
        ),
        (
            {"write": {"on_failure": "substitute", "substitute": {"txt": "x"}}},
            "errors.workers.write: worker 'write': substitute {'txt': 'x'} does not fit",
        ),
    ],
)
def test_a_policy_that_fits_no_worker_is_named(workers: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        policies(workers=workers)
    assert str(caught.value).startswith(said)


async def test_plans_and_answers_of_before_are_in_the_database_and_nothing_is_where_nothing_is_kept(
    tmp_path: Path, sync: bool
) -> None:
    def answer(body: Body) -> object:
        if title_of(body) == "plan":
            return {"subtasks": [{"id": "a", "worker": "write", "instruction": "Greet", "depends_on": []}]}
        return {"text": "Hello."}

    place = tmp_path / "new" / "runs.sqlite"
    with serve_openai(answer) as server:
        settings = Settings(tiers=tiers("only", url=server.url), database=place)
        default_orchestrator(settings).compile()
        assert not place.exists()
        kept = settings.model_copy(
            update={"planning": PlanningSettings(reuse_plans=True), "cache": CacheSettings(ttl=60)}
        )
        ledgers = []
        for _ in range(2):
            graph = default_orchestrator(kept).compile()
            state = graph.invoke({"task": "Greet"}) if sync else await graph.ainvoke({"task": "Greet"})
            ledgers.append(state["ledger"])
        assert len(server.asked("plan")) == 1
    assert [ledger.get("cached", 0) for ledger in ledgers] == [0, 1]
    assert "plan_kept" in ledgers[1]
    assert ledgers[1]["total"]["calls"] == 0
    assert place.stat().st_mode & 0o077 == 0


def test_what_gave_no_result_is_planned_anew_as_often_as_is_set() -> None:
    plans = iter(["hopeless", "hopeless too", "fine"])

    def answer(body: Body) -> object:
        if title_of(body) == "plan":
            step = {"id": "a", "worker": "write", "instruction": next(plans), "depends_on": []}
            return {"subtasks": [step]}
        return {"text": "Done."} if "fine" in job_of(body) else "no json"

    with serve_openai(answer) as server:
        settings = Settings(tiers=tiers("only", url=server.url), planning=PlanningSettings(replans=2))
        state = default_orchestrator(settings).compile().invoke({"task": "Do it"})
    assert (state["failure"], state["ledger"]["replans"]) == (None, 2)
