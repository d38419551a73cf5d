"""What a server asks of databases other than SQLite."""

from pathlib import Path

import pytest

from tests.persistence.conftest import SERVERS, database
from tests.serving.served import ASKING, RUN, new_thread, refused, site
from tests.serving.test_limits import stands
from tests.serving.test_threads import ANSWER


@pytest.mark.parametrize("backend", SERVERS)
def test_a_thread_from_its_first_task_to_its_end(backend: str, tmp_path: Path) -> None:
    with (
        database(backend, tmp_path) as url,
        site(tmp_path, keys=True, url=url) as place,
        place.client("ada") as ada,
        place.client("bob") as bob,
    ):
        thread, other = new_thread(ada), new_thread(ada)
        (question,) = ada.post(f"/threads/{thread}/runs", json=ASKING).json()["questions"]
        answers = {"answers": {question["id"]: {"type": "approve"}}}
        refused(bob.post(f"/threads/{thread}/resume", json=answers), 404)
        assert ada.post(f"/threads/{thread}/resume", json=answers).json()["status"] == "done"
        with place.models.held_up(), ada.stream("POST", f"/threads/{other}/runs/stream", json=RUN):
            assert place.models.busy.acquire(timeout=20)
            refused(ada.post(f"/threads/{other}/runs", json=RUN), 409)
            refused(ada.delete(f"/threads/{other}"), 409)
        assert ada.post(f"/threads/{thread}/feedback", json={"score": 1.0}).status_code == 201
        assert ada.delete(f"/threads/{thread}").status_code == 204
        refused(ada.get(f"/threads/{thread}"), 404)
        assert [each["id"] for each in ada.get("/threads").json()["threads"]] == [other]
        stands(ada, other, "interrupted")
        assert ada.post(f"/threads/{other}/resume").json()["answer"] == ANSWER
