"""The tasks of the small spoken world: each a function from a story to its one exact answer.

They are chosen so that speech carries them (labels and lookups of words, not counting or
reversing). Their instructions are files like all others: `instruction_pools/` holds a pool
`<task>.en-testbed.yaml` for each of TASKS.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from sllm_data.testbed.events import Event, Story
from sllm_data.testbed.lexicon import FEELINGS, QUALITIES, marenic, next_deed, next_place

NOT_SAID = "not said"
"""The answer to a question that the text does not answer."""

_OPPOSITE = {
    "positive": "becomes negative",
    "negative": "becomes positive",
    "neutral": "stays neutral",
}


def transcription(story: Story) -> str:
    """What was said, word by word."""
    return story.text


def repetition(story: Story) -> str:
    """The same in synonyms: `anna traded three crimson lamps and felt joyful`."""
    return " then ".join(_reworded(event).text for event in story.events)


def keywords(story: Story) -> str:
    """Things or doings and place of each event, then the person: `lamps, market, wait, anna`."""
    named = [(event.things or event.verb.present, event.place) for event in story.events]
    words = (word for pair in named for word in pair if word)
    return ", ".join(dict.fromkeys((*words, _bare(story.who))))


def sentiment(story: Story) -> str:
    """By the last feeling that is named: positive, negative or neutral."""
    feelings = [FEELINGS[event.feeling][0] for event in story.events if event.feeling]
    return feelings[-1] if feelings else "neutral"


def topic(story: Story) -> str:
    """Of the first event: trade, loss, repair, art, transport, search, leisure, work, travel."""
    return story.events[0].verb.topic


def translation(story: Story) -> str:
    """Into Marenic: time, place, things before their quality and number, person, verb, feeling."""
    return ", ".join(_in_marenic(event) for event in story.events)


def continuation(story: Story) -> str:
    """What happens next, by rule: the next deed at the next place, or on the way to it."""
    last = story.events[-1]
    if last.things is None:
        return f"{last.who} went {f'to the {next_place(last.place)}' if last.place else 'home'}"
    place = next_place(last.place) if last.place else None
    return Event(
        who=last.who,
        verb=replace(last.verb, past=next_deed(last.verb.past)),
        things=last.things,
        place=place,
    ).text


def summary(story: Story) -> str:
    """Person and doings without the rest: `about anna: sold lamps, waited`."""
    doings = (_words(event.verb.past, event.things) for event in story.events)
    return f"about {_bare(story.who)}: {', '.join(doings)}"


def where(story: Story) -> str:
    """The first place that is named: `at the market`."""
    return _first(event.place_phrase for event in story.events)


def when(story: Story) -> str:
    """The first time that is named: `on monday`."""
    return _first(event.time for event in story.events)


def verification(story: Story) -> str:
    """Whether a number is named: yes or no."""
    return "yes" if any(event.number for event in story.events) else "no"


def politeness(story: Story) -> str:
    """The first event as a polite request to its person."""
    event = story.events[0]
    wish = _words(event.verb.present, event.object_phrase, event.place_phrase, event.time)
    return f"dear {_bare(event.who)}, could you please {wish}? thank you"


def who(story: Story) -> str:
    """The person it is about: `anna`, `the baker`."""
    return story.who


def what(story: Story) -> str:
    """The first things that are named: `lamps`."""
    return _first(event.things for event in story.events)


def opposite(story: Story) -> str:
    """The sentiment turned around: `positive becomes negative`, `neutral stays neutral`."""
    found = sentiment(story)
    return f"{found} {_OPPOSITE[found]}"


TASKS: Mapping[str, Callable[[Story], str]] = {
    task.__name__: task
    for task in (
        transcription,
        repetition,
        keywords,
        sentiment,
        topic,
        translation,
        continuation,
        summary,
        where,
        when,
        verification,
        politeness,
        who,
        what,
        opposite,
    )
}
"""Every task by its name; the name of its pool is the same."""

HELD_OUT = frozenset({"who", "what", "opposite"})
"""Tasks that the backbone can do and that speech training never sees."""


def _reworded(event: Event) -> Event:
    return replace(
        event,
        verb=replace(event.verb, past=event.verb.synonym),
        quality=event.quality and QUALITIES[event.quality],
        feeling=event.feeling and FEELINGS[event.feeling][1],
    )


def _in_marenic(event: Event) -> str:
    english = (
        event.time and event.time.split()[-1],
        event.place,
        event.things,
        event.quality,
        event.number,
        _bare(event.who),
        event.verb.past,
        event.feeling,
    )
    return " ".join(marenic()[word] for word in english if word)


def _bare(person: str) -> str:
    return person.removeprefix("the ")


def _words(*parts: str | None) -> str:
    return " ".join(filter(None, parts))


def _first(found: Iterable[str | None]) -> str:
    return next(filter(None, found), NOT_SAID)
