"""Ready-made workers: specifications, compiled by `stellwerk.graphs`."""

from stellwerk.workers.calculate import calculate_worker
from stellwerk.workers.call_function import call_function_worker
from stellwerk.workers.classify import classify_worker
from stellwerk.workers.create import create_worker
from stellwerk.workers.extract import extract_worker
from stellwerk.workers.look_up import look_up_worker
from stellwerk.workers.text import summarise_worker, write_worker

__all__ = [
    "calculate_worker",
    "call_function_worker",
    "classify_worker",
    "create_worker",
    "extract_worker",
    "look_up_worker",
    "summarise_worker",
    "write_worker",
]
