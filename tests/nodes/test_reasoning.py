from typing import Any

from stellwerk import Rails, Tier, TierError, create_worker
from stellwerk.graphs import create_worker_graph
from stellwerk.tiers.ladder import Ladder
from tests.fakes import Said, Scripted, always, in_turn, ladder, run


def outcome(worker: Any, model: Any, **tier: Any) -> dict[str, Any]:
    tiers = Ladder([Tier(name="only", model=model, **tier)])
    graph = create_worker_graph(worker, tiers).compile()
    found: dict[str, Any] = run(graph, {"instruction": "go"}, sync=True)
    return found


def test_a_worker_that_reasons_thinks_freely_then_answers_under_the_schema() -> None:
    model = Scripted(reply=in_turn("It is fine, since it rains.", '{"text": "fine"}'))
    output = outcome(create_worker("w", output=Said, prompt="Say it.", reasoning=40), model)
    assert output["value"] == {"text": "fine"}
    free, held = model.options
    assert "response_format" not in free
    assert free["max_tokens"] == 40
    assert "response_format" in held
    assert "since it rains" in model.prompts[1]
    assert [call["step"] for call in output["calls"]] == ["generate", "generate"]
    assert all(call["usage"]["output"] for call in output["calls"])


def test_a_model_that_thinks_nothing_is_asked_at_once() -> None:
    model = Scripted(reply=in_turn(" ", '{"text": "fine"}'))
    output = outcome(create_worker("w", output=Said, prompt="Say it.", reasoning=True), model)
    assert output["value"] == {"text": "fine"}


def test_what_cannot_fit_with_its_answer_is_not_sent() -> None:
    model = Scripted(reply=always('{"text": "fine"}'))
    worker = create_worker("w", output=Said, prompt="Say it.", max_tokens=100)
    output = outcome(worker, model, context_window=120, tokenizer=len)
    assert output["verdict"]["reason"] == "context"
    assert "its answer may have 100; tier 'only' holds 120" in output["verdict"]["detail"]
    assert model.calls == 0
    assert outcome(worker, model, context_window=1_000, tokenizer=len)["verdict"] == {"accepted": True}


def test_a_prompt_is_counted_where_its_length_does_not_settle_it() -> None:
    model = Scripted(reply=always('{"text": "fine"}'))
    worker = create_worker("w", output=Said, prompt="Say it.", max_tokens=100)
    counted: list[str] = []

    def count(text: str) -> int:
        counted.append(text)
        return 10

    assert outcome(worker, model, context_window=200, tokenizer=count)["verdict"] == {"accepted": True}
    assert "Say it." in counted[0]
    outcome(worker, model, context_window=100_000, tokenizer=count)
    assert len(counted) == 1


def test_a_tokenizer_that_fails_keeps_no_prompt_back() -> None:
    def count(text: str) -> int:
        raise TierError("counts no tokens")

    model = Scripted(reply=always('{"text": "fine"}'))
    worker = create_worker("w", output=Said, prompt="Say it.", max_tokens=100)
    assert outcome(worker, model, context_window=200, tokenizer=count)["verdict"] == {"accepted": True}


def test_the_rail_can_be_off() -> None:
    model = Scripted(reply=always('{"text": "fine"}'))
    worker = create_worker("w", output=Said, prompt="Say it.", max_tokens=100, rails=Rails(fit=False))
    assert outcome(worker, model, context_window=120, tokenizer=len)["verdict"] == {"accepted": True}


def test_without_the_schema_an_answer_in_a_fence_is_salvaged() -> None:
    model = Scripted(reply=always('```json\n{"text": "fine"}\n```'))
    free = Rails(constrain=False)
    assert outcome(create_worker("w", output=Said, prompt="Say it.", rails=free), model)["value"] == {
        "text": "fine"
    }
    assert "response_format" not in model.options[0]
    strict = Rails(constrain=False, salvage=False)
    output = outcome(create_worker("w", output=Said, prompt="Say it.", rails=strict, repairs=0), model)
    assert output["verdict"]["reason"] == "not_json"


def test_no_repair_where_its_rail_is_off() -> None:
    replies = ladder(in_turn("no", '{"text": "fine"}'), always("not this one"))
    worker = create_worker("w", output=Said, prompt="Say it.", rails=Rails(repair=False))
    output = run(create_worker_graph(worker, replies).compile(), {"instruction": "go"}, sync=True)
    assert output["verdict"]["reason"] == "not_json"
    assert len(output["calls"]) == 1
