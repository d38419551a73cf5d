"""Which driver serves a URL."""

from pathlib import Path

from stellwerk.persistence.saver import AsyncSQLAlchemySaver
from tests.persistence.savers import at


async def test_aiosqlite_is_served_in_threads(tmp_path: Path) -> None:
    async with AsyncSQLAlchemySaver.from_url(f"sqlite+aiosqlite:///{tmp_path / 'runs.sqlite'}") as saver:
        assert await saver.aget_tuple(at("t")) is None
