"""The detector that needs nothing but this package: patterns, check digits, and the words beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from stellwerk.conversion.redaction.account import find_card, find_iban, find_id_number
from stellwerk.conversion.redaction.address import find_address
from stellwerk.conversion.redaction.birth import find_birth_date
from stellwerk.conversion.redaction.contact import find_mail, find_phone
from stellwerk.conversion.redaction.name import find_name
from stellwerk.conversion.redaction.network import find_ip, find_url
from stellwerk.conversion.redaction.secret import find_secret
from stellwerk.conversion.redaction.span import Span

Rule = Callable[[str], Iterable[Span]]

ANYWHERE: tuple[Rule, ...] = (find_mail, find_url, find_secret, find_name)
WITH_FIGURES: tuple[Rule, ...] = (
    find_phone,
    find_iban,
    find_card,
    find_id_number,
    find_address,
    find_birth_date,
)
_FIGURES = re.compile(r"\d\D*+\d")


class RuleDetector:
    """Finds by rules, in English and German, what has a form, and names that something introduces.

    Args:
        more: rules of one's own, beside those here: functions from a text to its spans.
    """

    def __init__(self, *more: Rule) -> None:
        self._more = more

    def find(self, text: str) -> Sequence[Span]:
        """The spans that any rule finds; they may overlap."""
        rules = [*ANYWHERE, *self._more]
        if _FIGURES.search(text):
            rules += WITH_FIGURES
        if "." in text or ":" in text:
            rules.append(find_ip)
        return [span for rule in rules for span in rule(text)]
