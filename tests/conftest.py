"""What tests of every part may ask for."""

import pytest


@pytest.fixture(params=[True, False], ids=["sync", "async"])
def sync(request: pytest.FixtureRequest) -> bool:
    """Whether to use the sync or the async form of what is tested."""
    return bool(request.param)
