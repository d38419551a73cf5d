"""Made-up people, in sentences: where each piece of what identifies them stands is known.

Names, addresses and numbers are Faker's (extra `bench`), of which the rules know nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from benchmarks.conversion.templates import Language
from stellwerk.conversion.redaction.span import ADDRESS, BIRTH_DATE, CARD, EMAIL, IBAN, PERSON, PHONE

if TYPE_CHECKING:
    from faker import Faker

KIND_OF_SLOT = {
    "address": ADDRESS,
    "place": ADDRESS,
    "bare": PERSON,
    "birth": BIRTH_DATE,
    "card": CARD,
    "iban": IBAN,
    "introduced": PERSON,
    "mail": EMAIL,
    "phone": PHONE,
}
LOCALES: dict[Language, tuple[str, ...]] = {"en": ("en_US", "en_GB"), "de": ("de_DE",)}
_SLOT = re.compile(r"\{(\w+)\}")
_MONTHS = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
]


@dataclass(frozen=True)
class Slot:
    """A piece of a record that identifies somebody, from `start` up to but not including `end`."""

    name: str
    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Record:
    """A text, and what in it is to be redacted."""

    text: str
    slots: tuple[Slot, ...]
    language: Language


def records(templates: dict[Language, Sequence[str]], count: int, *, seed: int) -> list[Record]:
    """So many records of each language, which use all of its templates in turn."""
    from faker import Faker

    draw = random.Random(seed)
    made = []
    for language, sentences in templates.items():
        fakers = [Faker(locale) for locale in LOCALES[language]]
        for number, faker in enumerate(fakers):
            faker.seed_instance(seed + number)
        for number in range(count):
            faker = fakers[number // len(sentences) % len(fakers)]
            made.append(_filled(sentences[number % len(sentences)], faker, draw, language))
    return made


def _filled(template: str, faker: Faker, draw: random.Random, language: Language) -> Record:
    text, slots, end = "", [], 0
    for match in _SLOT.finditer(template):
        text += template[end : match.start()]
        name = match.group(1)
        surname_only = re.search(r"(?:Ms|Mr|Frau|Herrn) $", text) is not None and draw.random() < 0.5
        value = faker.last_name() if surname_only else _MAKERS[name](faker, draw, language)
        slots.append(Slot(name, KIND_OF_SLOT[name], len(text), len(text) + len(value)))
        text += value
        end = match.end()
    return Record(text + template[end:], tuple(slots), language)


def _name(faker: Faker, draw: random.Random, language: Language) -> str:
    return f"{faker.first_name()} {faker.last_name()}"


def _address(faker: Faker, draw: random.Random, language: Language) -> str:
    return str(faker.address())


def _place(faker: Faker, draw: random.Random, language: Language) -> str:
    return str(faker.address()).replace("\n", ", ")


def _birth(faker: Faker, draw: random.Random, language: Language) -> str:
    born: date = faker.date_of_birth(minimum_age=18, maximum_age=90)
    if language == "de":
        return draw.choice(
            (f"{born:%d.%m.%Y}", f"{born.day}. {_MONTHS[born.month - 1]} {born.year}", f"{born:%Y-%m-%d}")
        )
    return draw.choice(
        (
            f"{born:%d/%m/%Y}",
            f"{born:%B} {born.day}, {born.year}",
            f"{born.day} {born:%B} {born.year}",
            f"{born:%Y-%m-%d}",
        )
    )


def _card(faker: Faker, draw: random.Random, language: Language) -> str:
    number = str(faker.credit_card_number())
    if len(number) != 16:
        return number
    return draw.choice(("", " ", "-")).join(number[place : place + 4] for place in range(0, 16, 4))


def _iban(faker: Faker, draw: random.Random, language: Language) -> str:
    number = str(faker.iban())
    gap = draw.choice(("", " "))
    return gap.join(number[place : place + 4] for place in range(0, len(number), 4))


_MAKERS: dict[str, Callable[[Faker, random.Random, Language], str]] = {
    "address": _address,
    "place": _place,
    "bare": _name,
    "birth": _birth,
    "card": _card,
    "iban": _iban,
    "introduced": _name,
    "mail": lambda faker, draw, language: str(
        draw.choice((faker.email, faker.ascii_free_email, faker.company_email))()
    ),
    "phone": lambda faker, draw, language: str(faker.phone_number()),
}
