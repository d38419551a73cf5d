from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from stellwerk.error_policy import ErrorPolicy
from stellwerk.errors import ConfigurationError
from stellwerk.worker import Brief
from stellwerk.workers import extract_worker
from tests.fakes import Said, worker


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retries": -1}, "retries is -1; give 0 to 20"),
        ({"retries": 21}, "retries is 21"),
        (
            {"retry_on": ["timeot"]},
            "retry_on has 'timeot'; what may pass by itself: tier, timeout",
        ),
        ({"retry_on": ["check"]}, "retry_on has 'check'"),
        ({"initial_interval": 0}, "initial_interval is 0; give seconds above 0"),
        ({"max_interval": float("nan")}, "max_interval is nan"),
        ({"run_timeout": 0}, "run_timeout is 0; give seconds above 0"),
        ({"idle_timeout": -1}, "idle_timeout is -1"),
        ({"on_failure": "ignore"}, "on_failure is 'ignore'; give one of skip, substitute, fail"),
        ({"on_failure": "substitute"}, "on_failure is 'substitute', and substitute: there is none"),
        ({"substitute": {"text": "x"}}, "on_failure is 'skip', and substitute: it is {'text': 'x'}"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ErrorPolicy(**options)


def test_a_reason_may_be_named_alone() -> None:
    assert ErrorPolicy(retry_on="timeout") == ErrorPolicy(retry_on=["timeout"])


def test_pauses_are_drawn_from_zero_to_a_limit_that_doubles_and_ends() -> None:
    policy = ErrorPolicy(initial_interval=1.0, max_interval=5.0)
    for retry, limit in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (2000, 5.0)):
        drawn = [policy.pause(retry) for _ in range(200)]
        assert 0 <= min(drawn) < limit / 4
        assert limit * 3 / 4 < max(drawn) <= limit


class Other(BaseModel):
    number: float


def other(answer: Said, brief: Brief) -> Other:
    return Other(number=1)


@pytest.mark.parametrize("substitute", [{"text": ""}, {"words": "x"}, "x", Other(number=1)])
def test_a_substitute_has_to_fit_the_output(substitute: Any) -> None:
    policy = ErrorPolicy(on_failure="substitute", substitute=substitute)
    with pytest.raises(ConfigurationError, match=r"worker 'make': substitute .* does not fit Said: "):
        worker(errors=policy)
    with pytest.raises(ConfigurationError, match="does not fit Said"):
        replace(worker(), errors=policy)


def test_a_substitute_is_kept_as_json() -> None:
    def given(substitute: Any, **options: Any) -> Any:
        policy = ErrorPolicy(on_failure="substitute", substitute=substitute)
        return worker(errors=policy, **options).substitute

    assert given({"text": "x"}) == given(Said(text="x")) == {"text": "x"}
    assert given(Other(number=2), finish=other) == {"number": 2.0}
    with pytest.raises(ConfigurationError, match="does not fit Said"):
        given(Other(number=float("nan")), finish=other, output=Said)


def test_a_policy_leaves_the_version_of_a_worker_as_it_is() -> None:
    plain = extract_worker()
    assert replace(plain, errors=ErrorPolicy(retries=2, run_timeout=5)).version == plain.version
