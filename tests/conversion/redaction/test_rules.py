"""What rules find, and what they leave alone, in the words that people use."""

from __future__ import annotations

import pytest

from tests.conversion.redaction.finding import found

CASES = [
    # mail
    ("Write to jane.doe+bank@mail.example.co.uk, please.", "EMAIL", "jane.doe+bank@mail.example.co.uk"),
    ("jörg.müller@beispiel.de schreibt", "EMAIL", "jörg.müller@beispiel.de"),
    ("jane (at) example (dot) org", "EMAIL", "jane (at) example (dot) org"),
    ("hans[at]web.de", "EMAIL", "hans[at]web.de"),
    # telephone
    ("Call +49 (0)30 1234567 today", "PHONE", "+49 (0)30 1234567"),
    ("+1-303-228-9218x401", "PHONE", "+1-303-228-9218x401"),
    ("001-239-515-0008x0636 rings", "PHONE", "001-239-515-0008x0636"),
    ("(783)703-8836", "PHONE", "(783)703-8836"),
    ("my cell is 958.868.3449.", "PHONE", "958.868.3449"),
    ("the landline 020 7946 0958", "PHONE", "020 7946 0958"),
    ("0171/1234567", "PHONE", "0171/1234567"),
    ("(05178) 12865 ist besetzt", "PHONE", "(05178) 12865"),
    ("please call 555-1234 again", "PHONE", "555-1234"),
    ("Reach me at 5513503639", "PHONE", "5513503639"),
    # accounts and cards
    ("to DE89 3704 0044 0532 0130 00 by Friday", "IBAN", "DE89 3704 0044 0532 0130 00"),
    ("gb82west12345698765432", "IBAN", "gb82west12345698765432"),
    ("card 4111-1111-1111-1111.", "CARD", "4111-1111-1111-1111"),
    ("Amex 3782 822463 10005", "CARD", "3782 822463 10005"),
    ("SSN 123-45-6789", "ID_NUMBER", "123-45-6789"),
    # addresses
    (
        "Ship to 8683 Walker Run, South Emilymouth, TN 83200.",
        "ADDRESS",
        "8683 Walker Run, South Emilymouth, TN 83200",
    ),
    (
        "at 30411 Stark Hills Apt. 694\nNorth Ann, PR 05470-1234",
        "ADDRESS",
        "30411 Stark Hills Apt. 694\nNorth Ann, PR 05470-1234",
    ),
    ("PO Box 123, Austin, Texas 78701", "ADDRESS", "PO Box 123, Austin, Texas 78701"),
    ("PSC 4115, Box 7815\nAPO AA 41945", "ADDRESS", "PSC 4115, Box 7815\nAPO AA 41945"),
    ("i live at 975 sunset drive, austin, tx 78750", "ADDRESS", "975 sunset drive, austin, tx 78750"),
    ("the office in San Jose, CA 95110", "ADDRESS", "San Jose, CA 95110"),
    ("Flat 7, 12 Moore Square, London, N8 2WP!", "ADDRESS", "Flat 7, 12 Moore Square, London, N8 2WP"),
    (
        "Studio 35n\nBeverley villages\nJonesview\nE1 8TZ",
        "ADDRESS",
        "Studio 35n\nBeverley villages\nJonesview\nE1 8TZ",
    ),
    ("postcode SW1A1AA", "ADDRESS", "SW1A1AA"),
    ("an Hauptstr. 5, 10115 Berlin senden", "ADDRESS", "Hauptstr. 5, 10115 Berlin"),
    (
        "Straße des 17. Juni 135\n10623 Berlin",
        "ADDRESS",
        "Straße des 17. Juni 135\n10623 Berlin",
    ),
    (
        "Ich wohne Am Alten Markt 5a, 74523 Schwäbisch Hall.",
        "ADDRESS",
        "Am Alten Markt 5a, 74523 Schwäbisch Hall",
    ),
    ("Postfach 12 34, 60001 Frankfurt am Main", "ADDRESS", "Postfach 12 34, 60001 Frankfurt am Main"),
    ("Meine PLZ ist 10115", "ADDRESS", "10115"),
    # dates of birth
    ("I was born on April 5, 1990 in Bonn", "BIRTH_DATE", "April 5, 1990"),
    ("geboren am 5. April 1990", "BIRTH_DATE", "5. April 1990"),
    ("DOB: 05/04/1990", "BIRTH_DATE", "05/04/1990"),
    ("05.04.1990 geboren", "BIRTH_DATE", "05.04.1990"),
    # machines and links
    ("from 10.1.22.33 yesterday", "IP", "10.1.22.33"),
    ("2001:db8::8a2e:370:7334", "IP", "2001:db8::8a2e:370:7334"),
    ("at https://joe:hunter2@git.example.org/x.", "URL", "https://joe:hunter2@git.example.org/x"),
    (
        "https://example.org/reset?user=7&token=8f3a77c1d2.",
        "URL",
        "https://example.org/reset?user=7&token=8f3a77c1d2",
    ),
    ("https://hooks.slack.com/services/T0/B0/x9", "URL", "https://hooks.slack.com/services/T0/B0/x9"),
    # secrets; put together, or those who look for secrets in code find them here
    ("key " + "sk-" + "proj-abcdefGHIJKL0123456789", "SECRET", "sk-proj-abcdefGHIJKL0123456789"),
    ("AK" + "IAIOSFODNN7EXAMPLE", "SECRET", "AKIAIOSFODNN7EXAMPLE"),
    ("gh" + "p_" + "a1B2" * 9, "SECRET", "ghp_" + "a1B2" * 9),
    ("password: Tr0ub4dor&3, ok?", "SECRET", "Tr0ub4dor&3"),
    ("Das Passwort lautet hunter22.", "SECRET", "hunter22"),
    ("my PIN is 4821", "SECRET", "4821"),
    ("export X=q8Zp3LmTn7Rw2Vx9KcYb5HdJ", "SECRET", "q8Zp3LmTn7Rw2Vx9KcYb5HdJ"),
    (
        "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----",
        "SECRET",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----",
    ),
    # names
    ("My name is Allison Hill and I wait", "PERSON", "Allison Hill"),
    ("for Mrs. van der Berg today", "PERSON", "van der Berg"),
    ("Sehr geehrter Herr Dr. Koch,", "PERSON", "Koch"),
    ("Best regards,\nHans-J. Gröttner", "PERSON", "Hans-J. Gröttner"),
    ("Dear Mia, welcome", "PERSON", "Mia"),
    ("Kontoinhaber: Zoë O’Neill", "PERSON", "Zoë O’Neill"),
]
LEFT_ALONE = [
    "Revenue rose from 1,204,331 in 2018 to 1,310,222 in 2019; note 12, 5,000 shares.",
    "2018 2019 2020 2021 | 4,111 1,111 | (1,204.5) | 12.5% | 31.12.2019 | 12/31/2019",
    "Order 5513503639, item 0001234567, case 2024/118-7, run 4471-22",
    "id 9f1c2e7a4b8d4c0e9a6b5d3f2e1c0b9a, 123e4567-e89b-12d3-a456-426614174000",
    "commit 5d41402abc4b2a76b9719d911017c592aa11bb22 of version 2.10.3.14",
    "card 4111 1111 1111 1112 and DE89 3704 0044 0532 0130 01 have wrong check digits",
    "The meeting on 5 May 1990 at 10:45, room 12, lasted from 09:30-10:00.",
    "see https://example.org/docs/page?lang=en&id=12#top and git@github.com:a/b.git",
    "std::vector<int>, 127.0.0.1, localhost, section 1.2.3.4 and 12:30:45",
    "Dear Sir or Madam,\nDear Customer,\nHi team,\nHallo zusammen,\nThanks, please help",
    "My password is wrong and the token expired; I forgot my PIN.",
    "Im Jahr 2018, 12345 Kunden, 10000 Mitarbeiter, Seite 5, 20000 Euro",
    "call option of 100,000 at 12.50, calls on 2018 2019",
    "stellwerk/conversion/redaction/account.py and A_LONG_CONSTANT_NAME_WITH_WORDS",
]


@pytest.mark.parametrize(("text", "kind", "words"), CASES)
def test_it_is_found_whole_and_nothing_beside_it(text: str, kind: str, words: str) -> None:
    assert found(text) == [(kind, words)]


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_identifies_nobody_stays(text: str) -> None:
    assert found(text) == []


def test_a_sender_has_a_name_and_an_address() -> None:
    assert found("Allison Hill <a.hill@example.org>") == [
        ("PERSON", "Allison Hill"),
        ("EMAIL", "a.hill@example.org"),
    ]
