"""The speakers of the spoken world: a fixed cast for its stories, any number for the demo."""

from dataclasses import dataclass
from typing import Literal

from sllm_data.seeding import rng_for

_VARIANTS = ("f1", "m1", "f2", "m3", "f3", "m4", "f4", "m7")
_ACCENTS = {
    "en": (
        ("en-us", "United States English"),
        ("en", "England English"),
        ("en-gb-scotland", "Scottish English"),
        ("en-us-nyc", "New York City English"),
        ("en-029", "West Indies and Bermuda"),
    ),
    "de": (("de", "Deutschland Deutsch"),),
}
_AGES = ("twenties", "thirties", "fourties", "fifties", "sixties")  # Common Voice's spelling


@dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """A speaker of the testbed."""

    number: int
    """Distinct in a corpus."""
    gender: str
    """female or male."""
    accent: str
    """As Common Voice words it."""
    age: str
    """A decade; it is made up and can't be heard."""
    name: str
    """As espeak-ng names it: `en-us+f1`."""
    rate_wpm: int
    pitch: int


def cast(language: str, count: int, *, first: int, seed: int) -> list[Voice]:
    """Returns speakers numbered from `first`, their voices in turn, each with its own pace.

    In a corpus of one seed no two of the first 40 English speakers (8 German) have the
    same voice; later ones differ in rate or pitch.
    """
    voices = []
    for number in range(first, first + count):
        rng = rng_for(seed, "testbed-cast", language, number)
        name, accent = _ACCENTS[language][number % len(_ACCENTS[language])]
        variant = _VARIANTS[number % len(_VARIANTS)]
        voices.append(
            Voice(
                number=number,
                gender="female" if variant.startswith("f") else "male",
                accent=accent,
                age=rng.choice(_AGES),
                name=f"{name}+{variant}",
                rate_wpm=rng.randint(140, 200),
                pitch=rng.randint(35, 65),
            )
        )
    return voices


_Row = tuple[str, Literal["female", "male"], str, int, int]

# Variants without echo: between their words there is silence, to the sample.
_WORLD: tuple[_Row, ...] = (
    ("en-us+f1", "female", "United States English", 165, 50),
    ("en+m7", "male", "England English", 150, 50),
    ("en-gb-scotland+steph", "female", "Scottish English", 160, 55),
    ("en-us-nyc+Mike", "male", "New York City English", 185, 40),
    ("en-029+aunty", "female", "West Indies and Bermuda", 165, 45),
    ("en-us+m3", "male", "United States English", 155, 45),
    ("en+linda", "female", "England English", 170, 45),
    ("en-gb-scotland+m4", "male", "Scottish English", 175, 55),
    ("en-us-nyc+belinda", "female", "New York City English", 145, 35),
    ("en-029+m6", "male", "West Indies and Bermuda", 160, 60),
    ("en-us+Annie", "female", "United States English", 180, 40),
    ("en-us+m1", "male", "United States English", 195, 60),
)
_HELD_OUT: tuple[_Row, ...] = (
    ("en-gb-x-rp+shelby", "female", "Received Pronunciation", 170, 50),
    ("en-gb-x-gbcwmd+m8", "male", "West Midlands English", 155, 60),
    ("en-gb-x-gbclan+grandma", "female", "Lancashire English", 160, 45),
    ("en-gb-x-rp+Gene", "male", "Received Pronunciation", 180, 55),
)


def _voices(rows: tuple[_Row, ...], first: int) -> tuple[Voice, ...]:
    return tuple(
        Voice(
            number=first + position,
            gender=gender,
            accent=accent,
            age=_AGES[position % len(_AGES)],
            name=name,
            rate_wpm=rate_wpm,
            pitch=pitch,
        )
        for position, (name, gender, accent, rate_wpm, pitch) in enumerate(rows)
    )


WORLD_VOICES = _voices(_WORLD, 0)
"""Who tells the world's stories: women and men in turn, five accents."""
HELD_OUT_VOICES = _voices(_HELD_OUT, len(_WORLD))
"""Whom nothing learns from: three more accents, four more variants of the voice."""
