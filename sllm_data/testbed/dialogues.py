"""Dialogues of two voices in one recording each, which may talk into one another.

A recording is FLAC at 16 kHz. A manifest per subset lists its turns as segments, for the
corpus kind `manifest`; RTTM says who speaks when, CTM when which word is said and by whom.

    voice 0   |how was it for you|                      |when did you ...|
    voice 1                         |i felt happy|    ^ pause
                                 ^ pause            |it was yesterday|
                                          where a turn overlaps, it begins before the other's end
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sllm_data.files import write_text
from sllm_data.seeding import rng_for
from sllm_data.testbed.clips import Clip, speak_clip
from sllm_data.testbed.layouts import (
    NOTICE,
    Amount,
    Receipt,
    ctm_lines,
    reader_of,
    time_of,
    write_audio,
    write_tables,
)
from sllm_data.testbed.speech import Synthesizer, Word
from sllm_data.testbed.voices import Voice
from sllm_data.units import Hertz, Samples, Seconds, to_samples, to_seconds

DIALOGUE_RATE_HZ = Hertz(16_000)

_MARGIN = to_samples(Seconds(0.05), DIALOGUE_RATE_HZ)  # around a turn in the manifest
_EDGE = to_samples(Seconds(0.3), DIALOGUE_RATE_HZ)  # before the first turn, after the last one
_PAUSE_S = (0.1, 0.7)
_OVERLAP = (0.1, 0.5)  # of the shorter turn: so that nobody overlaps with himself
_OTHER_RATE, _OTHER_PITCH = 8, 3  # nobody says a thing twice in quite the same way


@dataclass(frozen=True, kw_only=True, slots=True)
class _Turn:
    """A turn in its recording."""

    clip: Clip
    start: Samples
    """Where its first word starts."""

    @property
    def end(self) -> Samples:
        """Where its last word ends."""
        return Samples(self.start + _length(self.clip))

    @property
    def words(self) -> list[Word]:
        """Its words, by their places in the recording."""
        moved = self.start - self.clip.words[0].start_sample
        return [
            replace(
                word,
                start_sample=Samples(word.start_sample + moved),
                end_sample=Samples(word.end_sample + moved),
            )
            for word in self.clip.words
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """A dialogue of two voices, turn by turn; the first one begins."""

    subset: str
    number: int
    """Of the subset's recordings, from 0."""
    voices: tuple[Voice, Voice]
    texts: tuple[str, ...]
    overlap: float
    """Probability that a turn begins before the other has ended."""
    seed: int
    """Of pauses and overlaps."""

    @property
    def name(self) -> str:
        """Of the file, without its ending."""
        return f"{self.subset}-{self.number:06}"

    def write(self, folder: Path) -> Receipt:
        """Writes the audio."""
        turns = list(self._turns())
        samples = _mixed(turns)
        path = f"{self.subset}/{self.name}.flac"
        write_audio(folder / path, samples, DIALOGUE_RATE_HZ)
        said = sorted(
            ((word, turn.clip.voice) for turn in turns for word in turn.words),
            key=lambda each: each[0].start_sample,
        )
        return Receipt(
            subset=self.subset,
            num_utterances=len(turns),
            duration_s=to_seconds(Samples(len(samples)), DIALOGUE_RATE_HZ),
            lines={
                f"{self.subset}.jsonl": [
                    self._row(path, number, turn) for number, turn in enumerate(turns)
                ],
                f"{self.subset}.rttm": [_rttm(self.name, turn) for turn in turns],
                f"{self.subset}.ctm": list(ctm_lines(self.name, said, DIALOGUE_RATE_HZ)),
            },
        )

    def _turns(self) -> Iterator[_Turn]:
        synthesizer = Synthesizer()
        before: _Turn | None = None
        for number, text in enumerate(self.texts):
            rng = rng_for(self.seed, "testbed-turn", self.subset, self.number, number)
            voice = self.voices[number % 2]
            mood = replace(
                voice,
                rate_wpm=voice.rate_wpm + rng.randint(-_OTHER_RATE, _OTHER_RATE),
                pitch=voice.pitch + rng.randint(-_OTHER_PITCH, _OTHER_PITCH),
            )
            clip = speak_clip(synthesizer, text, mood, DIALOGUE_RATE_HZ)
            pause = to_samples(Seconds(rng.uniform(*_PAUSE_S)), DIALOGUE_RATE_HZ)
            if before is not None and rng.random() < self.overlap:
                shorter = min(_length(clip), _length(before.clip))
                pause = Samples(-round(shorter * rng.uniform(*_OVERLAP)))
            start = Samples(before.end + pause) if before else _EDGE
            before = _Turn(clip=clip, start=start)
            yield before

    def _row(self, path: str, number: int, turn: _Turn) -> str:
        offset = Samples(turn.start - _MARGIN)
        duration = Samples(turn.end + _MARGIN - offset)
        voice = turn.clip.voice
        return json.dumps(
            {
                "audio_filepath": path,
                "offset": float(time_of(offset, DIALOGUE_RATE_HZ)),
                "duration": float(time_of(duration, DIALOGUE_RATE_HZ)),
                "text": turn.clip.text,
                "id": f"{self.name}-{number}",
                "lang": "en",
                "speaker": reader_of(voice),
                "gender": voice.gender,
                "age": voice.age,
                "accent": voice.accent,
                "dialogue": self.name,
                "turn": number,
            }
        )


def finish_dialogues(folder: Path, receipts: Iterable[Receipt]) -> dict[str, Amount]:
    """Writes manifests, RTTM and CTM of all subsets; returns how much each subset holds."""
    amounts, _ = write_tables(folder, receipts, {})
    write_text(folder / "README.txt", NOTICE.format(layout="a manifest"))
    return amounts


def _length(clip: Clip) -> int:
    return clip.words[-1].end_sample - clip.words[0].start_sample


def _mixed(turns: Iterable[_Turn]) -> npt.NDArray[np.int16]:
    """Adds the turns up, each at half its loudness, so that two of them can't clip."""
    turns = list(turns)
    samples = np.zeros(max(turn.end for turn in turns) + _EDGE, dtype=np.int16)
    for turn in turns:
        first, last = turn.clip.words[0].start_sample, turn.clip.words[-1].end_sample
        samples[turn.start : turn.end] += turn.clip.samples[first:last] // 2
    return samples


def _rttm(recording: str, turn: _Turn) -> str:
    start = time_of(turn.start, DIALOGUE_RATE_HZ)
    duration = time_of(Samples(turn.end - turn.start), DIALOGUE_RATE_HZ)
    speaker = reader_of(turn.clip.voice)
    return f"SPEAKER {recording} 1 {start} {duration} <NA> <NA> {speaker} <NA> <NA>"
