"""A small grammar that says thousands of distinct sensible sentences, English and German.

Its sentences hold what the tasks ask for: wishes (intent), praise and complaint
(sentiment), who does what where (keywords, summary), so that a demo corpus has something
to be asked about. The text is this project's own.
"""

import math
from string import Formatter

from sllm_data.seeding import rng_for

_ENGLISH_PATTERNS = (
    "{person} {moved} {thing} {goal} {past}.",
    "{person} told me that {news}.",
    "could you {wish} {soon}, please?",
    "please remind me to {wish} {soon}.",
    "{served} was {praise}!",
    "{served} was {praise}, and {person} {pleased}.",
    "{served} was {blame}, and {person} {annoyed}.",
    "my {relative} has lived {place} for {number} years.",
    "if it rains {soon}, we'll {plan} instead.",
    "the train to {city} leaves at {hour} from platform {number}.",
    "how long does it take to {wish}?",
    "{person} found {thing} {place} {past}.",
    "I don't know why {person} never {habit}.",
)
_ENGLISH = {
    "person": (
        "the old farmer",
        "my neighbour",
        "the young doctor",
        "our teacher",
        "the baker's daughter",
        "a tired traveller",
        "the new manager",
        "her brother",
        "the bus driver",
        "a friendly stranger",
    ),
    "moved": ("carried", "brought", "sent", "took", "returned"),
    "thing": (
        "seven green baskets",
        "a broken clock",
        "the heavy suitcase",
        "three letters",
        "an empty bottle",
        "the wooden ladder",
        "ten red apples",
        "two silver keys",
    ),
    "goal": ("to the market", "to the harbour", "to the library", "to the office"),
    "past": ("yesterday", "last winter", "before sunrise", "on Tuesday evening"),
    "soon": ("tomorrow morning", "on Friday", "after lunch", "tonight", "next week"),
    "place": (
        "near the river",
        "in a quiet village",
        "behind the church",
        "on the second floor",
        "by the sea",
        "next to the school",
    ),
    "news": (
        "the bridge was closed again",
        "the meeting starts an hour later",
        "the museum is free on Sundays",
        "nobody had watered the plants",
        "the price of bread has doubled",
        "the concert was cancelled",
    ),
    "wish": (
        "turn off the kitchen lamp",
        "call the dentist",
        "book a table for four",
        "water the roses",
        "order more printer paper",
        "send the invoice to Anna",
        "pick up the parcel",
        "close the bedroom window",
    ),
    "served": ("the soup", "the hotel room", "the service", "the second chapter", "the tour"),
    "praise": ("wonderful", "better than expected", "simply delicious", "full of surprises"),
    "blame": ("a disappointment", "far too expensive", "cold and dull", "worse than before"),
    "pleased": ("smiled all evening", "will come back", "thanked everyone", "felt at home"),
    "annoyed": ("wanted a refund", "left early", "wrote a complaint", "was angry"),
    "relative": ("aunt", "grandfather", "cousin", "older sister", "uncle"),
    "number": ("three", "five", "seven", "eleven", "twenty"),
    "plan": ("visit the museum", "bake a cake", "stay at home", "watch an old film"),
    "city": ("Vienna", "Bristol", "Lisbon", "Chicago", "Dublin"),
    "hour": ("half past six", "nine o'clock", "noon", "a quarter to eight"),
    "habit": ("answers the telephone", "drinks coffee", "locks the door", "takes the stairs"),
}
_GERMAN_PATTERNS = (
    "{person} hat {past} {thing} {goal} gebracht.",
    "{person} hat mir erzählt, dass {news}.",
    "könntest du bitte {soon} {wish}?",
    "erinnere mich bitte daran, {soon} {chore}.",
    "{served} war {praise}!",
    "{served} war {praise}, und {person} kommt gern wieder.",
    "{served} war {blame}, und {person} hat sich beschwert.",
    "{relative} wohnt seit {number} Jahren {place}.",
    "wenn es {soon} regnet, {plan}.",
    "der Zug nach {city} fährt um {hour} von Gleis {number}.",
    "{person} hat {past} {thing} {place} gefunden.",
)
_GERMAN = {
    "person": (
        "der alte Bauer",
        "meine Nachbarin",
        "die junge Ärztin",
        "unser Lehrer",
        "der Busfahrer",
        "ihre Schwester",
        "ein müder Reisender",
        "die neue Chefin",
    ),
    "past": ("gestern", "letzten Winter", "am Dienstag", "vorgestern"),
    "soon": ("morgen", "am Freitag", "heute Abend", "nach dem Essen"),
    "thing": (
        "sieben grüne Körbe",
        "eine kaputte Uhr",
        "den schweren Koffer",
        "drei Briefe",
        "eine leere Flasche",
        "zwei silberne Schlüssel",
    ),
    "goal": ("zum Markt", "an den Hafen", "in die Bücherei", "ins Büro"),
    "place": (
        "am Fluss",
        "in einem ruhigen Dorf",
        "hinter der Kirche",
        "im zweiten Stock",
        "neben der Schule",
    ),
    "news": (
        "die Brücke wieder gesperrt ist",
        "die Sitzung später beginnt",
        "niemand die Blumen gegossen hat",
        "das Brot teurer geworden ist",
        "das Konzert ausfällt",
    ),
    "wish": (
        "das Licht in der Küche ausmachen",
        "den Zahnarzt anrufen",
        "einen Tisch für vier bestellen",
        "die Rosen gießen",
        "das Paket abholen",
    ),
    "chore": (
        "das Fenster zu schließen",
        "die Rechnung zu schicken",
        "den Kuchen zu backen",
        "die Fahrkarten zu kaufen",
    ),
    "served": ("die Suppe", "das Zimmer", "die Führung", "das zweite Kapitel"),
    "praise": ("wunderbar", "besser als erwartet", "einfach köstlich"),
    "blame": ("eine Enttäuschung", "viel zu teuer", "kalt und langweilig"),
    "relative": ("meine Tante", "mein Großvater", "seine Cousine", "ihr Onkel"),
    "number": ("drei", "fünf", "sieben", "elf", "zwanzig"),
    "plan": ("lesen wir lieber ein Buch", "bleiben wir zu Hause", "backen wir einen Kuchen"),
    "city": ("Wien", "Hamburg", "Basel", "Leipzig"),
    "hour": ("halb sieben", "neun Uhr", "zwölf Uhr", "Viertel vor acht"),
}
_GRAMMARS = {"en": (_ENGLISH_PATTERNS, _ENGLISH), "de": (_GERMAN_PATTERNS, _GERMAN)}

LANGUAGES = tuple(_GRAMMARS)
"""The languages that the grammar speaks."""


def num_sentences(language: str) -> int:
    """Returns how many distinct sentences a language has.

    Raises:
        ValueError: The grammar does not speak that language.
    """
    patterns, slots = _grammar(language)
    return sum(math.prod(len(slots[name]) for name in _names(pattern)) for pattern in patterns)


def sentences(language: str, count: int, *, seed: int) -> list[str]:
    """Draws distinct sentences, cased and punctuated, of 4 to 14 words each.

    The first n of a longer draw are the draw of n.

    Raises:
        ValueError: The language is unknown, or it has fewer than twice `count` sentences.
    """
    patterns, slots = _grammar(language)
    if 2 * count > num_sentences(language):
        raise ValueError(
            f"count must be at most {num_sentences(language) // 2} for {language}, got {count}"
        )
    rng = rng_for(seed, "testbed-sentences", language)
    drawn: dict[str, None] = {}
    while len(drawn) < count:
        pattern = rng.choice(patterns)
        text = pattern.format_map({name: rng.choice(slots[name]) for name in _names(pattern)})
        drawn[text[0].upper() + text[1:]] = None
    return list(drawn)


def _grammar(language: str) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    if language not in _GRAMMARS:
        raise ValueError(f"language must be one of {', '.join(LANGUAGES)}, got {language!r}")
    return _GRAMMARS[language]


def _names(pattern: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(pattern) if name]
