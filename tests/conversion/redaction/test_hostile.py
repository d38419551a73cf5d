"""Texts that are made to be slow are not: 100,000 characters of what a rule begins with."""

from __future__ import annotations

import time

import pytest

from stellwerk.conversion.redaction.redactor import Redactor

SIZE = 100_000
# Seconds of processor time. The slowest take a third of one; what goes back over its steps takes minutes.
LIMIT = 8.0

PIECES = [
    "a@", "a.", "@.", "1 ", "+1 ", "(0", "0123 ", "DE89 ", "4111 ", "Aa-", "Mr A", "Dr Dr. ", "name: ",
    "Dear Aa ", "born 1.", "1 Aa, ", "12345 Berlin ", "TX 12345 ", "1 Aa\nN8 2WP ", "a://b?a=1&",
    "http://a:", "::", "1.", "password: ", "eyJaaaaaaaa.", "-----BEGIN PRIVATE KEY-----", "A1a", "\\",
    "[A_1]", "[EMAIL_1] a@b.de ", "\"", "[[", "Best regards,\nAa ", "call 1", "a (at) ", "1/",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_a_text_of_pieces(piece: str) -> None:
    begun = time.process_time()
    Redactor().redact_text((piece * SIZE)[:SIZE])
    assert time.process_time() - begun < LIMIT


def test_many_values_in_many_texts() -> None:
    begun = time.process_time()
    text = "[" + ",".join(f'"a{number}@b.de"' for number in range(5_000)) + "]"
    assert Redactor().redact_text(text).startswith('["[EMAIL_1]","[EMAIL_2]"')
    assert time.process_time() - begun < LIMIT


def test_json_that_is_deeper_than_can_be_read_is_a_text_like_any_other() -> None:
    deep = "[" * 20_000 + '"jane@example.com"' + "]" * 20_000
    assert "[EMAIL_1]" in Redactor().redact_text(deep)
