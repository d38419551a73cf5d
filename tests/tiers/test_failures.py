import time
from email.utils import formatdate
from typing import Any

import httpx
import pytest

from stellwerk.tiers.failures import Kind, failure_of, retry_after

NOW = 1_800_000_000.0


class AnswerError(Exception):
    """As the clients of hosted APIs raise them."""

    def __init__(self, status: int, text: str = "no", headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status_code = status
        self.response = httpx.Response(status, headers=headers)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AnswerError(429), Kind.BUSY),
        (AnswerError(503), Kind.BUSY),
        (AnswerError(529, "overloaded"), Kind.BUSY),
        (AnswerError(429, "You exceeded your current quota: insufficient_quota"), Kind.REFUSED),
        (AnswerError(408), Kind.TIMEOUT),
        (AnswerError(500), Kind.SERVER),
        (AnswerError(502), Kind.SERVER),
        (AnswerError(504), Kind.SERVER),
        (AnswerError(400), Kind.REFUSED),
        (AnswerError(401), Kind.DENIED),
        (AnswerError(403), Kind.DENIED),
        (AnswerError(404), Kind.REFUSED),
        (AnswerError(422), Kind.REFUSED),
        (AnswerError(400, "This model's maximum context length is 4096 tokens"), Kind.OVERFLOW),
        (TimeoutError(), Kind.TIMEOUT),
        (httpx.ReadTimeout("slow"), Kind.TIMEOUT),
        (httpx.ConnectTimeout("slow"), Kind.UNREACHED),
        (httpx.ConnectError("refused"), Kind.UNREACHED),
        (ConnectionRefusedError("refused"), Kind.UNREACHED),
        (caused(ConnectionError("Connection error."), httpx.ConnectError("refused")), Kind.UNREACHED),
        (httpx.RemoteProtocolError("peer closed connection"), Kind.BROKEN),
        (ConnectionResetError("reset by peer"), Kind.BROKEN),
        (ValueError("Expecting value: line 1"), Kind.BROKEN),
        (KeyError("choices"), Kind.BROKEN),
        (NotImplementedError("no tools"), Kind.REFUSED),
    ],
)
def test_an_exception_says_what_went_wrong(error: Exception, kind: Kind) -> None:
    assert failure_of(error).kind is kind


def test_a_server_given_up_or_broken_off_may_have_billed_and_one_that_refused_has_not() -> None:
    billed = {kind for kind in Kind if failure_like(kind).billed}
    assert billed == {Kind.TIMEOUT, Kind.BROKEN}


def failure_like(kind: Kind) -> Any:
    from stellwerk.tiers.failures import Failure

    return Failure(kind, "")


def test_a_busy_server_says_for_how_long() -> None:
    assert failure_of(AnswerError(503, headers={"Retry-After": "7"})).pause == 7
    assert failure_of(AnswerError(429)).pause is None
    date = formatdate(time.time() + 30, usegmt=True)
    pause = failure_of(AnswerError(429, headers={"retry-after": date})).pause
    assert pause is not None
    assert 20 < pause < 31


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "Retry-After": "3"}, 0.25),
        ({"Retry-After": formatdate(NOW + 90, usegmt=True)}, 90),
        ({"Retry-After": formatdate(NOW - 90, usegmt=True)}, 0),
        ({"Retry-After": "-5"}, 0),
        ({"Retry-After": "999999999"}, 3600),
        ({"Retry-After": "inf"}, 3600),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": ""}, None),
        ({"retry-after-ms": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(httpx.Headers(headers), NOW) == seconds


def test_an_error_without_an_answer_has_no_headers() -> None:
    assert retry_after(None, NOW) is None
