"""The learned router: a model's beliefs, and a policy that decides by them."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Protocol

from stellwerk.budget import Budget
from stellwerk.decision import SERVE_NONE, Decision
from stellwerk.errors import ConfigurationError
from stellwerk.outcome import Attempt
from stellwerk.plan import Subtask
from stellwerk.routers.belief import Belief
from stellwerk.routers.episode import Episode, Outcome
from stellwerk.routers.explanation import Explanation, contributions, nearest
from stellwerk.routers.exploring import drawn_or_kept
from stellwerk.routers.model import RouterModel
from stellwerk.routing_context import routing_context
from stellwerk.tiers.ladder import Ladder
from stellwerk.worker import Brief, Worker


class Choice(Protocol):
    """What a policy says: the place of the tier to try next, or of the attempt to stop with."""

    @property
    def tier(self) -> int | None: ...
    @property
    def serve(self) -> int | None: ...


class Chooses(Protocol):
    """A policy: what to do next, given what is believed."""

    def choose(
        self,
        belief: Belief,
        outcomes: Sequence[Outcome],
        tiers: Sequence[str],
        closed: Collection[str] = (),
    ) -> Choice:
        """The tier to try, none of the closed ones, or the attempt to stop with."""
        ...


class Solved(Protocol):
    """What a goal gives: a policy."""

    @property
    def policy(self) -> Chooses: ...


class Solves(Protocol):
    """A goal: finds the policy that meets it."""

    def solve(self, model: RouterModel, episodes: Sequence[Episode], /) -> Solved:
        """The policy, by episodes that the model was not trained on."""
        ...


class LearnedRouter:
    """Tries the tiers that a policy picks by what a model believes, and serves the answer it believes most.

    A tier of the ladder that the model does not know is tried only once the ones it knows have failed, in the
    ladder's order, as without a model. If it gives an accepted answer that one is served.

    Args:
        model: see `train` and `load_model`.
        policy: what to do, given what is believed; or a goal, which finds that on the model's held-out
            episodes.
        explore: share of the decisions for which a tier is drawn from those not yet tried, each as likely.
            What is learned of a tier that is never tried is nothing; 0.02 to 0.1 is usual.
        seed: of the draws; None for other ones each time.

    Raises:
        ConfigurationError: if `explore` is no share, or there is a goal and no held-out episode to meet it
            on.
    """

    name = "learned"
    cascades = True

    def __init__(
        self, model: RouterModel, policy: Chooses | Solves, *, explore: float = 0.0, seed: int | None = None
    ) -> None:
        if not 0 <= explore <= 1:
            raise ConfigurationError(f"explore is {explore}; it is a share from 0 to 1")
        if hasattr(policy, "solve"):
            if not model.calibration:
                raise ConfigurationError(
                    "the router's model has no held-out episodes to meet a goal on; train it with "
                    "a holdout, or give a policy"
                )
            policy = policy.solve(model, model.calibration).policy
        self.model, self.policy, self.explore = model, policy, explore
        self.version = model.digest[:12] or "unsaved"
        self._draw = random.Random(seed)  # noqa: S311  # no secret

    def decide(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
        brief: Brief | None = None,
    ) -> Decision:
        """The next tier to try, or the attempt to stop with.

        Args:
            subtask: what is to be done.
            worker: who does it.
            ladder: the tiers there are.
            budget: how far the subtask may go.
            history: attempts so far, oldest first, accepted ones too.
            brief: documents and inputs; without it they count as empty.

        Raises:
            ConfigurationError: if the model knows no tier of the ladder, or those it knows stand in another
                order.
        """
        decision, left = self._best(subtask, worker, ladder, budget, history, brief)
        if not left or not self.explore:
            return decision
        return drawn_or_kept(decision, left, self.explore, self._draw)

    def explain(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget | None = None,
        history: Sequence[Attempt] = (),
        brief: Brief | None = None,
        *,
        count: int = 5,
    ) -> Explanation:
        """What would be decided, draws apart, and why.

        Args:
            subtask: as for `decide`, like the rest.
            worker: who does it.
            ladder: the tiers there are.
            budget: None for no limit.
            history: attempts so far.
            brief: documents and inputs.
            count: how many features a tier, and how many past subtasks, to name.

        Raises:
            ConfigurationError: as `decide`.
        """
        decision, _ = self._best(subtask, worker, ladder, budget or Budget(), history, brief)
        context = routing_context(subtask, worker, brief)
        return Explanation(
            sentence=decision.why,
            decision=decision,
            contributions=contributions(self.model, context, count),
            neighbours=nearest(self.model, context, count),
        )

    def _best(
        self,
        subtask: Subtask,
        worker: Worker,
        ladder: Ladder,
        budget: Budget,
        history: Sequence[Attempt],
        brief: Brief | None,
    ) -> tuple[Decision, list[str]]:
        """The decision without draws, and the tiers that may be drawn."""
        known = self._known(ladder)
        tried = {attempt["tier"] for attempt in history}
        more = budget.allows(len(history), len(ladder))
        left = [name for name in ladder.names if name not in tried] if more else []
        # Places in `seen` are not those in the history where a tier is unknown to the model.
        seen = [place for place, attempt in enumerate(history) if attempt["tier"] in known]
        outcomes = [Outcome.of(history[place], ladder.tier(history[place]["tier"]).price) for place in seen]
        belief = self.model.belief(self.model.prior(routing_context(subtask, worker, brief)), outcomes)
        closed = [tier for tier in self.model.tiers if tier not in left and tier not in tried]
        choice = self.policy.choose(belief, outcomes, self.model.tiers, closed)
        estimates = {
            tier: {
                "right": belief.right[place],
                "accept": belief.accept[place],
                "usd": belief.usd[place],
                "seconds": belief.seconds[place],
            }
            for place, tier in enumerate(self.model.tiers)
            if tier in known
        }
        accepted = [place for place, attempt in enumerate(history) if attempt["verdict"]["accepted"]]
        serve: int | None = None
        tier = None if choice.tier is None else self.model.tiers[choice.tier]
        if (strangers := [place for place in accepted if place not in seen]) and choice.serve is None:
            tier, serve = None, strangers[-1]
            why = f"{history[serve]['tier']} gave an accepted answer, and the model does not know that tier"
        elif tier is not None:
            why = self._why(belief, tier, known)
        elif choice.serve is not None:
            serve = seen[choice.serve]
            why = f"the answer of {history[serve]['tier']} is served: {_share(belief.answers[choice.serve])}"
            others = [
                f"{name} {_share(belief.right[self.model.place(name)])}" for name in left if name in known
            ]
            why += f"; not tried: {', '.join(others)}" if others else ""
        elif accepted:
            serve = SERVE_NONE
            best = max(belief.answers, default=0.0)
            why = f"no answer is believed enough to be served: the best is {_share(best)}"
        elif strange := [name for name in left if name not in known]:
            tier = strange[0]
            why = f"{tier} is not known to the model, and the tiers that are gave no accepted answer"
        else:
            why = "no tier is left to try, and no answer was accepted"
        decision = Decision(
            tier=tier, router=self.name, version=self.version, why=why, estimates=estimates, serve=serve
        )
        return decision, left

    def _known(self, ladder: Ladder) -> list[str]:
        """Tiers that both the ladder and the model have."""
        known = [name for name in ladder.names if name in self.model.tiers]
        if not known:
            raise ConfigurationError(
                f"the router's model was trained for {', '.join(self.model.tiers)}, and the ladder has "
                f"{', '.join(ladder.names)}: train it again with traces of this ladder, or use SmallestFirst"
            )
        if known != [name for name in self.model.tiers if name in known]:
            raise ConfigurationError(
                f"the router's model was trained for {' < '.join(self.model.tiers)}, and the ladder has "
                f"{' < '.join(known)}: train it again for this order"
            )
        return known

    def _why(self, belief: Belief, tier: str, known: Collection[str]) -> str:
        place = self.model.place(tier)
        why = f"{tier} is tried: {_share(belief.right[place])} for {_usd(belief.usd[place])}"
        others = [
            f"{name} {_share(belief.right[other])} for {_usd(belief.usd[other])}"
            for other, name in enumerate(self.model.tiers)
            if name in known and name != tier
        ]
        return f"{why}; {', '.join(others)}" if others else why


def _share(chance: float) -> str:
    return f"right with {chance:.0%}"


def _usd(usd: float) -> str:
    return f"{usd:.2g} USD"
