"""The words of the small spoken world, and what each becomes in an answer.

Every spoken word stands here once. Beside it stands what the exact answers need: a synonym
(which is never spoken), the present form, the topic, what happens next, the next place. The
invented language, Marenic, has a made-up word for each content word, drawn from syllables
by hash, so nothing about it can be guessed from English.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from sllm_data.seeding import rng_for

Feeling = Literal["positive", "negative"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verb:
    """One thing done: `bought`."""

    past: str
    present: str
    synonym: str
    topic: str


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _verbs(table: dict[str, str]) -> tuple[Verb, ...]:
    return tuple(
        Verb(past=past, present=present, synonym=synonym, topic=topic)
        for topic, line in table.items()
        for past, present, synonym in (entry.split("/") for entry in line.split())
    )


DEEDS = _verbs(
    {
        "trade": "bought/buy/purchased sold/sell/traded ordered/order/requested",
        "loss": "lost/lose/misplaced dropped/drop/spilled forgot/forget/overlooked",
        "repair": "repaired/repair/fixed cleaned/clean/scrubbed washed/wash/rinsed",
        "art": "painted/paint/coloured drew/draw/sketched carved/carve/shaped",
        "transport": "carried/carry/hauled sent/send/mailed brought/bring/delivered",
        "search": "found/find/discovered counted/count/tallied collected/collect/gathered",
    }
)
"""Verbs with an object."""

STAYS = _verbs(
    {
        "leisure": "rested/rest/relaxed sang/sing/hummed danced/dance/twirled "
        "played/play/frolicked",
        "work": "worked/work/laboured studied/study/learned",
        "travel": "waited/wait/lingered arrived/arrive/landed",
    }
)
"""Verbs without an object."""

NAMES = _words(
    "anna ben clara david emma felix grace henry iris jack kate leo maria noah olivia paul"
)
ROLES = _words("teacher doctor farmer baker sailor neighbour driver painter")
NUMBERS = _words("two three four five six seven eight nine ten twelve twenty")
OBJECTS = _words(
    "apples books letters keys lamps chairs flowers tickets boxes bottles maps coins cups hats "
    "shoes bells clocks tables baskets knives plates blankets candles stamps"
)

QUALITIES = {
    "red": "crimson",
    "green": "emerald",
    "blue": "azure",
    "white": "pale",
    "black": "dark",
    "yellow": "golden",
    "small": "tiny",
    "large": "huge",
    "old": "ancient",
    "new": "modern",
    "heavy": "weighty",
    "round": "circular",
    "broken": "damaged",
    "cheap": "inexpensive",
}
FEELINGS: dict[str, tuple[Feeling, str]] = {
    "happy": ("positive", "joyful"),
    "glad": ("positive", "pleased"),
    "proud": ("positive", "honoured"),
    "calm": ("positive", "peaceful"),
    "cheerful": ("positive", "merry"),
    "hopeful": ("positive", "optimistic"),
    "sad": ("negative", "unhappy"),
    "angry": ("negative", "furious"),
    "afraid": ("negative", "scared"),
    "tired": ("negative", "exhausted"),
    "lonely": ("negative", "isolated"),
    "worried": ("negative", "anxious"),
}
PLACES = {
    "market": "at",
    "station": "at",
    "library": "in",
    "garden": "in",
    "kitchen": "in",
    "harbour": "at",
    "school": "at",
    "museum": "in",
    "hospital": "at",
    "office": "in",
    "park": "in",
    "bakery": "at",
    "church": "in",
    "theatre": "at",
    "beach": "on",
    "farm": "on",
    "castle": "in",
    "bridge": "on",
}
"""Each place with its preposition."""

TIMES = (
    "on monday",
    "on tuesday",
    "on wednesday",
    "on thursday",
    "on friday",
    "on saturday",
    "on sunday",
    "yesterday",
    "this morning",
    "last night",
    "at noon",
    "this evening",
)

FUNCTION_WORDS = _words("the and was felt then where when what did do you i is it how who for")
"""What holds sentences, stories and dialogues together."""

_ONSETS = _words("b d f g k l m n p r s t v z br dr kl pr st tr")
_VOWELS = _words("a e i o u")
_CODAS = _words("n l r s k m")


def spoken_words() -> frozenset[str]:
    """Returns every word that sentences, stories and dialogues are made of."""
    verbs = (*DEEDS, *STAYS)
    return frozenset(
        [
            *(form for verb in verbs for form in (verb.past, verb.present)),
            *NAMES,
            *ROLES,
            *NUMBERS,
            *OBJECTS,
            *QUALITIES,
            *FEELINGS,
            *PLACES,
            *PLACES.values(),
            *(word for time in TIMES for word in time.split()),
            *FUNCTION_WORDS,
        ]
    )


def next_place(place: str) -> str:
    """Returns where things go on: the place after this one, in a circle."""
    return _after(tuple(PLACES), place)


def next_deed(past: str) -> str:
    """Returns what is done after this, in a circle through all topics."""
    return _after(tuple(verb.past for verb in DEEDS), past)


def _after(circle: tuple[str, ...], word: str) -> str:
    return circle[(circle.index(word) + 1) % len(circle)]


@cache
def marenic() -> dict[str, str]:
    """Returns the Marenic word of each English content word; all of them differ."""
    verbs = [verb.past for verb in (*DEEDS, *STAYS)]
    times = [time.split()[-1] for time in TIMES]
    english = [*NAMES, *ROLES, *verbs, *NUMBERS, *OBJECTS, *QUALITIES, *FEELINGS, *PLACES, *times]
    made: dict[str, str] = {}
    for word in english:
        rng = rng_for(0, "testbed-marenic", word)
        while True:
            name = "".join(
                (rng.choice(_ONSETS), rng.choice(_VOWELS), rng.choice(_ONSETS))
            ) + "".join((rng.choice(_VOWELS), rng.choice(_CODAS)))
            if name not in made.values() and name not in english:
                break
        made[word] = name
    return made
