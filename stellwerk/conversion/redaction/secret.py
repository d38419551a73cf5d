"""Rules for what opens a door: keys, tokens, passwords."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from stellwerk.conversion.redaction.span import SECRET, Span

_PREFIXED = re.compile(
    r"(?<![A-Za-z0-9_\-])(?:"
    r"sk-(?:[A-Za-z]{2,10}-)?[A-Za-z0-9_\-]{16,200}"
    r"|[rsp]k_(?:live|test)_[A-Za-z0-9]{10,200}|whsec_[A-Za-z0-9+/=]{16,200}"
    r"|gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{20,255}|glpat-[A-Za-z0-9_\-]{16,255}"
    r"|xox[abeoprs]-[A-Za-z0-9\-]{10,255}|xapp-[A-Za-z0-9\-]{10,255}"
    r"|(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}|AIza[A-Za-z0-9_\-]{30,60}|ya29\.[A-Za-z0-9_\-]{20,255}"
    r"|hf_[A-Za-z0-9]{20,100}|npm_[A-Za-z0-9]{20,100}|pypi-[A-Za-z0-9_\-]{20,255}|do[opr]_v1_[a-f0-9]{32,100}"
    r"|SG\.[A-Za-z0-9_\-]{10,100}\.[A-Za-z0-9_\-]{10,100}|lsv2_[a-z]{2}_[A-Za-z0-9_]{20,100}"
    r"|gsk_[A-Za-z0-9]{20,100}"
    r"|eyJ[A-Za-z0-9_\-]{8,2000}\.eyJ[A-Za-z0-9_\-]{8,4000}\.[A-Za-z0-9_\-]{8,1000}"
    r")(?![A-Za-z0-9_])"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9 ]{1,30} )?PRIVATE KEY(?: BLOCK)?-----[^-]{1,20000}-----END (?:[A-Z0-9 ]{1,30} "
    r")?PRIVATE KEY(?: BLOCK)?-----"
)
_SAID = re.compile(
    r"(?i:(?<![^\W_])(?:pass(?:word|wd|phrase|wort|code)|kennwort|pwd|secret(?:[ _\-]?key)?"
    r"|client[ _\-]?secret"
    r"|api[ _\-]?(?:key|token|schlüssel)|access[ _\-]?(?:key|token)|auth[ _\-]?token|token|bearer"
    r"|authorization|zugangsdaten)"
    r"[\"']?(?:[ ]?[:=]|[ ]is|[ ]ist|[ ]lautet|[ ]was|[ ]war)?[ ]?(?:bearer |basic )?)"
    r"[\"']?(?P<secret>[^\s\"'<>,;\\(){}\[\]]{6,500})"
)
_PIN = re.compile(
    r"(?<![^\W_])(?:PIN|TAN|CVV|CVC|OTP|pin|cvv|cvc|Pin)(?:[ \-]?(?:code|Code|number|Nummer))?(?:\s?[:=]"
    r"|\s(?:is|ist|lautet|was|war))\s?(?P<secret>\d{3,8})(?!\d)"
)
_LONG = re.compile(r"(?<![A-Za-z0-9+/_\-.])[A-Za-z0-9+/_\-]{24,512}={0,2}(?![A-Za-z0-9+/_\-=])")
_HINT = re.compile(r"(?i)pass|kennwort|pwd|secret|api|token|bearer|auth|access|zugang")
_BITS = 4.0  # of a character; words joined by signs have less, or no digits among letters of both cases


def find_secret(text: str) -> Iterator[Span]:
    """Keys with a known beginning, private keys, what is called a password, and long random strings."""
    for match in _PREFIXED.finditer(text):
        yield Span(*match.span(), SECRET)
    if "-----BEGIN" in text:
        for match in _PRIVATE_KEY.finditer(text):
            yield Span(*match.span(), SECRET)
    if _HINT.search(text):
        for match in _SAID.finditer(text):
            secret = match.group("secret").rstrip(".!?:")
            if len(secret) >= 6 and _looks_secret(secret):
                yield Span(match.start("secret"), match.start("secret") + len(secret), SECRET, 0.8)
    for match in _PIN.finditer(text):
        yield Span(*match.span("secret"), SECRET, 0.8)
    for match in _LONG.finditer(text):
        if _is_random(match.group()):
            yield Span(*match.span(), SECRET, 0.6)


def _looks_secret(word: str) -> bool:
    """Whether it is no word of a sentence: letters beside digits, or signs that words do not have."""
    digits = sum(map(str.isdigit, word))
    letters = sum(map(str.isalpha, word))
    return (
        bool(digits and letters) or any(sign in word for sign in "!$%^&*#+~") or (digits > 7 and not letters)
    )


def _is_random(word: str) -> bool:
    if not (any(map(str.islower, word)) and any(map(str.isupper, word)) and sum(map(str.isdigit, word)) > 2):
        return False
    # Paths and names of files in many words, and ids in hexadecimal digits with hyphens.
    if word.count("/") > 3 or word.count("-") > 3 or word.count("_") > 3:
        return False
    counts = Counter(word)
    return -sum(n / len(word) * math.log2(n / len(word)) for n in counts.values()) >= _BITS
