"""Sentences, stories and dialogues of the small spoken world, drawn from its words.

An *event* is who did what to which things, where, when, and how it felt; a sentence says one
event, a story two to four of the same person. Both are lower case without punctuation, as
speech is. The meaning stays beside the words, so that every task has one exact answer.

    anna sold three red lamps at the market on monday
    anna sold three red lamps then anna waited at the station and felt tired

Texts fall into two disjoint halves by a hash of their words: `train` for whoever learns the
world, `test` for whoever is examined.
"""

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from sllm_data.seeding import rng_for, uniform
from sllm_data.testbed.lexicon import (
    DEEDS,
    FEELINGS,
    NAMES,
    NUMBERS,
    OBJECTS,
    PLACES,
    QUALITIES,
    ROLES,
    STAYS,
    TIMES,
    Verb,
)

Half = Literal["train", "test"]
TEST_SHARE = 0.1
"""Share of all texts that are in the half `test`."""
MAX_SENTENCES = 4
"""Events in the longest story."""

_MIN_WORDS, _MAX_WORDS = 4, 12
_DEED_SHARE = 0.7
_SAID = 0.55  # how often each thing that may be left out is said
_NAMED = 0.7  # how often a person has a name and not a role


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened; what is None is not said."""

    who: str
    """`anna`, or `the baker`."""
    verb: Verb
    number: str | None = None
    quality: str | None = None
    things: str | None = None
    """None where the verb takes no object."""
    place: str | None = None
    time: str | None = None
    feeling: str | None = None

    @property
    def object_phrase(self) -> str:
        """`three red lamps`, `the lamps`; empty where there is no object."""
        if self.things is None:
            return ""
        return " ".join(filter(None, (self.number or "the", self.quality, self.things)))

    @property
    def place_phrase(self) -> str:
        """`at the market`; empty where no place is said."""
        return f"{PLACES[self.place]} the {self.place}" if self.place else ""

    @property
    def text(self) -> str:
        """The event as a sentence of 4 to 12 words."""
        feeling = f"and felt {self.feeling}" if self.feeling else ""
        parts = (
            self.who,
            self.verb.past,
            self.object_phrase,
            self.place_phrase,
            self.time,
            feeling,
        )
        return " ".join(filter(None, parts))


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What one person did, event after event; a sentence is a story of one event."""

    events: tuple[Event, ...]

    @property
    def who(self) -> str:
        """The person it is about."""
        return self.events[0].who

    @property
    def text(self) -> str:
        """All events as one utterance."""
        return " then ".join(event.text for event in self.events)


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What one of two speakers says."""

    speaker: Literal[0, 1]
    text: str


def half_of(text: str) -> Half:
    """Tells which half of the world a text is in."""
    return "test" if uniform(0, "testbed-half", text) < TEST_SHARE else "train"


def most_stories(half: Half) -> int:
    """Returns how many distinct stories of a half may be drawn: a tenth of those there are."""
    share = TEST_SHARE if half == "test" else 1 - TEST_SHARE
    return int(num_sentences() * share) // 10


def stories(
    count: int, *, seed: int, half: Half = "train", num_events: int | None = None
) -> list[Story]:
    """Draws distinct stories of one half; the first n of a longer draw are the draw of n.

    Args:
        count: How many.
        seed: Of the draw.
        half: Texts of the other half are left out.
        num_events: Sentences in each, 1 to 4; None mixes them, single sentences half the time.

    Raises:
        ValueError: The world has fewer than ten times as many such texts, or `num_events` is
            out of range.
    """
    if num_events is not None and not 1 <= num_events <= MAX_SENTENCES:
        raise ValueError(f"num_events must be 1 to {MAX_SENTENCES}, got {num_events}")
    if count > most_stories(half):
        raise ValueError(
            f"count must be at most {most_stories(half):,} for the half {half}, got {count:,}: "
            "the world has no more distinct sentences to choose from"
        )
    drawn: dict[str, Story] = {}
    told = endless_stories(seed=seed, half=half, num_events=num_events)
    while len(drawn) < count:
        story = next(told)
        drawn.setdefault(story.text, story)
    return list(drawn.values())


def endless_stories(
    *, seed: int, half: Half = "train", num_events: int | None = None
) -> Iterator[Story]:
    """Yields stories of one half without end; now and then one comes again.

    Args:
        seed: Of the draw.
        half: Texts of the other half are left out.
        num_events: Sentences in each, 1 to 4; None mixes them, single sentences half the time.
    """
    return (story for story in _endless(seed, num_events) if half_of(story.text) == half)


def dialogue(*, seed: int, number: int) -> tuple[Turn, ...]:
    """Draws one dialogue of two to six turns: one asks the other about what happened.

    Args:
        seed: Of the draw.
        number: Which dialogue of that draw.
    """
    rng = rng_for(seed, "testbed-dialogue", number)
    while True:
        event = _event(rng, who="i")
        if event.things and event.place and event.time:
            break
    things = f"the {event.things}"
    asked = [f"{rng.choice(NAMES)} what did you do", f"{event.who} {event.verb.past} {things}"]
    more = [
        (f"where did you {event.verb.present} {things}", f"it was {event.place_phrase}"),
        (f"when did you {event.verb.present} {things}", f"it was {event.time}"),
        ("how was it for you", f"i felt {event.feeling or rng.choice(list(FEELINGS))}"),
    ]
    for question, answer in rng.sample(more, rng.randint(0, 2)):
        asked += [question, answer]
    return tuple(Turn(speaker=index % 2, text=text) for index, text in enumerate(asked))  # type: ignore[arg-type] # 0 or 1


def num_sentences() -> int:
    """Returns how many distinct sentences of one event there are, at least.

    Counted are those with an object, a number and a place, which alone are millions.
    """
    people = len(NAMES) + len(ROLES)
    parts = (people, len(DEEDS), len(NUMBERS), len(OBJECTS), len(PLACES), len(TIMES))
    return math.prod(parts)


def _endless(seed: int, num_events: int | None) -> Iterator[Story]:
    number = 0
    while True:
        rng = rng_for(seed, "testbed-story", number)
        number += 1
        size = num_events or rng.choice((1, 1, 1, 2, 3, MAX_SENTENCES))
        who = rng.choice(NAMES) if rng.random() < _NAMED else f"the {rng.choice(ROLES)}"
        yield Story(events=tuple(_event(rng, who=who) for _ in range(size)))


def _event(rng: random.Random, *, who: str) -> Event:
    while True:
        event = _drawn(rng, who=who)
        if _MIN_WORDS <= len(event.text.split()) <= _MAX_WORDS:
            return event


def _drawn(rng: random.Random, *, who: str) -> Event:
    does = rng.random() < _DEED_SHARE

    def perhaps(words: Iterable[str], *, only: bool = True) -> str | None:
        word = rng.choice(tuple(words))
        return word if rng.random() < _SAID and only else None

    return Event(
        who=who,
        verb=rng.choice(DEEDS if does else STAYS),
        number=perhaps(NUMBERS, only=does),
        quality=perhaps(QUALITIES, only=does),
        things=rng.choice(OBJECTS) if does else None,
        place=perhaps(PLACES),
        time=perhaps(TIMES),
        feeling=perhaps(FEELINGS),
    )
