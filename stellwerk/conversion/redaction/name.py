"""Rules for names of people: those that something beside them says are names.

They know no names. A name that nothing introduces is for a model to find; see `name_model`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stellwerk.conversion.redaction.span import PERSON, Span

_CAPITAL = "[A-ZÀ-ÖØ-Þ]"
_WORD = rf"(?:(?:{_CAPITAL}\w{{0,20}}-)?{_CAPITAL}\.(?:-{_CAPITAL}\w{{1,30}})?|{_CAPITAL}[\w’'\-]{{1,40}})"
_BETWEEN = r"[ ](?:(?:van|von|vom|zu|zum|der|den|de|del|da|di|la|le|el|al|bin|ben|ter)[ ]){0,3}"
_NAME = rf"{_WORD}(?:{_BETWEEN}{_WORD}){{0,3}}"
_SHORT_NAME = rf"(?:(?:van|von|zu|de|der|den)[ ]){{0,2}}{_WORD}(?:{_BETWEEN}{_WORD}){{0,2}}"
_FULL_NAME = rf"{_WORD}(?:{_BETWEEN}{_WORD}){{1,3}}"
_DEGREES = r"(?:(?:Dr|Prof|Dipl|Ing|Mag|Univ|med|rer|nat|phil|jur|pol|h\.c|MBA)\.?(?:-Ing\.?)?[ ]?){0,4}"
_END = r"(?=[ ]*(?:[,!.;:\n\"]|\\n|$))"
_BREAK = r"[,!.]?[ ]*(?:\n\s*|\\n|,[ ])"

_PATTERNS = tuple(
    (re.compile(pattern), score)
    for pattern, score in (
        # Mrs Hill, Herr Dr. Koch
        (
            rf"(?<!\w)(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Herrn?|Frau|Hr|Fr)\.?[ ]{_DEGREES}(?P<name>{_SHORT_NAME})",
            0.8,
        ),
        # my name is ..., ich heiße ...
        (
            r"(?i:(?<!\w)(?:my (?:full )?name(?: is|'s|’s)|(?:his|her|their|whose) name is|mein(?: voller)? "
            r"name(?: ist| lautet)"
            rf"|ich hei(?:ß|ss)e|i am called|in the name of|on behalf of|im namen von|auf den "
            rf"namen))[ :]{_DEGREES}(?P<name>{_NAME})",
            0.8,
        ),
        (
            rf"(?<!\w)(?:[Tt]his is|I am|I'm|I’m|[Hh]ier ist|[Ii]ch bin|[Ii]t's|[Hh]ier "
            rf"nochmal)[ ]{_DEGREES}(?P<name>{_FULL_NAME})",
            0.6,
        ),
        # name: ..., "first_name": "..."
        (
            r"(?i:(?<![^\W_])(?:(?:first|last|full|given|family|middle|sur|maiden|customer|passenger|user"
            r"|cardholder|contact|vor|nach"
            r"|familien|geburts)[ _\-]?name|name|surname|(?:account|card)[ _\-]?holder|(?:konto"
            r"|karten)?inhaber(?:in)?|patient(?:in)?"
            r"|ansprechpartner(?:in)?|contact person|attn\.?|z\. ?hd\.|unterzeichner|signed(?: by)?|passenger"
            r"|kontakt|contact))"
            rf"[\"']?[ ]{{0,2}}[:=][ ]{{0,2}}[\"']?{_DEGREES}(?P<name>{_NAME})",
            0.7,
        ),
        # Best regards, ...
        (
            r"(?i:(?<!\w)(?:(?:(?:best|kind|warm|many|with kind)[ ](?:regards|wishes)|regards|sincerely(?: "
            r"yours)?|yours (?:sincerely|faithfully|truly)"
            r"|many thanks|thanks(?: a lot| so much| again)?|thank you|cheers|best|mit (?:freundlichen|besten"
            r"|herzlichen) (?:gr(?:ü|ue)(?:ß|ss)en)"
            r"|(?:viele|liebe|beste|herzliche|schöne|freundliche) gr(?:ü|ue)(?:ß|ss)e|(?:vielen|besten"
            r"|herzlichen) dank|danke|mfg|lg|vg|hochachtungsvoll)))"
            rf"{_BREAK}{_DEGREES}(?P<name>{_NAME}){_END}",
            0.7,
        ),
        # Dear ..., / Thank you, ...!
        (
            r"(?<!\w)(?:Dear|Hi|Hello|Hey|Liebe|Lieber|Hallo|Guten Tag|Good (?:morning|afternoon|evening)"
            r"|Thanks|Thank you|Danke)"
            rf"(?:,?[ ])(?P<name>{_SHORT_NAME}){_END}",
            0.7,
        ),
        # ... <somebody@example.org>
        (rf"(?<!\w)(?P<name>{_FULL_NAME})[ ]?(?=<[^<>\s]{{1,80}}@|\(mailto:|<mailto:)", 0.8),
    )
)
_NO_NAME = re.compile(  # as a first word
    r"(?:i|it|that)['’](?:m|s)|a|agent|alle|all|als|american|and|any|assistant|auf|bank|best|bitte|bot|british|can|card|company|corp|customers?"
    r"|damen|danke|das|dear|der|die|ein|eine|english|everybody|everyone|folks|foo|for|french|friends|from|für|german"
    r"|gmbh|good|have|here|herren|hier|how|i|ich|if|in|inc|is|it|ja|kind|kolleg(?:e|en|in|innen)?|kunden?|leute|liebe"
    r"|llc|ltd|madam|mein|mit|my|nach|nein|no|not|of|on|one|our|please|regards|service|sie|sirs?|sorry|support|system"
    r"|team|thanks?|that|the|there|they|this|to|und|unknown|us|user|viele|von|we|welcome|what|when|where|will|wir|with"
    r"|würde|you|your|yours|yes|zusammen"
)
_NO_MORE = re.compile(  # as a last one: of the next sentence, or of a company
    r"a|alle|als|and|auf|bitte|can|danke|das|die|ein|eine|for|für|from|gmbh|have|how|i|ich|if|in|inc|is|it|llc|ltd|mein"
    r"|mit|my|of|on|our|please|regards|sie|thanks?|that|the|they|this|to|und|we|what|when|where|wir|with|you|your|yours"
)
_TITLES = re.compile(r"mr|mrs|ms|miss|mx|dr|prof|professor|herrn?|frau|hr|fr|sir|madam")


def find_name(text: str) -> Iterator[Span]:
    """Names after a salutation, a label or 'my name is', in a signature, before a mail address."""
    for pattern, score in _PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span("name")
            words = text[start:end].split(" ")
            while words and _NO_MORE.fullmatch(_bare(words[-1])):
                words.pop()
            while words and _TITLES.fullmatch(_bare(words[0])):
                start += len(words.pop(0)) + 1
            if words and not _NO_NAME.fullmatch(_bare(words[0])):
                end = start + len(" ".join(words))
                yield Span(start, end - (text[end - 1] in ".'’-" and len(words[-1]) > 2), PERSON, score)


def _bare(word: str) -> str:
    return word.strip(".,!'’-").lower()
