from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.cli.test_run import TEXT
from tests.serving.served import Site
from tests.serving.test_threads import ANSWER

MESSAGES: Any = [
    {"role": "system", "content": TEXT},
    {"role": "user", "content": [{"type": "text", "text": "Sales and rent?"}]},
]


@pytest.fixture
def client(place: Site) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{place.url}/v1", api_key=place.keys["ada"], max_retries=0) as client:
        yield client


def test_the_answer_comes_as_a_message_with_what_it_took(place: Site, client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["stellwerk"]
    found = client.chat.completions.create(model="stellwerk", messages=MESSAGES, temperature=0)
    assert found.choices[0].message.content == ANSWER
    assert found.choices[0].finish_reason == "stop"
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (400, 40)  # the plan is a call
    thread = found.id.removeprefix("chatcmpl-")
    with place.client("ada") as ada:
        assert ada.get(f"/threads/{thread}").json()["answer"] == ANSWER


def test_it_comes_in_chunks(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="stellwerk",
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 440


def test_what_it_cannot_do_is_an_error_of_the_api(place: Site, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="stellwerk"):
        client.chat.completions.create(model="gpt-4.1", messages=MESSAGES)
    with pytest.raises(openai.UnprocessableEntityError, match="tools"):
        client.chat.completions.create(model="stellwerk", messages=MESSAGES, tools=[])
    with pytest.raises(openai.UnprocessableEntityError, match="role 'user'"):
        client.chat.completions.create(model="stellwerk", messages=MESSAGES[:1])
    with (
        openai.OpenAI(base_url=f"{place.url}/v1", api_key="sw_wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
