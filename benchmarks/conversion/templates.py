"""Sentences into which made-up people are put: what a person writes to a company, or a company notes down.

Those of `DEVELOPMENT` were looked at while the rules were written; those of `TEST` were written before the
rules were, and what they missed was looked at once. `HELD_BACK` is what is reported: it was written after the
rules, and measured when they were finished. `{address}` stands over several lines, `{place}` is the same on
one. A name is `introduced` where a salutation, a signature or a label says so, and `bare` otherwise.
"""

from __future__ import annotations

from typing import Final, Literal

Language = Literal["en", "de"]

DEVELOPMENT: Final[dict[Language, tuple[str, ...]]] = {
    "en": (
        "My name is {introduced} and I have not received my card. You can reach me at {mail} or {phone}.",
        "Please refund the 42.50 to {iban}, the account is held by {bare}.",
        "Card {card} was charged twice on 3 May 2024, order 4471-22. Call {phone} if you need more.",
        "Send the new one to {place}. I was born on {birth}.",
        "Dear Ms {introduced},\n\nthank you for your mail of 12/03/2024. We have changed your address "
        "to\n{address}\n\nKind regards",
        "{bare} called about invoice 20241; she wants an answer at {mail} before Friday.",
        "Customer record: name: {introduced}; phone: {phone}; e-mail: {mail}; limit: 5,000; since 2019",
        "Moved from {place} last week and the parcel went to my old flat. {bare} took it in.",
        "Hi, can you check whether {card} is blocked? I paid 19.99 at 10:45.\n\nThanks,\n{introduced}",
        "We met {bare} and {bare} in Q3 2023; both want the figures for 2022 as well ({mail}).",
        "DOB {birth}, IBAN {iban}, tel {phone}.",
        "The transfer of EUR 1,250.00 from {iban} to {iban} has not arrived after 3 days.",
    ),
    "de": (
        "Mein Name ist {introduced} und meine Karte ist nicht angekommen. Erreichbar bin ich unter {phone} "
        "oder {mail}.",
        "Bitte überweisen Sie die 42,50 Euro auf {iban}, Inhaber ist {bare}.",
        "Die Karte {card} wurde am 3. Mai 2024 zweimal belastet, Bestellung 4471-22. Rückruf unter {phone}.",
        "Die neue Karte bitte an {place} schicken. Ich bin am {birth} geboren.",
        "Sehr geehrte Frau {introduced},\n\nvielen Dank für Ihre Mail vom 12.03.2024. Ihre Anschrift lautet "
        "jetzt\n{address}\n\nMit freundlichen Grüßen",
        "{bare} hat wegen Rechnung 20241 angerufen und möchte bis Freitag eine Antwort an {mail}.",
        "Kundendaten: Name: {introduced}; Telefon: {phone}; E-Mail: {mail}; Limit: 5.000; seit 2019",
        "Ich bin letzte Woche aus {place} weggezogen, und das Paket ging noch dorthin. {bare} hat es "
        "angenommen.",
        "Hallo, ist die {card} gesperrt? Ich habe um 10:45 Uhr 19,99 Euro bezahlt.\n\nViele "
        "Grüße\n{introduced}",
        "Wir haben {bare} und {bare} im dritten Quartal 2023 getroffen; beide wollen auch die Zahlen von "
        "2022 ({mail}).",
        "Geburtsdatum {birth}, IBAN {iban}, Tel. {phone}.",
        "Die Überweisung über 1.250,00 EUR von {iban} an {iban} ist nach 3 Tagen nicht da.",
    ),
}

TEST: Final[dict[Language, tuple[str, ...]]] = {
    "en": (
        "hello, it's {bare} again. my number changed to {phone}, please use that from now on",
        "Could you update the delivery address on order 88-10442 to {place}? The old one was {place}.",
        "I paid with {card} and the receipt went to {mail} instead of {mail}.",
        "Account holder: {introduced}\nIBAN: {iban}\nAmount: 310.00\nReference: INV-2024-0093",
        "As agreed with {bare} on 14 June, the deposit goes to {iban}. Questions to {mail}, please.",
        "Patient {bare}, born {birth}, was seen on 2024-02-11; blood pressure 128/84. Letter to:\n{address}",
        "Why was {phone} called three times today? I told Mr {introduced} that I am at work until 17:30.",
        "Two cards are affected: {card} and {card}. Both expire 09/27.",
        "Minutes, item 4: {bare} reports that revenue rose by 12% to $4.3 million; {bare} asks for a "
        "forecast.",
        "Ship 3 boxes to\n{address}\nand leave them with the neighbour, {bare}.",
        "my iban is {iban} and i live at {place}",
        "Fwd: contact\n\n{introduced} <{mail}>\nphone {phone}\n\nBest wishes,\n{introduced}",
        "This is {introduced} speaking, I want to close my account, the one with the card {card}.",
        "Ask {bare} whether her date of birth is {birth}; the form at {mail} says otherwise.",
    ),
    "de": (
        "hallo, hier nochmal {bare}. meine nummer ist jetzt {phone}, bitte nur noch die verwenden",
        "Können Sie die Lieferadresse der Bestellung 88-10442 auf {place} ändern? Die alte war {place}.",
        "Bezahlt habe ich mit {card}, und der Beleg ging an {mail} statt an {mail}.",
        "Kontoinhaber: {introduced}\nIBAN: {iban}\nBetrag: 310,00\nVerwendungszweck: RE-2024-0093",
        "Wie am 14. Juni mit {bare} besprochen, geht die Kaution an {iban}. Rückfragen bitte an {mail}.",
        "Patient {bare}, geboren am {birth}, wurde am 11.02.2024 untersucht; Blutdruck 128/84. Brief "
        "an:\n{address}",
        "Warum wurde heute dreimal bei {phone} angerufen? Ich habe Herrn {introduced} gesagt, dass ich bis "
        "17:30 arbeite.",
        "Es geht um zwei Karten: {card} und {card}. Beide gelten bis 09/27.",
        "Protokoll, Punkt 4: {bare} berichtet, dass der Umsatz um 12 % auf 4,3 Mio. Euro stieg; {bare} "
        "bittet um eine Prognose.",
        "3 Kartons an\n{address}\nund bei der Nachbarin {bare} abgeben.",
        "meine iban ist {iban} und ich wohne in der {place}",
        "WG: Kontakt\n\n{introduced} <{mail}>\nTelefon {phone}\n\nBeste Grüße\n{introduced}",
        "Guten Tag, ich heiße {introduced} und möchte mein Konto kündigen, das mit der Karte {card}.",
        "Fragen Sie {bare}, ob ihr Geburtsdatum der {birth} ist; im Formular von {mail} steht es anders.",
    ),
}

HELD_BACK: Final[dict[Language, tuple[str, ...]]] = {
    "en": (
        "Quick one: {bare} ({phone}) says the standing order to {iban} was never set up. Is that right?",
        "The engineer should come to {place} between 8 and 12 on Tuesday; ring {phone} first.",
        "Please forward the statement for 2023 to {mail} and cc {mail}. Amount due: 1,204.17.",
        "Reg. claim 2024/118-7: the insured, {bare}, d.o.b. {birth}, was hit by a van registered to {bare}.",
        "I typed {card} into the form and got error 402. Then I tried {card} and it worked.",
        "hi there\n\npls send my stuff to\n{address}\n\nthx\n{bare}",
        "{bare} wrote: the meter reads 48213, and my new number is {phone}. Answer to {mail}.",
        "Contract 7781-A. Tenant: {bare}. Landlord: {bare}. Flat at {place}. Rent 980.00 to {iban}.",
        "Dear Mr {introduced},\nyour parcel for {place} is on its way.\nYours sincerely,\n{introduced}",
        "Spoke with {bare} at 16:05. Born {birth}. Wants card {card} replaced, not {card}.",
    ),
    "de": (
        "Kurze Frage: {bare} ({phone}) sagt, der Dauerauftrag an {iban} sei nie eingerichtet worden. Stimmt "
        "das?",
        "Der Techniker soll am Dienstag zwischen 8 und 12 nach {place} kommen; vorher bitte {phone} anrufen.",
        "Bitte den Auszug für 2023 an {mail} und in Kopie an {mail}. Offen sind 1.204,17 Euro.",
        "Schaden 2024/118-7: {bare}, geb. {birth}, wurde von einem Transporter angefahren, der auf {bare} "
        "zugelassen ist.",
        "Ich habe {card} eingegeben, dann kam Fehler 402. Mit {card} ging es.",
        "hallo\n\nbitte alles an\n{address}\n\ndanke\n{bare}",
        "{bare} schrieb: der Zähler steht bei 48213, und meine neue Nummer ist {phone}. Antwort an {mail}.",
        "Vertrag 7781-A. Mieterin: {bare}. Vermieter: {bare}. Wohnung: {place}. Miete 980,00 auf {iban}.",
        "Sehr geehrter Herr {introduced},\nIhr Paket nach {place} ist unterwegs.\nMit freundlichen "
        "Grüßen\n{introduced}",
        "Mit {bare} um 16:05 gesprochen. Geboren am {birth}. Will die Karte {card} ersetzt haben, nicht "
        "{card}.",
    ),
}
