"""What call sites cost, on every database."""

from datetime import timedelta

from stellwerk.outcome import Verdict
from stellwerk.persistence.call_sites import call_sites
from stellwerk.persistence.traces import TraceStore
from tests.persistence.traces import NOON, attempt


def test_each_call_site_is_summed_up_by_tier_the_dearest_first(url: str) -> None:
    with TraceStore.from_url(url) as traces:
        assert traces.database.read(call_sites) == []
        for number in range(3):
            traces.attempt(attempt(number, worker="cheap", usd=None if number else 0.5))
        for number in range(3, 5):
            verdict = Verdict(accepted=number == 3)
            traces.attempt(attempt(number, worker="dear", tier="large", usd=2.0, verdict=verdict))
        traces.flush()
        dear, cheap = traces.database.read(call_sites)
        assert (dear.call_site, dear.tier, dear.calls, dear.accepted) == ("dear", "large", 2, 1)
        assert (dear.input, dear.output, dear.usd, dear.unpriced, dear.seconds) == (200, 14, 4.0, 0, 3.0)
        assert dear.newest == NOON + timedelta(seconds=4)
        assert (cheap.call_site, cheap.calls, cheap.usd, cheap.unpriced) == ("cheap", 3, 0.5, 2)
        lately = NOON + timedelta(seconds=3)
        assert [site.call_site for site in traces.database.read(lambda c: call_sites(c, lately))] == ["dear"]
        assert [site.calls for site in traces.database.read(lambda c: call_sites(c, None, lately))] == [3]
