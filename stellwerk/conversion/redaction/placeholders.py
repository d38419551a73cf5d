"""Placeholders: what stands in the place of whom, and the way back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from stellwerk.conversion.redaction.span import CARD, EMAIL, IBAN, PHONE

PLACEHOLDER = re.compile(r"\[(?P<kind>[A-Z][A-Z_]{0,29})_(?P<number>[1-9]\d{0,8})\]")
"""What a placeholder looks like: `[EMAIL_1]`."""

_AT = re.compile(r"\s?[\[({](?:at|ät)[\])}]\s?")
_DOT = re.compile(r"\s?[\[({](?:dot|punkt)[\])}]\s?")


class Placeholders:
    """Who has which placeholder: the key to what was redacted.

    The same mail address, number or name has the same placeholder wherever it stands, in whatever spelling;
    numbers count up in the order of first appearance. Whoever holds this can undo the redaction, so it is
    handed back to the caller and kept nowhere.

    Args:
        values: what each placeholder stands for, of an earlier redaction that is to be gone on with.
    """

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values: dict[str, str] = {}
        self._given: dict[tuple[str, str], str] = {}
        self._last: dict[str, int] = {}
        for placeholder, value in (values or {}).items():
            self.reserve(placeholder)
            match = PLACEHOLDER.fullmatch(placeholder)
            if match is not None:
                self._values[placeholder] = value
                self._given[match["kind"], _plain(match["kind"], value)] = placeholder

    def __repr__(self) -> str:
        return f"Placeholders({len(self._values)} values, not shown)"

    def __len__(self) -> int:
        return len(self._values)

    @property
    def values(self) -> dict[str, str]:
        """What each placeholder stands for, as it was spelled where it first appeared: the secrets."""
        return dict(self._values)

    def reserve(self, text: str) -> None:
        """Give away no placeholder that the text has already."""
        for match in PLACEHOLDER.finditer(text):
            kind = match["kind"]
            self._last[kind] = max(self._last.get(kind, 0), int(match["number"]))

    def of(self, kind: str, value: str) -> str:
        """The placeholder of the value, a new one where it has none yet."""
        plain = (kind, _plain(kind, value))
        placeholder = self._given.get(plain)
        if placeholder is None:
            self._last[kind] = number = self._last.get(kind, 0) + 1
            placeholder = self._given[plain] = f"[{kind}_{number}]"
            self._values[placeholder] = value
        return placeholder

    def known(self) -> Iterable[tuple[str, str]]:
        """The kind and the value of each placeholder."""
        return ((placeholder[1:].rpartition("_")[0], value) for placeholder, value in self._values.items())

    def restore(self, text: str) -> str:
        """The text with values in the place of placeholders; those that are not known stay.

        Of a value in several spellings, the first one is put in. For JSON, `Redactor.restore` escapes what
        has to be escaped.
        """
        return PLACEHOLDER.sub(lambda match: self._values.get(match.group(), match.group()), text)


def _plain(kind: str, value: str) -> str:
    """What all spellings of a value have in common."""
    if kind == EMAIL:
        return _DOT.sub(".", _AT.sub("@", value.lower()))
    if kind == PHONE:
        digits = re.sub(r"\D", "", value.replace("(0)", ""))
        return digits.removeprefix("00") if digits.startswith("00") else digits
    if kind in (CARD, IBAN):
        return re.sub(r"[\W_]", "", value).upper()
    return " ".join(re.sub(r"[,\s]+", " ", value).split()).casefold()
