from collections.abc import Iterator
from pathlib import Path

import pytest

from stellwerk.persistence.traces import TraceStore
from tests.report.runs import fill


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of 24 runs, that nobody writes to."""
    path = tmp_path_factory.mktemp("report") / "runs.sqlite"
    fill(path, 20, prefix="ada:")
    fill(path, 4, seed=1, prefix="bob:")
    return path


@pytest.fixture
def traces(filled: Path) -> Iterator[TraceStore]:
    with TraceStore.from_url(filled) as store:
        yield store
