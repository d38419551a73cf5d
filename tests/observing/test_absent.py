"""Neither package is needed, or imported, where nobody asks for it."""

import subprocess
import sys

import pytest

from stellwerk.observing.configured import configured_observers
from stellwerk.settings import ObservabilitySettings, Settings

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("opentelemetry", "prometheus_client"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
from stellwerk.errors import MissingExtraError
from stellwerk.graphs import create_orchestrator
from stellwerk.logs import run_fields
from stellwerk.observing.otel import OpenTelemetry
from stellwerk.observing.prometheus import Prometheus
from tests.fakes import ladder, make, plan, worker

graph = create_orchestrator([worker()], ladder(make, make), synthesizer="join").compile()
print(graph.invoke({"task": "Do", "plan": plan(a="")})["answer"].splitlines()[-1], run_fields())
for observer in (OpenTelemetry, Prometheus):
    try:
        observer()
    except MissingExtraError as error:
        print(error)
"""


def test_all_works_without_the_packages() -> None:
    found = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [
        "made:a of nothing {}",
        "opentelemetry-api is not installed; run: pip install 'stellwerk[otel]'",
        "prometheus-client is not installed; run: pip install 'stellwerk[metrics]'",
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ObservabilitySettings(), []),
        (ObservabilitySettings(opentelemetry=True, prometheus=True), ["OpenTelemetry", "Prometheus"]),
    ],
)
def test_settings_name_the_observers(settings: ObservabilitySettings, expected: list[str]) -> None:
    observers = configured_observers(Settings(observability=settings))
    assert [type(observer).__name__ for observer in observers] == expected
