"""Exact match and numeracy-focused F1 as TAT-QA's official evaluation computes them.

Source of the definition: Zhu et al., "TAT-QA: A Question Answering Benchmark on a Hybrid of Tabular and
Textual Content in Finance", ACL 2021, and the evaluation published with it at
https://github.com/NExTplusplus/TAT-QA. Its habits are kept, so that figures compare:

- The spans of an answer are sorted as spelled and joined into one string before they are compared, so
  $7 and 20 for a gold 7 and 20 earn an F1 of 1 but no exact match.
- Brackets make a number negative only without a thousands separator: (12) is -12, but (1,234) is 1234.
- A minus sign is the ASCII hyphen; with any other dash the answer is text.
- A lone number without a scale also counts as itself, so 0.1234 answers 12.34 percent.
- A number with a % sign ignores the scale beside it.
- A prediction that is empty, or the number 0 (the string "0" is not), scores nothing.
"""

import math
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from benchmarks.tatqa.pages import Question

_MAGNITUDES: dict[str, float] = {
    "hundred": 100,
    "thousand": 1_000,
    "million": 1_000_000,
    "billion": 1_000_000_000,
    "percent": 0.01,
}
_AROUND_NUMBERS = str.maketrans("", "", "'\"\\$€£¥%(),[]")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NUMERAL = re.compile(r"[+-]?(?:\d+(?:\.\d+)?|(?P<no_leading_digit>\.\d+))")
_BRACKETED = re.compile(r"\([\d.\s]+\)")
_WITH_PERCENT_SIGN = re.compile(r"[\d.\s]%")
_WITH_WORD = re.compile(r"[\d.]\s?[a-zA-Z]+")
# A small model may repeat a digit for pages; past this the product with a scale could overflow.
_LARGEST = 1e200
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


@dataclass(frozen=True)
class Score:
    """Exact match (0 or 1) and F1 (0 to 1, in hundredths) of one prediction."""

    em: float
    f1: float


def score(
    question: Question,
    predicted: str | list[str] | float | Decimal | None,
    predicted_scale: str,
    *,
    use_scale: bool = True,
) -> Score:
    """Score one prediction against the gold answer.

    Args:
        question: The question with its gold answer and scale.
        predicted: The predicted answer: a list of spans, or one span or number. None scores zero.
        predicted_scale: "", "thousand", "million", "billion" or "percent".
        use_scale: False gives the prediction the gold scale in place of `predicted_scale`. The official
            evaluation has no such mode.
    """
    gold = _gold_spans(question)
    if not predicted or not gold:
        return Score(0.0, 0.0)
    spans = [_spelled(span) for span in predicted] if isinstance(predicted, list) else [_spelled(predicted)]
    scale = predicted_scale if use_scale else question.scale
    gold_text = _normalized(_joined(gold, question.scale))
    em, f1 = max(_compare(_normalized(reading), gold_text) for reading in _readings(spans, scale))
    return Score(em, em if question.answer_type in ("arithmetic", "count") else f1)


def _gold_spans(question: Question) -> list[str]:
    if isinstance(question.answer, list):
        return question.answer
    return [str(int(question.answer) if question.answer_type == "count" else question.answer)]


def _spelled(value: str | float | Decimal) -> str:
    # str() would write Decimal("1E+3") with an exponent, of which only the 1 is read.
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _readings(spans: list[str], scale: str) -> Iterator[str]:
    yield _joined(spans, scale)
    if len(spans) == 1 and not scale and "%" not in spans[0] and _is_number(spans[0]):
        value = _value(spans[0])
        if value is not None:
            yield f"{value:.4f}"


def _joined(spans: list[str], scale: str) -> str:
    return " ".join(_with_scale(span, scale) for span in sorted(spans))


def _with_scale(span: str, scale: str) -> str:
    value = _value(span) if _is_number(span) else None
    if value is None:
        return f"{span} {scale}" if scale else span
    if "%" in span:
        return f"{value:.4f}"
    return f"{round(value, 2) * _magnitude(scale):.4f}"


def _compare(predicted: str, gold: str) -> tuple[float, float]:
    predicted_words, gold_words = set(predicted.split()), set(gold.split())
    shared = len(predicted_words & gold_words)
    precision = shared / len(predicted_words) if predicted_words else 1.0
    recall = shared / len(gold_words) if gold_words else 1.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    # round(f1, 2) differs from the NumPy rounding of the official evaluation, for instance at 0.175.
    return float(predicted == gold), round(f1 * 100) / 100


def _normalized(text: str) -> str:
    words = (word for token in text.lower().split(" ") for word in _normalized_token(token).split())
    return " ".join(words)


def _normalized_token(token: str) -> str:
    if not _is_number(token):
        token = token.translate(_PUNCTUATION)
    if _is_number(token):
        token = str(_value(token))
    return _ARTICLE.sub(" ", token)


def _is_number(text: str) -> bool:
    words = [word for word in (word.translate(_AROUND_NUMBERS) for word in text.split()) if word]
    if not words:
        return False
    try:
        number = float(words[0])
    except ValueError:
        return False
    return not math.isnan(number) and (len(words) == 1 or _magnitude(words[1]) != 1)


def _value(text: str) -> float | None:
    found = _NUMERAL.search(text.translate(_AROUND_NUMBERS))
    if found is None or found["no_leading_digit"]:
        return None
    number = float(found[0])
    if abs(number) > _LARGEST:
        return None
    if "." not in found[0]:
        number = int(found[0])  # which is spelled without ".0" inside a text
    word = _WITH_WORD.search(text)
    number *= _magnitude(word[0]) if word else 1
    if _BRACKETED.search(text):
        number = -number
    if _WITH_PERCENT_SIGN.search(text.strip()):
        number *= 0.01
    return round(number, 4)


def _magnitude(text: str) -> float:
    lowered = text.lower()
    return next((factor for name, factor in _MAGNITUDES.items() if name in lowered), 1)
