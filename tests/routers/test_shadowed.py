"""A router in the shadow decides beside the active one, and its decisions are in the traces."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stellwerk.budget import Budget
from stellwerk.decision import Decision
from stellwerk.graphs import create_orchestrator
from stellwerk.outcome import Attempt
from stellwerk.persistence.traces import TraceStore
from stellwerk.plan import Subtask
from stellwerk.routers import Fixed, SmallestFirst
from stellwerk.routers.shadowed import Shadowed
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Brief, Worker
from tests.fakes import ladder, make, plan, run, worker


class Breaks:
    def decide(self, *_: Any) -> Decision:
        raise ZeroDivisionError


class Reads:
    """Needs to see the documents."""

    cascades = True

    def decide(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
        brief: Brief | None = None,
    ) -> Decision:
        assert brief is not None
        tier = None if history else ladder.largest.name
        return Decision(tier=tier, router="reads", version="7", why=brief.source, propensity=0.25)


def traced(router: Any, path: Path, *, sync: bool) -> list[Any]:
    with TraceStore.from_url(path / "traces.sqlite") as store:
        graph = create_orchestrator(
            [worker()], ladder(make, make), router=router, synthesizer="join", traces=store
        )
        given = {"task": "Do it", "plan": plan(a=""), "documents": ["Sales were 5."]}
        output = run(graph.compile(), given, sync=sync)
        assert output["failure"] is None
        return list(store.attempts())


def test_the_active_router_is_followed_and_the_other_one_is_kept(tmp_path: Path, sync: bool) -> None:
    (attempt,) = traced(Shadowed(SmallestFirst(), Reads()), tmp_path, sync=sync)
    decision = attempt["decision"]
    assert (attempt["tier"], decision["tier"], decision["router"]) == ("small", "small", "smallest-first")
    shadow = decision["shadow"]
    assert (shadow["tier"], shadow["router"], shadow["version"]) == ("large", "reads", "7")
    assert (shadow["propensity"], shadow["why"]) == (0.25, "Sales were 5.")


def test_one_that_cascades_can_have_a_shadow_that_does_not(tmp_path: Path, sync: bool) -> None:
    (attempt,) = traced(Shadowed(Reads(), Fixed("small")), tmp_path, sync=sync)
    assert (attempt["tier"], attempt["decision"]["shadow"]["tier"]) == ("large", "small")
    after = attempt["decision"]["after"]
    assert (after["tier"], after["shadow"]["tier"]) == (None, None)


def test_a_shadow_that_fails_fails_no_run(
    tmp_path: Path, sync: bool, caplog: pytest.LogCaptureFixture
) -> None:
    router = Shadowed(SmallestFirst(), Breaks())
    for _ in range(2):
        *_, attempt = traced(router, tmp_path, sync=sync)
        assert "shadow" not in attempt["decision"]
    assert caplog.text.count("the router in the shadow of smallest-first failed") == 1
