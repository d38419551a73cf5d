"""One server for all tests that leave it as it was."""

from collections.abc import Iterator

import pytest

from tests.serving.served import Site, site


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server of several owners."""
    with site(tmp_path_factory.mktemp("serving"), keys=True, max_body_bytes=20_000) as found:
        yield found
