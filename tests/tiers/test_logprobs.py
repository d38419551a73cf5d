import math
from typing import Any

import pytest

from stellwerk.tiers.logprobs import summarise_logprobs


def token(logprob: Any, *others: tuple[str, Any], name: str = "a") -> dict[str, Any]:
    top = [{"token": other, "logprob": value} for other, value in others]
    return {"token": name, "logprob": logprob, "top_logprobs": top}


def test_an_answer_is_summed_up() -> None:
    summary = summarise_logprobs({"content": [token(math.log(0.5)), token(math.log(0.125))]})
    assert summary == pytest.approx(
        {
            "mean": math.log(0.25),
            "min": math.log(0.125),
            "sum": math.log(0.0625),
            "count": 2,
            "perplexity": 4.0,
        }
    )


@pytest.mark.parametrize(
    ("chances", "bits"),
    [
        ({"a": 0.5, "b": 0.5}, 1.0),
        ({"a": 0.5, "b": 0.25, "c": 0.25}, 1.5),
        ({"a": 1.0, "b": 0.0}, 0.0),
        ({"a": 0.5, "b": 0.25}, 1.5),  # what is left counts as one more
    ],
)
def test_the_entropy_is_that_of_the_alternatives(chances: dict[str, float], bits: float) -> None:
    others = [(name, math.log(chance) if chance else -9999.0) for name, chance in chances.items()]
    summary = summarise_logprobs({"content": [token(math.log(chances["a"]), *others)]})
    assert summary is not None
    assert summary["entropy"] / math.log(2) == pytest.approx(bits)


def test_a_token_that_is_not_among_its_alternatives_counts_as_one() -> None:
    given = {"content": [token(math.log(0.25), ("b", math.log(0.5)), ("c", math.log(0.25)))]}
    summary = summarise_logprobs(given)
    assert summary is not None
    assert summary["entropy"] / math.log(2) == pytest.approx(1.5)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "no",
        {},
        {"content": None},
        {"content": []},
        {"content": "abc"},
        {"content": [None, 1, {}, token(None), token("0"), token(True), token(math.nan), token(-math.inf)]},
    ],
)
def test_where_there_is_nothing_to_sum_up_there_is_no_summary(given: Any) -> None:
    assert summarise_logprobs(given) is None


def test_what_a_server_sends_wrongly_is_left_out() -> None:
    given = {"content": [token(-1.0, ("b", None)), token(None), token(-3.0)]}
    summary = summarise_logprobs(given)
    assert summary == pytest.approx(
        {"mean": -2.0, "min": -3.0, "sum": -4.0, "count": 2, "perplexity": math.e**2}
    )


def test_an_answer_beyond_belief_has_a_finite_perplexity() -> None:
    summary = summarise_logprobs({"content": [token(-9999.0)]})
    assert summary is not None
    assert math.isfinite(summary["perplexity"])
