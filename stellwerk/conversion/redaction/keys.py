"""Keys of JSON that say what their value is, whatever it looks like: `"last_name": "Li"`."""

from __future__ import annotations

import re
from functools import lru_cache

from stellwerk.conversion.redaction.span import ADDRESS, BIRTH_DATE, ID_NUMBER, PERSON, PHONE, SECRET

_KINDS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (
            r"(?:first|last|full|given|family|middle|maiden|customer|passenger|cardholder|contact|holder"
            r"|patient|employee|sender"
            r"|recipient|user|owner)_?name|surname|vorname|(?:nach|familien|geburts)name|(?:konto)?inhaber"
            r"|account_?holder",
            PERSON,
        ),
        (
            r"(?:[a-z]+_)?(?:tele)?(?:phone|telefon|mobile|handy|fax|whatsapp)(?:_?(?:number|no|nummer|nr))?",
            PHONE,
        ),
        (r"dob|date_of_birth|birth_?(?:date|day)|geburts(?:datum|tag)", BIRTH_DATE),
        (
            r"(?:street|address|stra(?:ss|ß)e|anschrift|adresse)(?:_?(?:address|line|name))?_?\d?"
            r"|(?:[a-z]+_)?zip(?:_?code)?"
            r"|postal_?code|post_?code|plz|postleitzahl|house_?(?:number|no)|hausnummer",
            ADDRESS,
        ),
        (
            r"pass(?:word|wd|phrase|code|wort)|pwd|kennwort|(?:client_?)?secret(?:_?key)?"
            r"|(?:[a-z]+_)?api_?(?:key|token)"
            r"|(?:access|auth|refresh|bearer|session|id)_?token|(?:secret_)?access_?key|token|authorization"
            r"|pin|cvv|cvc|otp|tan",
            SECRET,
        ),
        (
            r"ssn|social_security_(?:number|no)|(?:tax|national|passport|id_card"
            r"|driver_?s?_licen[cs]e)_?(?:id|number|no)"
            r"|steuer_?(?:id|nummer)|ausweis_?nummer|sozialversicherungs_?nummer|nhs_number"
            r"|medical_record_number",
            ID_NUMBER,
        ),
    )
)
_LEAST = {PHONE: r"(?:\D*\d){6}", BIRTH_DATE: r"\D*\d", ADDRESS: r"(?!.*(?:://|@)).*\w", SECRET: r"\S{3}"}
_NOTHING = frozenset(("none", "null", "unknown", "n/a", "true", "false", "yes", "no"))


def kind_under(key: str, text: str) -> str | None:
    """What the whole text is, as the key above it says; None where that says nothing."""
    kind = _kind(key) if key else None
    if kind is None or text.strip().lower() in _NOTHING or not any(map(str.isalnum, text)):
        return None
    if kind == SECRET and key.lower() == "token" and len(text) < 8:  # a word that was counted
        return None
    return kind if re.match(_LEAST.get(kind, r"."), text, re.DOTALL) else None


@lru_cache(maxsize=4096)
def _kind(key: str) -> str | None:
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key[:60]).lower().replace("-", "_").replace(" ", "_")
    return next((kind for pattern, kind in _KINDS if pattern.fullmatch(plain)), None)
