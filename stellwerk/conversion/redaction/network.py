"""Rules for addresses of machines, and for links that let somebody in."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from stellwerk.conversion.redaction.span import IP, URL, Span

_V4 = re.compile(r"(?<![\w.\-])(?:\d{1,3}\.){3}\d{1,3}(?![\w\-]|\.\d)")
_V6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{6,39}(?:\.\d{1,3}){0,3}(?![\w:])")
_VERSION = re.compile(
    r"(?i)(?<![A-Za-z])(?:version|release|v|ver\.?|section|§|clause|abschnitt|kapitel|chapter)[ :=]{0,2}$"
)
_URL = re.compile(r"(?<![A-Za-z0-9+.\-])[A-Za-z][A-Za-z0-9+.\-]{1,20}://[^\s\"'<>\\{}|^`\[\]]++")
_LOGIN = re.compile(r"[^/?#@]{1,200}:[^/?#@]{1,400}@|[^/?#@:]{16,400}@")
_TOKEN = re.compile(
    r"(?i)[?&;#](?:[\w.\-]{0,30}[_.\-])?(?:token|access_?token|key|api_?key|apikey|auth|sig|signature|secret"
    r"|password|passwd"
    r"|pwd|code|session|sessionid|sid|jwt|otp|invite|credential)=[^&#\s]{6,}"
)
_HOOK = re.compile(
    r"(?i)hooks\.slack\.com/|discord(?:app)?\.com/api/webhooks/|/bot\d{6,}:|webhook\.office\.com/"
)


def find_ip(text: str) -> Iterator[Span]:
    """Addresses of IP versions 4 and 6, but for those that are the same on every machine."""
    if "." in text:
        for match in _V4.finditer(text):
            numbers = [int(number) for number in match.group().split(".")]
            before = text[max(0, match.start() - 12) : match.start()]
            small = max(numbers) < 10 and match.group() not in ("8.8.8.8", "1.1.1.1", "9.9.9.9")
            if (
                max(numbers) < 256
                and not small
                and not _VERSION.search(before)
                and _is_somebodys(match.group())
            ):
                yield Span(*match.span(), IP, 0.9)
    if ":" in text:
        for match in _V6.finditer(text):
            found = match.group().rstrip(":") if not match.group().endswith("::") else match.group()
            groups = [group for group in found.split(":") if group]
            if len(groups) >= 3 and any(map(str.isdigit, found)) and _is_somebodys(found):
                yield Span(match.start(), match.start() + len(found), IP, 0.9)


def find_url(text: str) -> Iterator[Span]:
    """Links with a login, a token, a key or a signature in them. Others name no person, and are kept."""
    if "://" not in text:
        return
    for match in _URL.finditer(text):
        found = match.group().rstrip(".,;:!?)")
        rest = found.split("://", 1)[1]
        if _LOGIN.match(rest) or _TOKEN.search(rest) or _HOOK.search(rest):
            yield Span(match.start(), match.start() + len(found), URL)


def _is_somebodys(address: str) -> bool:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (known.is_loopback or known.is_unspecified)
