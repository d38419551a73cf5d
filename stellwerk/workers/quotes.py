"""Whether a quote, a word or a number really occurs in a source.

Text is compared token by token, so that a match never begins or ends inside a word or a number. What
layout adds is left out (whitespace, `|`, markdown marks) and case and typography are folded; a word or
a digit that differs is a difference. One pass over the source, memory in proportion to the quote only.
"""

import re
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
      (?P<layout> [\s|`\\\u200b\ufeff]++
        | :?-{3,}+:?                              # the rule under a markdown table's header
        | ^[ ]{0,3}(?:\#{1,6}(?=\s) | >)
        | (?<![^\W_]) [*_~]++ | [*_~]++ (?![^\W_]) )  # emphasis, but not the * of 5*3
    | (?: (?<![\w.])\. )? [0-9]++ (?: [.,][0-9]++ )*+ [^\W_]*+
    | [^\W_]++
    | \.\.\.
    | .
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_FOLDED = (
    dict.fromkeys("‐‑‒–—―−", "-") | dict.fromkeys("‘’‚‛′", "'") | dict.fromkeys("“”„‟«»″", '"') | {"...": "…"}
)
_TRIMMED = frozenset(".,;:…\"'")

_AMOUNT = re.compile(
    r"""
    (?P<open> \(\s* )?
    (?P<sign> (?<![\w)%]) [-−–] )?
    (?: [$€£¥]\s*+ )?
    (?P<inner> \(\s* )?
    (?P<minus> (?<=[$€£¥]) [-−–] )?
    (?<!\w) (?<!\d[.,])
    (?P<digits> (?: [0-9]{1,3}+ (?: ,[0-9]{3} )++ | [0-9]++ ) (?: \.[0-9]++ )? | \.[0-9]++ )
    (?! [.,]?[0-9] ) (?! (?! (?: m | mm | mn | bn | b | k | x | pp | bps | [mb]illion ) \b ) [^\W\d] )
    (?P<percent> \s*+% )?
    (?P<close> \s*\) (?: (?P<after>\s*+%) )? )?
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Span(NamedTuple):
    """Where a match lies: `source[start:end]`."""

    start: int
    end: int


class Number(NamedTuple):
    """A number in a text; `text[start:end]` includes its sign, currency, brackets and percent sign.

    The value of a percentage is the figure as written (12.5 for 12.5%), and that of a number alone in
    brackets is negative, as accountants write it; `bracketed` tells, since (1) may also be a footnote.
    """

    value: Decimal
    start: int
    end: int
    bracketed: bool
    percent: bool


def find_quote(quote: str, source: str) -> Span | None:
    """Find the first place where the source says what the quote says.

    Whitespace, case, typographic quotes and dashes, table separators, markdown, and punctuation at the
    quote's ends do not count. Words and digits do: the quote '5' is not in '15' nor in '5.2'.

    Returns:
        Offsets into the source as passed, or None where it is not there or the quote has no words.
    """
    wanted = _trimmed([token for token, _, _ in _tokens(quote)])
    if not wanted:
        return None
    fallback = _fallbacks(wanted)
    starts: deque[int] = deque(maxlen=len(wanted))
    matched = 0
    # Knuth, Morris and Pratt 1977 over tokens: linear however often a long quote almost matches.
    for token, start, end in _tokens(source):
        starts.append(start)
        while matched and wanted[matched] != token:
            matched = fallback[matched - 1]
        if wanted[matched] == token:
            matched += 1
        if matched == len(wanted):
            return Span(starts[0], end)
    return None


def mentions(value: str, text: str) -> bool:
    """Tell whether a text contains a number or words, as whole tokens.

    A value that is one number is compared as a number, without currency and percent sign: '$1,234' is
    in 'sold 1234'. Without a sign it matches either sign; a negative one, -12 or (12), only -12 or (12).
    Any other value is looked for with `find_quote`.
    """
    stripped = value.strip()
    found = numbers(stripped)
    if len(found) != 1 or (found[0].start, found[0].end) != (0, len(stripped)):
        return find_quote(value, text) is not None
    wanted = found[0].value
    return any(
        number.value == wanted or (wanted >= 0 and number.value.copy_abs() == wanted)
        for number in numbers(text)
    )


def numbers(text: str) -> list[Number]:
    """List the numbers of a text, from left to right.

    Digits inside a word (Q4, 3rd), and runs that are no number (1.2.3, 1,23), are left out.
    """
    found = []
    for match in _AMOUNT.finditer(text):
        start, end = match.span()
        opened = match["open"] or match["inner"]
        bracketed = bool(opened and match["close"])
        if match["open"] and (match["inner"] or not match["close"]):
            start += len(match["open"])
        if match["close"] and not opened:
            end = match.start("close")
        percent = bool(match["percent"] or (bracketed and match["after"]))
        value = Decimal(match["digits"].replace(",", ""))
        if bracketed or match["sign"] or match["minus"]:
            value = value.copy_negate()
        found.append(Number(value, start, end, bracketed, percent))
    return found


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _TOKEN.finditer(text):
        if match.lastgroup is None:
            token = match[0]
            yield _FOLDED.get(token) or token.casefold(), match.start(), match.end()


def _trimmed(tokens: list[str]) -> list[str]:
    start, end = 0, len(tokens)
    while start < end and tokens[start] in _TRIMMED:
        start += 1
    while start < end and tokens[end - 1] in _TRIMMED:
        end -= 1
    return tokens[start:end]


def _fallbacks(tokens: list[str]) -> list[int]:
    lengths, length = [0] * len(tokens), 0
    for index in range(1, len(tokens)):
        while length and tokens[length] != tokens[index]:
            length = lengths[length - 1]
        if tokens[length] == tokens[index]:
            length += 1
        lengths[index] = length
    return lengths
