"""What a request says in so many words: figures, lists of figures, dates, and runs of its words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date

Number = int | float

_WORDS: dict[str, Number] = {
    word: value
    for value, word in enumerate(
        re.findall(r"\w+", "zero one two three four five six seven eight nine ten eleven twelve")
    )
} | {"once": 1, "twice": 2, "dozen": 12, "decade": 10, "century": 100, "half": 0.5, "rest": 0}
_MAGNITUDES = {
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
    "k": 1e3,
    "m": 1e6,
    "b": 1e9,
}
_FIGURE = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?P<sign>(?:(?<=^)|(?<=[\s(\[,=:^]))[-−]\s?)?(?P<money>[$€£]\s?)?(?<![\w.^])(?P<figure>{_FIGURE})"
    r"(?:\s?(?P<share>%|percent\b)|\s?(?P<size>thousand|million|billion|trillion)\b"
    r"|(?P<letter>[kKmMbB])\b|\s?°?\s?(?P<compass>[NSEW])\b(?!\.))?"
    rf"|\b(?P<word>{'|'.join(_WORDS)})\b",
    re.IGNORECASE,
)
_MONTHS = re.findall(r"\w+", "jan feb mar apr may jun jul aug sep oct nov dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]*\.?"
_DATES = (
    re.compile(rf"\b{_MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}})\b", re.IGNORECASE),
    re.compile(
        rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH},?\s+(?P<year>\d{{4}})\b", re.IGNORECASE
    ),
)
_LIST = re.compile(rf"-?(?:{_FIGURE})%?(?:\s*(?:,\s*and|,|and|&)\s*-?(?:{_FIGURE})%?)+")
_EDGES = " ,;:?!\"'`()[]"


def numbers(text: str) -> list[Number]:
    """The figures of a text in its order, each once; '213 million' is 213000000, and '5%' is 5 and 0.05."""
    return list(dict.fromkeys(value for _, value in placed_numbers(text)))


def placed_numbers(text: str) -> list[tuple[int, Number]]:
    """The figures of a text, each with the place where it begins."""
    found: list[tuple[int, Number]] = []
    for match in _NUMBER.finditer(text):
        if word := match["word"]:
            found.append((match.start(), _WORDS[word.lower()]))
            continue
        value = float(match["figure"].replace(",", ""))
        if size := match["size"]:
            value = round(value * _MAGNITUDES[size.lower()], 6)
        elif (letter := match["letter"]) and match["money"]:
            value = round(value * _MAGNITUDES[letter.lower()], 6)
        if match["sign"] or (match["compass"] or "").upper() in ("S", "W"):
            value = -value
        found.append((match.start(), _plain(value)))
        if match["share"]:
            found.append((match.start(), _plain(round(value / 100, 12))))
    return found


def percentages(text: str) -> frozenset[Number]:
    """The figures that a text gives as a percentage and in no other way: 5 in 'at 5% for 10 years'."""
    shares, others = set[Number](), set[Number]()
    for match in _NUMBER.finditer(text):
        if match["figure"]:
            value = _plain(float(match["figure"].replace(",", "")))
            (shares if match["share"] else others).add(-value if match["sign"] else value)
    return frozenset(shares - others)


def number_lists(text: str) -> list[list[Number]]:
    """The lists of figures that a text writes out, such as '3, 5 and 8'; shares as parts of one, too."""
    found: list[list[Number]] = []
    for match in _LIST.finditer(text):
        figures = re.findall(rf"-?(?:{_FIGURE})", match[0])
        found.append([_plain(float(figure.replace(",", ""))) for figure in figures])
    for group in re.findall(r"[(\[]([^()\[\]]*)[)\]]", text):
        if re.search(r"\d[^,]*[NSEW],", group):  # a place: '33.4 N, 112.1 W'
            found.append(numbers(group))
    if len(shares := re.findall(rf"({_FIGURE})\s?%", text)) > 1:
        found.append([_plain(round(float(share.replace(",", "")) / 100, 12)) for share in shares])
    return found


def dates(text: str) -> list[str]:
    """The full dates of a text, as YYYY-MM-DD."""
    found = []
    for pattern in _DATES:
        for match in pattern.finditer(text):
            month = _MONTHS.index(match["month"].lower()[:3]) + 1
            try:
                found.append(date(int(match["year"]), month, int(match["day"])).isoformat())
            except ValueError:
                continue
    return found


def spans(text: str, longest: int) -> list[str]:
    """Runs of up to `longest` words, without the punctuation around them; quoted passages whole."""
    found = [match[2] for match in re.finditer(r"(['\"`])(?=\S)(.+?)(?<=\S)\1(?!\w)", text)]
    places = [match.span() for match in re.finditer(r"\S+", text)]
    for first in range(len(places)):
        for last in range(first, min(len(places), first + longest)):
            run = text[places[first][0] : places[last][1]]
            bare = run.strip(_EDGES)
            found += [bare, bare.rstrip("."), re.sub(r"['’]s$", "", bare.rstrip("."))]
            if run[-1:] == ")" and "(" in bare:
                found.append(bare + ")")
    found += re.findall(r"[A-Za-z0-9]+", text)
    return _unique(found)


def names(text: str, longest: int = 4) -> list[str]:
    """Runs of words with a capital, as long as they go: what may be the name of a place or a person."""
    word = r"[A-Z][\w.'’-]*"
    found = re.findall(rf"\b{word}(?:\s{word}){{0,{longest - 1}}}", text)
    return _unique(name.rstrip(".'’") for name in found)


def _unique(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]


def _plain(value: float) -> Number:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def as_integers(values: Sequence[Number]) -> list[int]:
    """Those that are whole."""
    return [int(value) for value in values if float(value).is_integer()]
