import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stellwerk.tiers.breaker import Breaker
from stellwerk.tiers.failures import Failure, Kind
from stellwerk.tiers.load import Load, Reading
from stellwerk.tiers.pool import SLACK, Blocked, Lease, Pool, prompt_key
from stellwerk.tiers.replica import Replica
from tests.fakes import Scripted, not_asked

MODEL = Scripted(reply=not_asked)
BUSY = Failure(Kind.BUSY, "busy")
BROKEN = Failure(Kind.BROKEN, "broken")
KEY = prompt_key("The page.")


def pool(count: int = 3, *, load: bool = False) -> Pool:
    def replica(number: int) -> Replica:
        own = Load(f"http://127.0.0.1:{number}/metrics") if load else None
        return Replica(f"r{number}", MODEL, breaker=Breaker(), load=own)

    return Pool([replica(number) for number in range(count)])


def lease(pool: Pool, key: bytes = KEY, now: float = 0.0, avoid: tuple[Replica, ...] = ()) -> Lease:
    found = pool.acquire(key, avoid, now)
    assert isinstance(found, Lease)
    return found


def blocked(pool: Pool, now: float = 0.0) -> Blocked:
    found = pool.acquire(KEY, (), now)
    assert isinstance(found, Blocked)
    return found


def break_down(pool: Pool, replica: Replica, now: float = 0.0) -> None:
    others = tuple(each for each in pool.replicas if each is not replica)
    while replica.admits(now):
        pool.fail(lease(pool, now=now, avoid=others), BROKEN, now)


def test_the_same_beginning_goes_to_the_same_replica() -> None:
    replicas = pool()
    for text in map(str, range(20)):
        seen = set()
        for _ in range(5):
            found = lease(replicas, prompt_key(text))
            seen.add(found.replica.name)
            replicas.succeed(found, 0.0)
        assert len(seen) == 1


def test_different_beginnings_are_spread_over_all_replicas() -> None:
    replicas, counts = pool(4), dict.fromkeys(("r0", "r1", "r2", "r3"), 0)
    for number in range(400):
        found = lease(replicas, prompt_key(str(number)))
        counts[found.replica.name] += 1
        replicas.succeed(found, 0.0)
    assert min(counts.values()) > 50


def test_when_a_replica_goes_only_its_own_prompts_move() -> None:
    keys = [prompt_key(str(number)) for number in range(100)]
    replicas = pool()
    before = {}
    for key in keys:
        before[key] = (found := lease(replicas, key)).replica
        replicas.succeed(found, 0.0)
    down = replicas.replicas[0]
    break_down(replicas, down)
    for key in keys:
        found = lease(replicas, key)
        assert found.replica is before[key] or before[key] is down
        replicas.succeed(found, 0.0)


def test_a_replica_that_has_markedly_more_calls_is_passed_over() -> None:
    replicas = pool(2)
    names = [lease(replicas).replica.name for _ in range(20)]
    home, other = names[0], ({"r0", "r1"} - {names[0]}).pop()
    assert names[: SLACK + 1] == [home] * (SLACK + 1)
    assert names[SLACK + 1] == other
    assert abs(names.count(home) - names.count(other)) <= SLACK + 1


def test_a_busy_replica_is_left_alone_for_as_long_as_it_asked() -> None:
    replicas = pool(2)
    busy = lease(replicas)
    replicas.fail(busy, Failure(Kind.BUSY, "429", pause=7.0), 0.0)
    other = lease(replicas, now=6.9)
    assert other.replica is not busy.replica
    replicas.fail(other, Failure(Kind.BUSY, "429", pause=7.0), 6.9)
    assert blocked(replicas, 6.95).until == 7.0
    assert lease(replicas, now=7.0).replica is busy.replica


def test_busy_is_no_failure_to_the_breaker() -> None:
    replicas = pool(1)
    for number in range(50):
        now = number * 100.0
        replicas.fail(lease(replicas, now=now), BUSY, now)
    breaker = replicas.replicas[0].breaker
    assert breaker is not None
    assert breaker.state(5_000.0) == "closed"


def test_a_busy_replica_that_does_not_say_is_left_alone_for_longer_each_time() -> None:
    replicas, now, pauses = pool(1), 0.0, []
    for _ in range(7):
        replicas.fail(lease(replicas, now=now), BUSY, now)
        until = blocked(replicas, now).until
        assert until is not None
        pauses.append(until - now)
        now = until
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    replicas.succeed(lease(replicas, now=now), now)
    replicas.fail(lease(replicas, now=now), BUSY, now)
    assert blocked(replicas, now).until == now + 1


def test_not_everyone_comes_back_at_once_to_a_replica_that_was_busy() -> None:
    replicas = pool(1)
    leases = [lease(replicas) for _ in range(8)]
    replicas.fail(leases[0], Failure(Kind.BUSY, "429", pause=1.0), 0.0)
    for each in leases[1:]:
        replicas.fail(each, Failure(Kind.BUSY, "429", pause=1.0), 0.0)
    back = [lease(replicas, now=1.0) for _ in range(4)]
    waiting = blocked(replicas, 1.0)
    assert waiting.until is None
    replicas.succeed(back[0], 1.1)
    assert waiting.changed.done()
    assert isinstance(replicas.acquire(KEY, (), 1.1), Lease)
    assert isinstance(replicas.acquire(KEY, (), 1.1), Lease)  # each answer makes room for one more
    assert isinstance(replicas.acquire(KEY, (), 1.1), Blocked)


def test_one_that_just_failed_is_asked_again_only_if_there_is_no_other() -> None:
    replicas = pool(2)
    home = lease(replicas).replica
    (other,) = [each for each in replicas.replicas if each is not home]
    assert lease(replicas, avoid=(home,)).replica is other
    assert replicas.admits_another([home], 0.0)
    break_down(replicas, other)
    assert not replicas.admits_another([home], 0.0)
    assert lease(replicas, avoid=(home,)).replica is home


def test_who_waits_for_a_probe_is_told_how_it_went() -> None:
    replicas = pool(1)
    break_down(replicas, replicas.replicas[0])
    assert blocked(replicas).until == 1.0
    probe = lease(replicas, now=1.0)
    waiting = blocked(replicas, 1.0)
    assert waiting.until is None
    replicas.succeed(probe, 1.2)
    assert waiting.changed.done()
    assert lease(replicas, now=1.2)


def test_a_pool_that_never_answered_and_is_down_is_hopeless() -> None:
    dead, lived = pool(2), pool(2)
    lived.succeed(lease(lived), 0.0)
    for each in (dead, lived):
        assert not each.is_hopeless(0.0)
        for replica in each.replicas:
            break_down(each, replica)
    assert dead.is_hopeless(0.0)
    assert not lived.is_hopeless(0.0)


def test_what_a_server_has_in_its_queue_counts_as_calls() -> None:
    replicas = pool(2, load=True)
    home = lease(replicas)
    replicas.succeed(home, 0.0)
    assert home.replica.load is not None
    home.replica.load.update(Reading(waiting=3), 0.0)
    assert lease(replicas, now=1.0).replica is not home.replica
    assert lease(replicas, now=60.0).replica is home.replica  # that is no news any more


def test_when_every_server_has_a_queue_new_calls_wait_until_they_are_asked_again() -> None:
    replicas = pool(2, load=True)
    for replica in replicas.replicas:
        assert replica.load is not None
        assert replica.load.due(0.0)
        replica.load.update(Reading(waiting=50), 0.0)
    waiting = blocked(replicas, 0.5)
    assert waiting.until == 1.0
    first = replicas.replicas[0]
    assert first.load is not None
    first.load.update(Reading(waiting=0), 1.0)
    replicas.notify()
    assert waiting.changed.done()
    assert lease(replicas, now=1.0).replica is first


KINDS = st.sampled_from(["succeed", "busy", "broken", "timeout", "refused", "abandon"])


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(1, 4),
    steps=st.lists(st.tuples(KINDS, st.integers(0, 9), st.floats(0, 5), st.booleans()), max_size=80),
)
def test_calls_are_counted_right_and_given_only_to_who_takes_them(
    count: int, steps: list[tuple[str, int, float, bool]]
) -> None:
    replicas, leases, waiting, now = pool(count), list[Lease](), list[Blocked](), 0.0
    for how, number, seconds, enter in steps:
        now += seconds
        if enter or not leases:
            able = {replica for replica in replicas.replicas if replica.admits(now)}
            counts = {replica: replica.outstanding for replica in able}
            found = replicas.acquire(prompt_key(str(number)), (), now)
            if isinstance(found, Lease):
                assert found.replica in able
                assert counts[found.replica] <= min(counts.values()) + SLACK
                leases.append(found)
            else:
                assert not able
                assert found.until is None or found.until > now
                assert found.until is not None or leases  # or it would wait for ever
                waiting.append(found)
        else:
            ended = leases.pop(number % len(leases))
            match how:
                case "succeed":
                    replicas.succeed(ended, now)
                case "abandon":
                    replicas.abandon(ended)
                case _:
                    replicas.fail(ended, Failure(Kind(how), how), now)
            assert all(each.changed.done() for each in waiting)
            waiting.clear()
        for replica in replicas.replicas:
            assert replica.outstanding == sum(each.replica is replica for each in leases)


@pytest.mark.parametrize("count", [1, 3])
def test_the_outlook_names_each_replica_and_its_trouble(count: int) -> None:
    replicas = pool(count)
    for replica in replicas.replicas:
        break_down(replicas, replica)
    said = replicas.outlook(0.4)
    assert said.count("down, to be tried again in 0.6 s") == count
    assert all(replica.name in said for replica in replicas.replicas)


def test_a_replica_may_be_busy_for_days() -> None:
    replica = Replica("r", MODEL)
    for second in range(2_000):
        replica.fail(Failure(Kind.BUSY, "busy", pause=0.5), 0, 0.0, float(second))
    replica.fail(BUSY, 0, 0.0, 2_000.0)
    assert replica.free_at(2_000.0) == 2_030.0
