import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stellwerk.errors import ConfigurationError
from stellwerk.routers.belief import Belief
from stellwerk.routers.episode import Outcome
from stellwerk.routers.policy import CHEAPEST, Choice, Policy

share = st.floats(0, 1)
price = st.floats(0, 10)


@st.composite
def beliefs(draw: st.DrawFn, least: int = 1, most: int = 4) -> Belief:
    count = draw(st.integers(least, most))
    accept = draw(st.lists(share, min_size=count, max_size=count))
    right = [a * draw(share) for a in accept]
    usd = sorted(draw(st.lists(st.floats(1e-6, 1), min_size=count, max_size=count)))
    return Belief(right, accept, usd, [1.0] * count, [1.0] * count)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Belief, list[Outcome], list[str]]:
    """A belief after some attempts, each on a tier of its own."""
    belief = draw(beliefs())
    tiers = [f"t{place}" for place in range(len(belief.right))]
    order = draw(st.permutations(tiers))[: draw(st.integers(0, len(tiers)))]
    outcomes = [Outcome(tier=tier, accepted=draw(st.booleans())) for tier in order]
    # A rejected answer may be believed by a careless model; the policy must not mind.
    answers = [draw(share) for _ in outcomes]
    return (
        Belief(belief.right, belief.accept, belief.usd, belief.seconds, belief.tokens, answers),
        outcomes,
        tiers,
    )


policies = st.builds(
    Policy,
    price=st.one_of(price, st.just(math.inf)),
    serve=st.one_of(st.just(0.0), share),
    notice=share,
    agreement=st.booleans(),
    coincidence=share,
    route_only=st.booleans(),
    cascade_only=st.booleans(),
    usd_per_second=st.floats(0, 1),
)


@given(situations(), policies)
def test_a_rejected_answer_is_never_served_nor_a_tier_tried_twice(
    situation: tuple[Belief, list[Outcome], list[str]], policy: Policy
) -> None:
    belief, outcomes, tiers = situation
    choice = policy.choose(belief, outcomes, tiers)
    if choice.serve is not None:
        assert choice.tier is None
        assert outcomes[choice.serve].accepted
        assert belief.answers[choice.serve] >= policy.serve
    if choice.tier is not None:
        assert tiers[choice.tier] not in {outcome.tier for outcome in outcomes}
    if not outcomes:
        assert choice.tier is not None


@given(situations(), policies)
def test_it_ends_and_goes_on_while_nothing_is_accepted(
    situation: tuple[Belief, list[Outcome], list[str]], policy: Policy
) -> None:
    belief, _, tiers = situation
    outcomes: list[Outcome] = []
    for _ in range(len(tiers) + 1):
        answers = [0.0] * len(outcomes)
        now = Belief(belief.right, belief.accept, belief.usd, belief.seconds, belief.tokens, answers)
        choice = policy.choose(now, outcomes, tiers)
        if choice.tier is None:
            break
        outcomes.append(Outcome(tier=tiers[choice.tier], accepted=False))
    assert choice.tier is None
    assert choice.serve is None
    if policy.serve == 0.0 and not policy.is_largest:
        assert outcomes[-1].tier == tiers[-1] or tiers[-1] in {outcome.tier for outcome in outcomes}


@given(situations(), policies, price, price)
def test_a_higher_price_buys_more_and_never_stops_sooner(
    situation: tuple[Belief, list[Outcome], list[str]], policy: Policy, one: float, other: float
) -> None:
    belief, outcomes, tiers = situation
    low, high = sorted((one, other))
    cheap, careful = (policy.at(p).choose(belief, outcomes, tiers) for p in (low, high))
    if high - low < 1e-6:
        return
    assert careful.right >= cheap.right - 1e-6
    assert careful.usd >= cheap.usd - 1e-6
    if careful.tier is None and careful.serve is not None:
        assert cheap.tier is None


@given(beliefs())
def test_the_ends_of_the_dial_are_the_largest_tier_and_the_cheapest_way(belief: Belief) -> None:
    tiers = [f"t{place}" for place in range(len(belief.right))]
    top = CHEAPEST.largest()
    assert top.choose(belief, (), tiers).tier == len(tiers) - 1
    rejected = [Outcome(tier=tiers[-1], accepted=False)]
    assert top.choose(_after(belief, [0.0]), rejected, tiers) == Choice(None, None)
    cascade = Policy(price=0.0, cascade_only=True)
    assert cascade.choose(belief, (), tiers).tier == 0
    taken = [Outcome(tier=tiers[0], accepted=True)]
    assert cascade.choose(_after(belief, [0.3]), taken, tiers).serve == 0


def _after(belief: Belief, answers: list[float]) -> Belief:
    return Belief(belief.right, belief.accept, belief.usd, belief.seconds, belief.tokens, answers)


TIERS = ["small", "large"]
SURE = Belief([0.6, 0.9], [1.0, 1.0], [0.001, 0.01], [1.0, 1.0], [1.0, 1.0])


def test_routing_alone_weighs_the_gain_against_the_price_of_the_tier() -> None:
    # .3 more right answers for .009 USD more: worth it from a price of .03.
    assert Policy(price=0.029, route_only=True).choose(SURE, (), TIERS).tier == 0
    assert Policy(price=0.031, route_only=True).choose(SURE, (), TIERS).tier == 1


def test_after_an_answer_the_cascade_goes_on_only_where_that_is_worth_it() -> None:
    tried = [Outcome(tier="small", accepted=True)]
    doubtful, good = _after(SURE, [0.3]), _after(SURE, [0.85])
    policy = Policy(price=0.05)
    assert policy.choose(doubtful, tried, TIERS).tier == 1
    assert policy.choose(good, tried, TIERS) == Choice(None, 0, 0.85, 0.0)


def test_a_cheap_witness_is_bought_where_agreement_counts() -> None:
    tiers = ["witness", "small", "large"]
    belief = Belief([0.7, 0.6, 0.9], [1.0] * 3, [0.0001, 0.0002, 0.02], [1.0] * 3, [1.0] * 3, [0.6])
    tried = [Outcome(tier="small", accepted=True)]
    policy = Policy(price=0.05, agreement=True)
    assert policy.choose(belief, tried, tiers).tier == 0
    # A tier whose answer would not be taken is no witness to those who do not count agreement.
    worse = Belief([0.5, 0.6, 0.9], [1.0] * 3, belief.usd, [1.0] * 3, [1.0] * 3, [0.6])
    assert Policy(price=0.05).choose(worse, tried, tiers).tier is None
    assert policy.choose(worse, tried, tiers).tier == 0


def test_what_is_believed_too_little_is_not_served() -> None:
    tried = [Outcome(tier="small", accepted=True), Outcome(tier="large", accepted=True)]
    belief = _after(SURE, [0.6, 0.7])
    assert Policy(price=1.0, serve=0.8).choose(belief, tried, TIERS).serve is None
    assert Policy(price=1.0, serve=0.65).choose(belief, tried, TIERS).serve == 1


def test_a_closed_tier_is_not_tried() -> None:
    assert Policy(price=10.0).choose(SURE, (), TIERS, closed={"large"}).tier == 0
    assert CHEAPEST.largest().choose(SURE, (), TIERS, closed={"large"}).tier == 0
    assert Policy(price=10.0).choose(SURE, (), TIERS, closed=TIERS) == Choice(None, None)


@given(policies)
def test_a_policy_survives_its_record(policy: Policy) -> None:
    assert Policy.of(policy.record()) == policy


def test_wrong_values_are_named() -> None:
    with pytest.raises(ConfigurationError, match="price of a policy is -1"):
        Policy(price=-1)
    with pytest.raises(ConfigurationError, match="serve of a policy is 2"):
        Policy(price=0, serve=2)
    with pytest.raises(ConfigurationError, match="'colour'"):
        Policy.of({"price": 1.0, "colour": "red"})
    with pytest.raises(ConfigurationError, match=r"no record of a policy: .*'str'"):
        Policy.of({"price": "much"})


def test_a_start_is_climbed_from_whatever_is_believed() -> None:
    tiers = ("small", "middle", "large")
    policy = Policy(price=0.0, start=1)

    def after(*outcomes: Outcome, closed: tuple[str, ...] = ()) -> Choice:
        answers = [0.01] * len(outcomes)
        belief = Belief([0.9, 0.1, 0.9], [0.9, 0.2, 0.9], [1.0, 2.0, 3.0], [1.0] * 3, [1.0] * 3, answers)
        return policy.choose(belief, outcomes, tiers, closed)

    assert after().tier == 1
    assert after(Outcome(tier="middle", accepted=False)).tier == 2
    assert after(closed=("middle", "large")).tier == 0
    stop = after(Outcome(tier="middle", accepted=True))
    assert (stop.tier, stop.serve) == (None, 0)
    assert Policy.of(policy.record()) == policy
    with pytest.raises(ConfigurationError, match="start of a policy is -1"):
        Policy(price=0.0, start=-1)
    assert policy.largest() == Policy(price=math.inf)
