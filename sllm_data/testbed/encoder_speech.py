"""The speech that the encoder learns from: synthesised as it is needed, and roughened.

No utterance is heard twice. Each is a pure function of the seed and its number: its text, its
voice, how fast and high it is said and with which throat, the speed it is played at (which
moves the formants, so that voices never heard are less of a surprise), loudness and noise.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sllm_data.seeding import rng_for, seed_for
from sllm_data.testbed.clips import speak_clip
from sllm_data.testbed.encoder import ENCODER_RATE_HZ, MAX_FRAMES, log_mel
from sllm_data.testbed.events import dialogue, endless_stories
from sllm_data.testbed.speech import MAX_PITCH, Synthesizer
from sllm_data.testbed.voices import Voice

if TYPE_CHECKING:
    from torch import Tensor

_POOL = 24  # batches that are sorted by length together, so that little is padding
_DIALOGUE_SHARE = 0.15
_ROUGH_SHARE = 0.8  # of the hard clips
_PLAYED_HZ = tuple(range(19_500, 25_000, 500))  # what 22,050 Hz is taken for: 0.88 to 1.11
_THROAT_SHARE = 1.0  # of the rough clips: an accent of the voices by another throat
THROATS = (
    *("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "Alex", "Annie"),
    *("Mike", "anika", "aunty", "belinda", "david", "john", "linda", "steph", "travis", "victor"),
)
"""espeak-ng's variants that the voices' accents are also heard by; none is of a held-out voice."""
_NOISE_SHARE = 0.5
_DULL_SHARE = 0.5  # of the noise has little of the high frequencies


@dataclass(frozen=True, slots=True)
class Batch:
    """Utterances of about the same length."""

    features: "Tensor"
    """float32, shape (clips, 80, frames); zero behind the end of each clip."""
    num_frames: "Tensor"
    """Shape (clips,)."""
    texts: tuple[str, ...]


def batches(
    voices: Sequence[Voice], *, seed: int, max_frames: int, hard: float
) -> Iterator[Batch]:
    """Yields batches without end.

    Args:
        voices: Who speaks.
        seed: Of everything that is drawn.
        max_frames: Frames of a batch, padding included; a longer clip is a batch by itself.
        hard: Share of clips that are stories or turns of dialogues, most of them roughened;
            the others are single sentences as the voices speak.
    """
    clips = _clips(voices, seed=seed, hard=hard)
    for number in count():
        pool: list[_Clip] = []
        while sum(clip.num_frames for clip in pool) < _POOL * max_frames:
            pool.append(next(clips))
        pool.sort(key=lambda clip: clip.num_frames)
        cut = list(_cut(pool, max_frames))
        rng_for(seed, "testbed-encoder-batches", number).shuffle(cut)
        yield from map(_batch, cut)


@dataclass(frozen=True, slots=True)
class _Clip:
    text: str
    features: npt.NDArray[np.float32]

    @property
    def num_frames(self) -> int:
        return len(self.features[0])


def _clips(voices: Sequence[Voice], *, seed: int, hard: float) -> Iterator[_Clip]:
    synthesizer = Synthesizer()
    drawn = seed_for(seed, "testbed-encoder-stories")
    sentences, stories = (endless_stories(seed=drawn, num_events=size) for size in (1, None))
    for number in count():
        rng = rng_for(seed, "testbed-encoder-clip", number)
        voice = rng.choice(voices)
        is_hard = rng.random() < hard
        if not is_hard:
            text = next(sentences).text
        elif rng.random() < _DIALOGUE_SHARE:
            text = rng.choice(dialogue(seed=seed, number=number)).text
        else:
            text = next(stories).text
        if is_hard and rng.random() < _ROUGH_SHARE:
            features = _roughened(synthesizer, text, voice, rng)
        else:
            features = log_mel(speak_clip(synthesizer, text, voice, ENCODER_RATE_HZ).samples)
        if features.shape[1] <= MAX_FRAMES:
            yield _Clip(text, features)


def _roughened(
    synthesizer: Synthesizer, text: str, voice: Voice, rng: random.Random
) -> npt.NDArray[np.float32]:
    """Returns the features of one utterance as it might be recorded."""
    import torch  # noqa: PLC0415 - its import takes seconds
    from torchaudio.functional import resample  # noqa: PLC0415 - as above

    accent, _, throat = voice.name.partition("+")
    if rng.random() < _THROAT_SHARE:
        throat = rng.choice(THROATS)
    speech = synthesizer.speak(
        text,
        voice=f"{accent}+{throat}",
        rate_wpm=round(voice.rate_wpm * rng.uniform(0.88, 1.15)),
        pitch=min(max(round(voice.pitch + rng.uniform(-15, 15)), 0), MAX_PITCH),
    )
    wave = torch.from_numpy(speech.samples.astype(np.float32))
    played = resample(
        wave, rng.choice(_PLAYED_HZ), ENCODER_RATE_HZ, lowpass_filter_width=8
    ).numpy()
    chance = np.random.default_rng(rng.getrandbits(64))
    if rng.random() < _NOISE_SHARE:
        noise = chance.standard_normal(len(played), dtype=np.float32)
        if rng.random() < _DULL_SHARE:
            noise = np.convolve(noise, np.ones(8, np.float32), "same")
        loudness = np.sqrt(np.mean(played**2) / np.mean(noise**2))
        played = played + noise * loudness * 10 ** (-rng.uniform(18, 40) / 20)
    played = played * 10 ** (rng.uniform(-15, 0) / 20)
    return log_mel(np.clip(played, -(2**15), 2**15 - 1).astype(np.int16))


def _cut(clips: Sequence[_Clip], max_frames: int) -> Iterator[list[_Clip]]:
    batch: list[_Clip] = []
    for clip in clips:  # the longest comes last, so each is its batch's width
        if batch and clip.num_frames * (len(batch) + 1) > max_frames:
            yield batch
            batch = []
        batch.append(clip)
    yield batch


def _batch(clips: Sequence[_Clip]) -> Batch:
    import torch  # noqa: PLC0415 - its import takes seconds

    width = clips[-1].num_frames
    features = torch.zeros(len(clips), len(clips[-1].features), width)
    for row, clip in zip(features, clips, strict=True):
        row[:, : clip.num_frames] = torch.from_numpy(clip.features)
    return Batch(
        features=features,
        num_frames=torch.tensor([clip.num_frames for clip in clips]),
        texts=tuple(clip.text for clip in clips),
    )
