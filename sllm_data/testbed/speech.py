"""Speech from text by espeak-ng, which comes as a library inside a Python package.

Nothing of the system is needed: no program, no voice package, no sound card. What comes
out is a pure function of text, voice, rate and pitch, so a corpus made twice has the same
bytes.

espeak-ng keeps state from one utterance to the next (the phase of its flutter, noise) that
no call of its interface resets: the second rendering of a sentence differs from the first.
Each utterance therefore gets a freshly loaded library with a fixed random seed, at a cost
of about 3 ms; test_speech_does_not_depend_on_what_was_said_before guards it.
"""

import _ctypes
import ctypes
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import espeakng_loader
import numpy as np
import numpy.typing as npt

from sllm_data.errors import ModelError
from sllm_data.units import Hertz, Samples

_OUTPUT_SYNCHRONOUS = 2
_NEVER_EXIT = 0x8000
_POSITION_IN_CHARACTERS = 1
_TEXT_IS_UTF8 = 1
_PARAMETER_RATE = 1
_PARAMETER_PITCH = 3
_EVENT_LIST_END = 0
_EVENT_WORD = 1
_RANDOM_SEED = 1

MIN_RATE_WPM = 80
MAX_RATE_WPM = 450
MAX_PITCH = 99


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A word of the text, with its punctuation, and where its sound starts."""

    text: str
    start_sample: Samples


@dataclass(frozen=True, kw_only=True, slots=True)
class Speech:
    """What was synthesised."""

    samples: npt.NDArray[np.int16]
    """Shape (num_samples,), mono."""
    rate_hz: Hertz
    """Of espeak-ng: 22,050."""
    words: tuple[Word, ...]
    """Whitespace-separated, in the order of the text; without those that have no sound of
    their own."""


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

    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, *, data: Path | None = None) -> None:
        self._library = Path(espeakng_loader.get_library_path())
        self._data = data or Path(espeakng_loader.get_data_path())
        for needed in (self._library, self._data / "phontab"):
            if not needed.is_file():
                raise ModelError(
                    f"{needed}: this file of espeak-ng is missing, which comes with the package "
                    "espeakng-loader; run `make setup` again"
                )

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
        with self._lock, self._loaded() as (library, rate_hz):
            if library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ValueError(
                    f"voice must be one of espeak-ng's, such as en-us+f3, got {voice!r}"
                )
            library.espeak_SetParameter(_PARAMETER_RATE, rate_wpm, 0)
            library.espeak_SetParameter(_PARAMETER_PITCH, pitch, 0)
            return _render(library, rate_hz, text)

    @contextmanager
    def _loaded(self) -> Iterator[tuple[ctypes.CDLL, Hertz]]:
        library = ctypes.CDLL(str(self._library))
        try:
            rate_hz = library.espeak_Initialize(
                _OUTPUT_SYNCHRONOUS, 0, str(self._data).encode(), _NEVER_EXIT
            )
            if rate_hz <= 0:
                raise ModelError(
                    f"{self._data}: espeak-ng must find its data here, but it says code "
                    f"{rate_hz}; run `make setup` again"
                )
            try:
                library.espeak_ng_SetRandSeed(ctypes.c_long(_RANDOM_SEED))
                yield library, Hertz(rate_hz)
            finally:
                library.espeak_Terminate()
        finally:
            _ctypes.dlclose(library._handle)  # noqa: SLF001 - ctypes has no public unload


def _render(library: ctypes.CDLL, rate_hz: Hertz, text: str) -> Speech:
    pieces: list[bytes] = []
    events: list[tuple[int, int]] = []

    def receive(wave: Any, num_samples: int, happened: Any) -> int:  # Any: ctypes pointers
        if wave and num_samples:
            pieces.append(ctypes.string_at(wave, num_samples * 2))
        number = 0
        while happened[number].type != _EVENT_LIST_END:
            if happened[number].type == _EVENT_WORD:  # the library counts characters from 1
                events.append((happened[number].text_position - 1, happened[number].sample))
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
    return Speech(samples=samples, rate_hz=rate_hz, words=_words(text, events))


def _words(text: str, events: list[tuple[int, int]]) -> tuple[Word, ...]:
    """Gives every word of the text the first event inside it.

    espeak-ng splits otherwise than at spaces: `isn't` is reported as `isn`, `10%` twice,
    and `didn't he` may come as one.
    """
    words = []
    for found in re.finditer(r"\S+", text):
        starts = [sample for position, sample in events if position in range(*found.span())]
        if starts:
            words.append(Word(text=found.group(), start_sample=Samples(starts[0])))
    return tuple(words)
