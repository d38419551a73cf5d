import json
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_openai import ChatOpenAI

from stellwerk.budget import Budget
from stellwerk.errors import ConfigurationError
from stellwerk.graphs.default import default_ladder, default_orchestrator, default_router, default_workers
from stellwerk.plan import Subtask
from stellwerk.settings import Settings, TierSettings
from stellwerk.tiers.tier import Price
from tests.fake_openai import prompt_of, serve_openai, title_of

EMBEDDED = ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")


def first_tier(worker: str, settings: Settings) -> str | None:
    ladder = default_ladder(settings)
    chosen = next(spec for spec in default_workers() if spec.name == worker)
    subtask = Subtask(id="a", worker=worker, instruction="x")
    return default_router(ladder).decide(subtask, chosen, ladder, Budget(), []).tier


def test_without_tiers_the_embedded_ladder_serves() -> None:
    assert default_ladder(Settings(tiers=())).names == EMBEDDED


@pytest.mark.parametrize(
    ("worker", "tier"),
    [("look_up", 1), ("calculate", 1), ("extract", 2), ("summarise", 1), ("write", 1)],
)
def test_jobs_too_hard_for_the_smallest_model_start_above_it(worker: str, tier: int) -> None:
    assert first_tier(worker, Settings(tiers=())) == EMBEDDED[tier]


def test_every_job_starts_at_the_smallest_of_other_ladders() -> None:
    assert first_tier("extract", Settings(tiers=(), models=("smollm2-135m",))) == "smollm2-135m"
    assert first_tier("extract", Settings(tiers=(), models=EMBEDDED[:2])) == EMBEDDED[1]
    tiers = (TierSettings(name="a", model="m", url=("http://127.0.0.1:9/v1",)),)
    assert first_tier("extract", Settings(tiers=tiers)) == "a"


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no embedded model 'huge'"):
        default_ladder(Settings(tiers=(), models=("huge",)))


def test_a_key_is_read_from_the_variable_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tier = TierSettings(name="a", model="m", api_key_env="SOME_KEY")
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="tier 'a' takes its key from SOME_KEY, which is not set"):
        default_ladder(Settings(tiers=(tier,)))
    monkeypatch.setenv("SOME_KEY", "secret")
    model = default_ladder(Settings(tiers=(tier,)))[0].model
    assert isinstance(model, ChatOpenAI)
    assert "secret" not in repr(model)


def test_a_server_without_a_key_of_its_own_gets_nobodys_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "meant-for-openai")
    with serve_openai(lambda body: "hello") as server:
        tier = TierSettings(name="a", model="m", url=(server.url,))
        default_ladder(Settings(tiers=(tier,)))[0].model.invoke("hello")
        assert server.keys == {"Bearer EMPTY"}


def test_prices_go_over() -> None:
    tier = TierSettings(name="a", model="m", input_price=1, cached_price=0.5, output_price=2)
    assert default_ladder(Settings(tiers=(tier.model_copy(update={"url": ("http://127.0.0.1:9",)}),)))[
        0
    ].price == Price(input=1, cached=0.5, output=2)


@pytest.mark.parametrize("kind", ["openai", "vllm"])
def test_the_limits_of_a_served_tier_go_over(kind: Literal["openai", "vllm"]) -> None:
    limits: dict[str, Any] = {"patience": 2.0, "max_wait": 30.0, "max_retries": 1, "timeout": 7.0}
    declared = TierSettings(name="a", kind=kind, model="m", url=("http://127.0.0.1:9/v1",), **limits)
    (made,) = default_ladder(Settings(tiers=(declared,)))
    assert {name: getattr(made, name) for name in limits} == limits
    watched = declared.model_copy(update={"metrics": True})
    (made,) = default_ladder(Settings(tiers=(watched,)))
    assert made.replicas[0].load is not None
    (made,) = default_ladder(Settings(tiers=(declared.model_copy(update={"metrics": False}),)))
    assert made.replicas[0].load is None


def test_the_limits_of_an_embedded_tier_go_over() -> None:
    set_, left = default_ladder(
        Settings(
            tiers=(
                TierSettings(name="a", kind="embedded", model="smollm2-135m", timeout=40, patience=2),
                TierSettings(name="b", kind="embedded", model="qwen2.5-coder-0.5b"),
            )
        )
    )
    assert (set_.timeout, set_.patience) == (40, 2)
    assert left.timeout is None
    assert set_.gate is left.gate


def test_the_default_orchestrator_runs_on_configured_tiers() -> None:
    def answer(body: dict[str, object]) -> object:
        if title_of(body) == "plan":
            step = {"id": "a", "worker": "write", "instruction": "Greet Ada", "depends_on": []}
            return {"subtasks": [step]}
        assert "Greet Ada" in prompt_of(body)
        return {"text": "Hello Ada."}

    with serve_openai(answer) as server:
        tier = TierSettings(name="a", model="m", url=(server.url,))
        app = default_orchestrator(Settings(tiers=(tier,))).compile()
        result = app.invoke({"task": "Say hello to Ada"})
    assert result["answer"] == "Hello Ada."
    assert result["ledger"]["total"] | {"seconds": 0} == {
        "calls": 2, "input": 200, "cached": 120, "output": 20, "usd": 0.0, "unpriced": 2, "seconds": 0
    }  # fmt: skip


def test_langgraph_json_names_what_is_there() -> None:
    from stellwerk.graphs import studio, studio_storage
    from stellwerk.serving import studio_app, studio_auth

    root = Path(__file__).parents[2]
    declared = json.loads((root / "langgraph.json").read_text())
    graphs = declared["graphs"]
    workers = {worker.name for worker in default_workers()}
    assert set(graphs) == {"orchestrator", *workers}
    for name, graph in graphs.items():
        path, _, variable = graph["path"].partition(":")
        assert (root / path).samefile(studio.__file__)
        compiled = getattr(studio, variable)
        assert compiled.get_name() == name
        assert not compiled.checkpointer  # the server brings its own and refuses any other
    for (path, _, variable), module in (
        (declared["auth"]["path"].partition(":"), studio_auth),
        (declared["http"]["app"].partition(":"), studio_app),
    ):
        assert (root / path).samefile(str(module.__file__))
        assert hasattr(module, variable)
    assert declared["auth"]["disable_studio_auth"]  # or who names Studio's scheme is served without a key
    for kept in ("checkpointer", "store"):
        assert declared[kept]["path"] == f"{studio_storage.__name__}.{kept}"
        assert hasattr(studio_storage, kept)
