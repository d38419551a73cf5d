from pathlib import Path

import pytest

from stellwerk.errors import ConfigurationError
from stellwerk.graphs.default import configured_workers, default_ladder, default_orchestrator
from stellwerk.settings import BudgetSettings, RouterSettings, Settings, TierSettings
from stellwerk.tiers.tier import Price
from tests.fake_openai import Body, serve_openai, title_of

MODULE = """
from pydantic import BaseModel
from stellwerk import create_worker

class Number(BaseModel):
    number: int

def invoice_worker():
    return create_worker("invoice", output=Number, prompt="Give the number of the invoice.")

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
