"""Texts spoken by voices, at the rate of the corpus they are for, with their word times."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sllm_data.testbed.speech import Synthesizer, Word
from sllm_data.testbed.voices import Voice
from sllm_data.units import Hertz, Samples, Seconds, to_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A text as spoken."""

    voice: Voice
    text: str
    samples: npt.NDArray[np.int16]
    """Shape (num_samples,), mono, at `rate_hz`."""
    rate_hz: Hertz
    words: tuple[Word, ...]
    """All words of the text, in samples at `rate_hz`."""

    @property
    def duration_s(self) -> Seconds:
        """Of the whole clip, in seconds."""
        return to_seconds(Samples(len(self.samples)), self.rate_hz)


def speak_clip(synthesizer: Synthesizer, text: str, voice: Voice, rate_hz: Hertz) -> Clip:
    """Speaks a text at another rate than espeak-ng's own.

    Raises:
        ValueError: The text can't be said.
    """
    speech = synthesizer.speak(text, voice=voice.name, rate_wpm=voice.rate_wpm, pitch=voice.pitch)

    def moved(sample: Samples) -> Samples:
        return Samples(round(sample * rate_hz / speech.rate_hz))

    return Clip(
        voice=voice,
        text=text,
        samples=resampled(speech.samples, speech.rate_hz, rate_hz),
        rate_hz=rate_hz,
        words=tuple(
            Word(
                text=word.text,
                start_sample=moved(word.start_sample),
                end_sample=moved(word.end_sample),
            )
            for word in speech.words
        ),
    )


def spoken(texts: Iterable[str], voices: Sequence[Voice], rate_hz: Hertz) -> Iterator[Clip]:
    """Speaks the texts, the voices taking turns."""
    synthesizer = Synthesizer()
    for number, text in enumerate(texts):
        yield speak_clip(synthesizer, text, voices[number % len(voices)], rate_hz)


def resampled(
    samples: npt.NDArray[np.int16], from_hz: Hertz, to_hz: Hertz
) -> npt.NDArray[np.int16]:
    """Changes the rate by cutting or padding the spectrum; the end is padded with silence.

    That takes the clip as one period of a wave, which is right for espeak-ng's, since they
    begin and end in silence.
    """
    if from_hz == to_hz:
        return samples
    divisor = math.gcd(from_hz, to_hz)
    step = from_hz // divisor
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % step))
    num_samples = len(padded) // step * (to_hz // divisor)
    wave = np.fft.irfft(np.fft.rfft(padded), num_samples) * (num_samples / len(padded))
    limits = np.iinfo(np.int16)
    return np.rint(np.clip(wave, limits.min, limits.max)).astype(np.int16)
