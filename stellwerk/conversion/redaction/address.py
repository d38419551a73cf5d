"""Rules for postal addresses with a postcode: American, British and German ones.

Each is found by its postcode, which has a form, and goes back to where the street or the flat begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stellwerk.conversion.redaction.span import ADDRESS, Span

_STATES = (
    "A[AEKLPRSZ]|C[AOT]|D[CE]|F[LM]|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEHINOPST]|N[CDEHJMVY]|O[HKR]|P[ARW]|RI"
    "|S[CD]|T[NX]|UT|V[AIT]"
    "|W[AIVY]"
)
_STATE_NAMES = (
    "Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Georgia|Hawaii|Idaho"
    "|Illinois|Indiana"
    "|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri"
    "|Montana|Nebraska"
    "|Nevada|New Hampshire|New Jersey|New Mexico|New York|North Carolina|North Dakota|Ohio|Oklahoma|Oregon"
    "|Pennsylvania"
    "|Rhode Island|South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont|Virginia|Washington|West Virginia"
    "|Wisconsin|Wyoming"
)
_AMERICAN = re.compile(
    rf"(?<![A-Za-z])(?:{_STATES}|{_STATE_NAMES})\.?,?\s\s?\d{{5}}(?:-\d{{4}})?(?![\w\-]|[.,]\d)"
)
_AMERICAN_SMALL = re.compile(
    rf"(?<=, )(?:{_STATES.lower()}|{_STATE_NAMES.lower()}),? \d{{5}}(?:-\d{{4}})?(?![\w\-]|[.,]\d)"
)
_BRITISH = re.compile(
    r"(?<![A-Za-z0-9.])[A-Z]{1,2}\d(?:\d|[A-Z])?\s\d[ABD-HJLNP-UW-Z]{2}(?![A-Za-z0-9])"
    r"|(?<=[,\n] )[a-z]{1,2}\d[\da-z]?\s\d[abd-hjlnp-uw-z]{2}(?![A-Za-z0-9])"
)
_BRITISH_BARE = re.compile(
    r"(?<![A-Za-z0-9.\-/_])(?:AB|AL|B|BA|BB|BD|BH|BL|BN|BR|BS|BT|CA|CB|CF|CH|CM|CO|CR|CT|CV|CW|DA|DD|DE|DG|DH"
    r"|DL|DN|DT|DY|E|EC"
    r"|EH|EN|EX|FK|FY|G|GL|GU|HA|HD|HG|HP|HR|HS|HU|HX|IG|IP|IV|KA|KT|KW|KY|L|LA|LD|LE|LL|LN|LS|LU|M|ME|MK|ML"
    r"|N|NE|NG|NN|NP|NR"
    r"|NW|OL|OX|PA|PE|PH|PL|PO|PR|RG|RH|RM|S|SA|SE|SG|SK|SL|SM|SN|SO|SP|SR|SS|ST|SW|SY|TA|TD|TF|TN|TQ|TR|TS"
    r"|TW|UB|W|WA|WC|WD"
    r"|WF|WN|WR|WS|WV|YO|ZE)\d[\dA-Z]?\d[ABD-HJLNP-UW-Z]{2}(?![A-Za-z0-9\-_])"
)
_BOX = (
    r"P\.?[ ]?O\.?[ ]?Box[ ]\d{1,6}|(?:PSC|CMR|Unit|UNIT)[ ]\d{1,5},?[ ]Box[ ]\d{1,5}"
    r"|US(?:NS|S|CGC|NV)[ ][A-Z]\w+"
)
_FLAT = (
    r"(?:Flat|Apartment|Apt\.?|Studio|Unit|Suite|Room|Floor|flat|apartment|studio|unit)"
    r"[ ]#?(?:\d{1,5}[A-Za-z]{0,2}|[A-Z])\b"
)
_START = re.compile(
    rf"(?<![\w.,$€£%#\-/])(?:{_BOX}|{_FLAT}|\d{{1,6}}[A-Za-z]?(?:[\-/]\d{{1,4}})?,?[ ](?=(?:\d{{1,3}}(?:st|nd"
    rf"|rd|th)[ ])?[A-Z]))"
)
_START_SMALL = re.compile(r"(?<![\w.,$€£%#\-/])\d{1,6}[a-z]?[ ](?=[a-z])")
_STREET_NAME = re.compile(r"[A-Z0-9][\w.'’\-]*(?:[ ][A-Za-z0-9][\w.'’\-]*){0,4},?\s{1,2}")
_WITHIN = re.compile(r"[\w\s,.'’#/\-]{0,130}")
_PLACE = re.compile(r"(?:[A-Z][\w'’.\-]{1,30}[ ]){0,3}[A-Z][\w'’.\-]{1,30}[,]?\s{1,2}$")
_APART = re.compile(r"[\"{}\[\]|<>\t;:\\]|\n\s*\n")

_WORD = r"[A-ZÄÖÜ][\wäöüß.’'\-]{0,40}"
_JOINED = r"(?:am|an|auf|bei|der|dem|den|des|die|im|in|ob|unter|vor|vorm|zum|zur|von|van|a\.|d\.|i\.|v\.)"
_NO_CITY = (
    "(?:Bitte|Ich|Wir|Die|Der|Das|Den|Meine?|Danke|Viele|Liebe|Mit|Telefon|Und|Oder|Ihre?|Sie|Es|In|Am)"
)
_CITY = (
    rf"(?:(?:Bad|Sankt|St\.|Markt|Neu|Alt|Groß|Klein)[ ])?[A-ZÄÖÜ][\wäöüß\-]{{1,40}}"
    rf"(?:[ ](?:{_JOINED}[ ]){{1,2}}[A-ZÄÖÜ][\wäöüß\-]{{1,40}}"
    rf"|[ ](?!{_NO_CITY}\b)[A-ZÄÖÜ][a-zäöüß]{{2,30}}(?=[ ]?(?:[.,;)\n]|[a-z]|$))"
    rf"|[ ]?\([A-ZÄÖÜ][\wäöüß. ]{{1,30}}\))?"
)
_POSTCODE = rf"(?:D[ \-])?(?<!\d)\d{{5}}(?!\d)[ ]{_CITY}"
_HOUSE = r"\d{1,5}(?:[ ]?[a-zA-Z]\b)?(?:[ ]?[\-/+][ ]?\d{1,4}[a-z]?)?"
_GERMAN = re.compile(rf"(?<![\w.,/\-]){_HOUSE}(?P<gap>,?[ ]?\n[ ]?|,[ ]|[ ])(?:in )?{_POSTCODE}")
_STREET = re.compile(
    r"(?:(?:van|von)[ ](?:der[ ]|den[ ])?)?"
    rf"(?:{_WORD}(?:[ ]{_JOINED}){{0,2}}[ ](?:\d{{1,2}}\.[ ])?){{0,4}}{_WORD}[ ]?$"
)
_STREETS = re.compile(
    r"(?i)(?:str(?:\.|a(?:ß|ss)e)|weg|platz|allee|gasse|ring|ufer|damm|chaussee|steig|stieg|hof|markt|graben"
    r"|berg|wall|pfad"
    r"|promenade|kamp|brücke|tor|park|siedlung|anger|tal|feld|garten|zeile|kai|twiete|wiese|höhe|eck|heide"
    r"|winkel|rain)$"
)
_HOME = re.compile(
    r"(?i)wohn|adresse|anschrift|address|liefer|zieh|zog|send|schick|versand|post|haus\b|straße|live|brief"
)
_POSTBOX = re.compile(rf"Postfach[ ]\d[\d ]{{0,8}}(?:,[ ]|[ ]?\n|[ ]){_POSTCODE}")
_PLACED = re.compile(
    rf"(?:(?i:wohn\w{{0,12}}|anschrift|adresse|plz|postleitzahl|wohnort)(?:[ :]|in\b|ist\b|nr\b"
    rf"|meine?\b){{0,6}}+)(?P<place>(?:D[ \-])?\d{{5}}(?!\d)(?:[ ]{_CITY})?)"
)
_LINES = re.compile(r"[,\n]")
_SAID = re.compile(r"(?i)post ?code(?: is)?[ :]{1,2}$")
_BEHIND = 150  # characters before a postcode that an address may take


def find_address(text: str) -> Iterator[Span]:
    """Postal addresses with a postcode, from the street to the postcode, or the place."""
    for pattern in (_AMERICAN, _AMERICAN_SMALL):
        for match in pattern.finditer(text):
            yield Span(_street(text, match.start()), match.end(), ADDRESS, 0.95)
    for match in _BRITISH.finditer(text):
        yield Span(_street(text, match.start()), match.end(), ADDRESS, 0.95)
    for match in _BRITISH_BARE.finditer(text):  # as ids are, too
        start = _street(text, match.start())
        behind = text[start : match.start()]
        if (behind[:1].isdigit() and _LINES.search(behind)) or _SAID.search(
            text, max(0, match.start() - 20), match.start()
        ):
            yield Span(start, match.end(), ADDRESS, 0.95)
    yield from _german(text)


def _street(text: str, postcode: int) -> int:
    """Where the address begins that ends with the postcode at that place."""
    first = max(0, postcode - _BEHIND)
    for gap in _APART.finditer(text, first, postcode):
        first = gap.end()
    start = postcode
    small, flat = text[postcode].islower(), False
    for match in reversed(list((_START_SMALL if small else _START).finditer(text, first, postcode))):
        between = text[match.end() : start]
        if start == postcode:
            fits = _WITHIN.fullmatch(between) and _parted(between)
        else:  # a street before the flat, or a flat before the street
            fits = not between.strip(" ,\n") or (flat and _STREET_NAME.fullmatch(between) is not None)
        if not fits:
            continue
        start, flat = match.start(), not match.group()[0].isdigit()
    if start < postcode:
        return start
    place = _PLACE.search(text, max(first, postcode - 70), postcode)
    return place.start() if place else postcode


def _parted(between: str) -> bool:
    """Whether a street and a place could be told apart in it: by a comma, a line, or capitals throughout."""
    if "," in between or "\n" in between:
        return True
    words = between.split()
    return len(words) <= 6 and all(word[0].isupper() or word[0].isdigit() for word in words)


def _german(text: str) -> Iterator[Span]:
    for match in _GERMAN.finditer(text):
        street = _STREET.search(text, max(0, match.start() - 90), match.start())
        if street is None:
            continue
        surely = _STREETS.search(street.group().rstrip()) or "\n" in match.group("gap")
        if surely or _HOME.search(text, max(0, street.start() - 80), street.end()):
            yield Span(street.start(), match.end(), ADDRESS, 0.95)
    for match in _POSTBOX.finditer(text):
        yield Span(*match.span(), ADDRESS, 0.9)
    for match in _PLACED.finditer(text):
        yield Span(*match.span("place"), ADDRESS, 0.9)
