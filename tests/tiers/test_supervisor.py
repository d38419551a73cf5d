from stellwerk.tiers.supervisor import BackOff


def test_waits_double_up_to_a_minute() -> None:
    back_off = BackOff(limit=9)
    assert [back_off.failed(0) for _ in range(10)] == [1, 2, 4, 8, 16, 32, 60, 60, 60, None]


def test_ten_minutes_of_health_forgive_what_was_before() -> None:
    back_off = BackOff(limit=2)
    assert [back_off.failed(0), back_off.failed(599)] == [1, 2]
    assert back_off.failed(600) == 1
    assert back_off.failed(0) == 2
    assert back_off.failed(0) is None


def test_no_restarts_at_all() -> None:
    assert BackOff(limit=0).failed(0) is None
    assert BackOff(limit=0).failed(10_000) is None
