"""Speech from text by espeak-ng, which comes as a library inside a Python package.

Nothing of the system is needed: no program, no voice package, no sound card. What comes
out is a pure function of text, voice, rate and pitch, so a corpus made twice has the same
bytes.

espeak-ng keeps state from one utterance to the next (the phase of its flutter, noise) that
no call of its interface resets: the second rendering of a sentence differs from the first.
Each utterance therefore gets a freshly loaded library with a fixed random seed, at a cost
of about 3 ms; test_speech_does_not_depend_on_what_was_said_before guards it.

Word times are those of the phonemes, to the sample. espeak-ng's own word events are not
exact: one comes at the start of the last sonorant where a vowel follows it (`garden on`),
and its dictionary takes some pairs for one word (`in the`). A text with such pairs is said again
with no-break spaces in them: they then sound as `at the` does, up to 70 ms longer. (Between
all words, no-break spaces would make the verb of `to close it` an adjective.)

    _:  d 'O r @  _  w 'eI t I# d  'O n   _:       phonemes, pauses
       |     dora   |    waited   |  on  |         words: [start, end) without the pauses
"""

import ctypes
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from sllm_data.audio.espeak import espeak_data, fresh_espeak
from sllm_data.errors import ModelError
from sllm_data.units import Hertz, Samples

_POSITION_IN_CHARACTERS = 1
_TEXT_IS_UTF8 = 1
_PARAMETER_RATE = 1
_PARAMETER_PITCH = 3
_WITH_PHONEME_EVENTS = 1
_EVENT_LIST_END = 0
_EVENT_END = 5
_EVENT_PHONEME = 7
_PAUSE = ord("_")  # with it begins the name of every pause
_NO_BREAK_SPACE = "\u00a0"

MIN_RATE_WPM = 80
MAX_RATE_WPM = 450
MAX_PITCH = 99


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A word of the text, with its punctuation, and where it sounds: [start, end)."""

    text: str
    start_sample: Samples
    end_sample: Samples


@dataclass(frozen=True, kw_only=True, slots=True)
class Speech:
    """What was synthesised."""

    samples: npt.NDArray[np.int16]
    """Shape (num_samples,), mono."""
    rate_hz: Hertz
    """Of espeak-ng: 22,050."""
    words: tuple[Word, ...]
    """Whitespace-separated, in the order of the text, none overlapping the next; without those
    that have no sound (a dash)."""


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_: ClassVar = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_int * 2),
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mark:
    """Where a phoneme or a pause begins in the signal."""

    character: int
    """Of the text, where the word begins that it belongs to."""
    sample: Samples
    sounds: bool
    """Whether it is a phoneme, and not a pause or the end."""


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Synthesizer:
    """Speaks text in one of espeak-ng's voices.

    Several may be used, also from several threads: they take turns. Nothing else in the
    process may hold the same library open, since it could then not be loaded afresh.

    Args:
        data: The folder of espeak-ng's voices; by default the package's own.

    Raises:
        ModelError: The library or its data is missing.
    """

    def __init__(self, *, data: Path | None = None) -> None:
        self._data = espeak_data(data)

    def speak(self, text: str, *, voice: str, rate_wpm: int = 170, pitch: int = 50) -> Speech:
        """Synthesises a text at 22,050 Hz, about 500 times faster than real time.

        Args:
            text: What to say, cased and punctuated.
            voice: A language of espeak-ng with its accent, and a variant: `en-us+f3`, `de`.
            rate_wpm: Words a minute, 80 to 450.
            pitch: 0 (low) to 99.

        Raises:
            ValueError: The text is empty or holds a NUL, the voice is unknown, the rate or
                the pitch is out of range.
        """
        if not text.strip() or "\0" in text:
            raise ValueError(f"text must be non-empty and without NUL, got {text!r}")
        if not MIN_RATE_WPM <= rate_wpm <= MAX_RATE_WPM:
            raise ValueError(f"rate_wpm must be {MIN_RATE_WPM} to {MAX_RATE_WPM}, got {rate_wpm}")
        if not 0 <= pitch <= MAX_PITCH:
            raise ValueError(f"pitch must be 0 to {MAX_PITCH}, got {pitch}")
        variant = voice.partition("+")[2]
        # The library itself ignores an unknown variant and opens any file that one leads to.
        if "/" in voice or (variant and not (self._data / "voices" / "!v" / variant).is_file()):
            raise ValueError(f"voice must have a variant of espeak-ng after +, got {voice!r}")
        text = " ".join(text.split())
        said = self._said(text, voice, rate_wpm, pitch)
        if None in said.words:
            said = self._said(_pairs_apart(text, said.words), voice, rate_wpm, pitch)
        return Speech(
            samples=said.samples, rate_hz=said.rate_hz, words=tuple(filter(None, said.words))
        )

    def _said(self, text: str, voice: str, rate_wpm: int, pitch: int) -> "_Said":
        with fresh_espeak(self._data, options=_WITH_PHONEME_EVENTS) as (library, rate_hz):
            if library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ValueError(
                    f"voice must be one of espeak-ng's, such as en-us+f3, got {voice!r}"
                )
            library.espeak_SetParameter(_PARAMETER_RATE, rate_wpm, 0)
            library.espeak_SetParameter(_PARAMETER_PITCH, pitch, 0)
            return _render(library, rate_hz, text)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    samples: npt.NDArray[np.int16]
    rate_hz: Hertz
    words: list[Word | None]
    """Of all words of the text; None is one without a sound of its own."""


def _render(library: ctypes.CDLL, rate_hz: Hertz, text: str) -> _Said:
    pieces: list[bytes] = []
    marks: list[_Mark] = []

    def receive(wave: Any, num_samples: int, happened: Any) -> int:  # Any: ctypes pointers
        if wave and num_samples:
            pieces.append(ctypes.string_at(wave, num_samples * 2))
        number = 0
        while happened[number].type != _EVENT_LIST_END:
            marks.extend(_marks(happened[number]))
            number += 1
        return 0

    callback = _Callback(receive)
    library.espeak_SetSynthCallback(callback)
    content = text.encode() + b"\0"
    status = library.espeak_Synth(
        content,
        ctypes.c_size_t(len(content)),
        0,
        _POSITION_IN_CHARACTERS,
        0,
        _TEXT_IS_UTF8,
        None,
        None,
    )
    if status != 0:
        raise ModelError(f"espeak-ng can't speak {text!r}: it says code {status}")
    samples = np.frombuffer(b"".join(pieces), dtype="<i2").astype(np.int16)
    return _Said(samples=samples, rate_hz=rate_hz, words=_words(text, marks, samples))


def _marks(event: Any) -> Iterator[_Mark]:  # Any: a ctypes structure
    if event.type in (_EVENT_PHONEME, _EVENT_END):
        sounds = event.type == _EVENT_PHONEME and event.id[0] & 0xFF != _PAUSE
        # the library counts characters from 1
        yield _Mark(character=event.text_position - 1, sample=Samples(event.sample), sounds=sounds)


def _words(text: str, marks: list[_Mark], samples: npt.NDArray[np.int16]) -> list[Word | None]:
    """Gives every word of the text the phonemes inside it, without silence at the edges.

    The silence before a stop or a fricative is no phoneme of its own, hence it is looked for.
    espeak-ng splits otherwise than at spaces: `10%` has the phonemes of two of its words.
    """
    words: list[Word | None] = []
    for found in re.finditer(r"\S+", text):
        own = [
            number
            for number, mark in enumerate(marks)
            if mark.sounds and mark.character in range(*found.span())
        ]
        if not own:
            words.append(None)
            continue
        start = marks[own[0]].sample
        end = marks[own[-1] + 1].sample if own[-1] + 1 < len(marks) else len(samples)
        sound = start + np.flatnonzero(samples[start:end])
        words.append(
            Word(
                text=found.group(),
                start_sample=Samples(int(sound[0])),
                end_sample=Samples(int(sound[-1]) + 1),
            )
            if sound.size
            else None
        )
    return words


def _pairs_apart(text: str, words: list[Word | None]) -> str:
    """Puts a no-break space before each word that was said as a part of the one before it."""
    parts = zip(text.split(" "), words, strict=True)
    return "".join(f"{' ' if word else _NO_BREAK_SPACE}{part}" for part, word in parts)[1:]
