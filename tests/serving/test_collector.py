import gc
import subprocess
import sys

from tests.serving.served import Site

SETTLED = """
import gc
from stellwerk.serving.collector import settle
before = gc.get_threshold()
settle()
cycle = []
cycle.append(cycle)
del cycle
assert gc.get_freeze_count() > 1_000
assert gc.get_threshold() > before
assert gc.collect() == 1  # what is new is collected as ever
"""


def test_a_server_in_somebodys_program_leaves_its_collector_alone(place: Site) -> None:
    assert place.server.started
    assert gc.get_freeze_count() == 0


def test_a_process_that_only_serves_does_not_look_through_what_it_keeps() -> None:
    subprocess.run([sys.executable, "-c", SETTLED], check=True)
