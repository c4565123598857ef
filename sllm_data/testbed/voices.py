"""The speakers of the spoken world and what they say: a cast, and texts spoken by it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sllm_data.seeding import rng_for
from sllm_data.testbed.speech import Synthesizer
from sllm_data.units import Hertz

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A sentence as spoken."""

    voice: Voice
    text: str
    samples: npt.NDArray[np.int16]
    """Shape (num_samples,), mono, at the rate that was asked for."""


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


def spoken(texts: Sequence[str], voices: Sequence[Voice], rate_hz: Hertz) -> Iterator[Clip]:
    """Speaks the texts, the voices taking turns."""
    synthesizer = Synthesizer()
    for number, text in enumerate(texts):
        voice = voices[number % len(voices)]
        speech = synthesizer.speak(
            text, voice=voice.name, rate_wpm=voice.rate_wpm, pitch=voice.pitch
        )
        samples = resampled(speech.samples, speech.rate_hz, rate_hz)
        yield Clip(voice=voice, text=text, samples=samples)


def resampled(
    samples: npt.NDArray[np.int16], from_hz: Hertz, to_hz: Hertz
) -> npt.NDArray[np.int16]:
    """Changes the rate by cutting or padding the spectrum; the end is padded with silence.

    That takes the clip as one period of a wave, which is right for espeak-ng's, since they
    begin and end in silence.
    """
    divisor = math.gcd(from_hz, to_hz)
    step = from_hz // divisor
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % step))
    num_samples = len(padded) // step * (to_hz // divisor)
    wave = np.fft.irfft(np.fft.rfft(padded), num_samples) * (num_samples / len(padded))
    limits = np.iinfo(np.int16)
    return np.rint(np.clip(wave, limits.min, limits.max)).astype(np.int16)
