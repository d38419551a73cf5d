"""Rules for bank accounts, payment cards and social security: by check digits, or a form of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stellwerk.conversion.redaction.span import CARD, IBAN, ID_NUMBER, Span

# Lengths by country, of the registry that ISO 13616 speaks of.
_LENGTHS = {
    length: countries.split()
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL SD FK",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ TL OM SO",
        24: "AD CZ DZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI FR GR IT MC MR SM DJ",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
}
_LENGTH = {country: length for length, countries in _LENGTHS.items() for country in countries}
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[ ]?\d{2}(?=[ \u00a0\-]?[A-Za-z0-9])")
_CARD = re.compile(
    "(?<![\\d.,])(?<!\\d[ \\-])(?:"
    "\\d{12,19}|\\d{4}(?P<gap>[ \u00a0\\-])\\d{4}(?P=gap)\\d{4}(?P=gap)\\d{1,4}(?:(?P=gap)\\d{3})?"
    "|\\d{4}(?P<other>[ \u00a0\\-])\\d{6}(?P=other)\\d{4,5})(?!\\d|[.,]\\d|[ \\-]\\d)"
)
# Issuers' leading digits, of ISO/IEC 7812, with the lengths of their numbers.
_ISSUER = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11,16}|(?:6011|64[4-9]\d|65\d\d)\d{12,15}|(?:35\d\d|2131|1800)\d{11,15}"
    r"|(?:50|5[6-9]|6[0-9])\d{10,17}"
)
_SOCIAL_SECURITY = re.compile(r"(?<![\w.\-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w\-])")


def find_iban(text: str) -> Iterator[Span]:
    """Account numbers of ISO 13616, in groups or not, whose check digits are right."""
    for match in _IBAN_START.finditer(text):
        length = _LENGTH.get(match.group()[:2].upper())
        if length is None:
            continue
        end, number = _letters_and_digits(text, match.start(), length)
        if len(number) == length and not text[end : end + 1].isalnum() and _checks_out(number):
            yield Span(match.start(), end, IBAN)


def find_card(text: str) -> Iterator[Span]:
    """Numbers of payment cards: an issuer's leading digits, its length, and the check digit of Luhn."""
    for match in _CARD.finditer(text):
        number = re.sub(r"\D", "", match.group())
        if _ISSUER.fullmatch(number) and _luhn(number):
            yield Span(*match.span(), CARD)


def find_id_number(text: str) -> Iterator[Span]:
    """Social security numbers of the United States."""
    for match in _SOCIAL_SECURITY.finditer(text):
        yield Span(*match.span(), ID_NUMBER, 0.9)


def _letters_and_digits(text: str, start: int, count: int) -> tuple[int, str]:
    """Where the `count` letters and digits from `start` on end, single gaps between them left out."""
    taken: list[str] = []
    place = start
    while place < len(text) and len(taken) < count:
        character = text[place]
        if character.isascii() and character.isalnum():
            taken.append(character)
        elif character not in " \u00a0-" or text[place - 1] in " \u00a0-":
            break
        place += 1
    return place, "".join(taken).upper()


def _checks_out(number: str) -> bool:
    return int("".join(str(int(character, 36)) for character in number[4:] + number[:4])) % 97 == 1


def _luhn(number: str) -> bool:
    doubled = [int(digit) * 2 for digit in number[-2::-2]]
    return (
        sum(map(int, number[-1::-2])) + sum(value - 9 if value > 9 else value for value in doubled)
    ) % 10 == 0
