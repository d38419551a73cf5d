from __future__ import annotations

from stellwerk.conversion.example import Example, Message, text_of


def test_what_was_asked_is_the_last_word_that_is_not_the_models() -> None:
    prompt: list[Message] = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Where is"}, {"type": "text", "text": "my card?"}],
        },
        {"role": "assistant", "content": "", "tool_calls": []},
    ]
    assert Example(trace_id="0" * 32, call_site="agent", prompt=prompt, answer="on its way").asked == (
        "Where is\nmy card?"
    )
    assert Example(trace_id="0" * 32, call_site="agent", prompt=[], answer=None).asked == ""


def test_content_that_is_no_text_is_left_out() -> None:
    assert text_of({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}) == ""
    assert text_of({"role": "assistant", "content": None}) == ""
