import threading
import time

import pytest

from stellwerk.tiers.load import EVERY, Load, Reading, parse_metrics
from tests.tiers.faulty import WAIT, Does, always, closed_port, faulty

METRICS = """
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="a } b"} 7.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
vllm:request_queue_time_seconds_bucket{engine="0",le="0.3",model_name="m"} 8.0
vllm:request_queue_time_seconds_count{engine="0",model_name="m"} 10.0
vllm:request_queue_time_seconds_sum{engine="0",model_name="m"} 4.0
process_open_fds 12.0
"""


def test_the_numbers_of_vllm_are_read() -> None:
    assert parse_metrics(METRICS) == Reading(running=5, waiting=7, cache=0.5, queue_sum=4, queue_count=10)


@pytest.mark.parametrize(
    "text", ["", "<h1>Not found</h1>", "process_open_fds 12.0", "\x00{}{", "vllm:num_requests_waiting{"]
)
def test_what_is_not_of_vllm_is_no_reading(text: str) -> None:
    assert parse_metrics(text) is None


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "many"])
def test_a_number_that_is_none_is_left_out(value: str) -> None:
    assert parse_metrics(f"vllm:num_requests_waiting {value}\nvllm:num_requests_running 1") == Reading(
        running=1
    )


def test_a_server_with_a_long_queue_or_a_full_cache_queues() -> None:
    load = Load("http://127.0.0.1/metrics")
    assert not load.queues(0.0)
    for reading, queues in (
        (Reading(waiting=4), False),
        (Reading(waiting=5), True),
        (Reading(cache=0.99), False),
        (Reading(cache=0.99, waiting=1), True),
    ):
        load.update(reading, 0.0)
        assert load.queues(1.0) is queues
        assert not load.queues(60.0)


def test_the_mean_wait_in_its_queue_is_taken_between_two_readings() -> None:
    load = Load("http://127.0.0.1/metrics")
    load.update(Reading(queue_sum=4, queue_count=10), 0.0)
    load.update(Reading(queue_sum=10, queue_count=13), 1.0)
    assert load.queue_seconds == 2.0


def test_it_is_read_once_a_second_at_most() -> None:
    load = Load("http://127.0.0.1/metrics")
    assert [load.due(now) for now in (0.0, 0.5, EVERY - 0.01, EVERY, EVERY + 0.5)] == [
        True,
        False,
        False,
        True,
        False,
    ]


def test_the_metrics_are_at_the_root_and_no_password_goes_along() -> None:
    assert Load.of("http://user:secret@host:8000/v1/").url == "http://host:8000/metrics"


def test_a_server_is_read_in_the_background() -> None:
    with faulty(always(Does())) as server:
        server.metrics, read = METRICS, threading.Event()
        load = Load.of(server.url)
        load.read_in_background(time.monotonic, read.set)
        assert read.wait(WAIT)
        assert load.waiting(time.monotonic()) == 7


def test_a_server_that_is_down_is_no_trouble() -> None:
    read = threading.Event()
    load = Load.of(f"http://127.0.0.1:{closed_port()}/v1")
    load.read_in_background(time.monotonic, read.set)
    assert read.wait(WAIT)
    assert load.waiting(time.monotonic()) == 0
