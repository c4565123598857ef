"""The small spoken world as a corpus: who says which stories, cut into blocks, by hours.

Texts of the subset `train-world` are of the world's half `train`, those of all others of the
half `test`; no two texts of a corpus are the same. The held-out voices speak in the subset
`test-unseen-voices` and nowhere else. In each subset a voice has another reader's id, since
whoever splits by speaker would otherwise take a reader of `test-world` out of the training.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal

from sllm_data.errors import ConfigError
from sllm_data.seeding import rng_for, seed_for, uniform
from sllm_data.testbed.common_voice import Clips, finish_common_voice
from sllm_data.testbed.dialogues import Recording, finish_dialogues
from sllm_data.testbed.events import (
    MAX_SENTENCES,
    Half,
    dialogue,
    endless_stories,
    half_of,
    most_stories,
)
from sllm_data.testbed.layouts import Amount, Block, Receipt
from sllm_data.testbed.librispeech import Chapter, finish_librispeech
from sllm_data.testbed.voices import HELD_OUT_VOICES, WORLD_VOICES, Voice

WorldLayout = Literal["librispeech", "common-voice", "dialogues"]

_BLOCK = 20  # utterances
_READERS = 100  # ids that a subset has for its readers
_FILTER_BITS = 27
_S_A_CHARACTER = 0.0563  # at 170 words a minute, spaces count; over many stories within 2 %
_EVENT_S, _MEAN_EVENTS = 2.7, 2  # of a story
_PAUSE_S, _OVERLAP_S = 0.43, 0.71  # between two turns; what less it is where they overlap
_DIALOGUE_EDGES_S = 0.6


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldCorpus:
    """How much of the world is spoken, by whom, and in which layout."""

    hours: float
    """Of all subsets together."""
    layout: WorldLayout
    seed: int
    num_voices: int = len(WORLD_VOICES)
    """How many of WORLD_VOICES speak."""
    overlap: float = 0.0
    """Share of the turns of dialogues that begin before the other has ended."""
    num_events: int | None = None
    """Sentences in each text, 1 to 4; None mixes them. Dialogues have none of their own."""

    def __post_init__(self) -> None:
        if not (self.hours > 0 and math.isfinite(self.hours)):
            raise ConfigError(f"hours must be a number above 0, got {self.hours:g}")
        least = 2 if self.layout == "dialogues" else 1
        if not least <= self.num_voices <= len(WORLD_VOICES):
            raise ConfigError(
                f"num_voices must be {least} to {len(WORLD_VOICES)}, got {self.num_voices}"
            )
        if not 0 <= self.overlap <= 1:
            raise ConfigError(f"overlap must be 0 to 1, got {self.overlap:g}")
        if self.overlap and self.layout != "dialogues":
            raise ConfigError(
                f"overlap must be 0 in the layout {self.layout}, got {self.overlap:g}: only in "
                "dialogues two speak at once"
            )
        if self.num_events is not None:
            if not 1 <= self.num_events <= MAX_SENTENCES:
                raise ConfigError(f"sentences must be 1 to {MAX_SENTENCES}, got {self.num_events}")
            if self.layout == "dialogues":
                raise ConfigError(
                    "sentences must be left out in the layout dialogues, whose turns are what "
                    f"they are, got {self.num_events}"
                )
        most = max_hours(self.num_events)
        if self.layout != "dialogues" and self.hours > most:
            raise ConfigError(
                f"hours must be at most {most:,.0f}, got {self.hours:,g}: the world has "
                "no more distinct stories to choose from"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Subset:
    name: str
    table: str
    """Common Voice's."""
    half: Half
    share: float
    """Of all hours."""
    unseen: bool = False


SUBSETS = (
    _Subset(name="train-world", table="train", half="train", share=0.85),
    _Subset(name="dev-world", table="dev", half="test", share=0.05),
    _Subset(name="test-world", table="test", half="test", share=0.05),
    _Subset(name="test-unseen-voices", table="other", half="test", share=0.05, unseen=True),
)


def max_hours(num_events: int | None = None) -> float:
    """Returns how many hours of distinct stories there are; dialogues may come again.

    Args:
        num_events: Sentences in each; None mixes them.
    """

    def hours_of(half: Half) -> float:
        share = sum(subset.share for subset in SUBSETS if subset.half == half)
        return most_stories(half) * _story_s(num_events) / share / 3600

    return min(hours_of("train"), hours_of("test"))


def world_blocks(corpus: WorldCorpus) -> Iterator[Block]:
    """Yields the blocks of a corpus, subset by subset; memory does not grow with the hours."""
    makers: Mapping[WorldLayout, Callable[[WorldCorpus], Iterator[Block]]] = {
        "librispeech": _chapters,
        "common-voice": _clips,
        "dialogues": _recordings,
    }
    return makers[corpus.layout](corpus)


def finish_world(
    folder: Path, corpus: WorldCorpus, receipts: Iterator[Receipt]
) -> dict[str, Amount]:
    """Writes the tables when all blocks are written; returns how much each subset holds."""
    finish = {
        "librispeech": finish_librispeech,
        "common-voice": finish_common_voice,
        "dialogues": finish_dialogues,
    }
    return finish[corpus.layout](folder, receipts)


def _chapters(corpus: WorldCorpus) -> Iterator[Block]:
    for subset, number, voice, texts in _told(corpus):
        voices = len(_voices(corpus, subset))
        yield Chapter(subset=subset.name, number=number // voices, voice=voice, texts=tuple(texts))


def _clips(corpus: WorldCorpus) -> Iterator[Block]:
    first = 0
    for subset, _, voice, texts in _told(corpus):
        listed = () if subset.unseen else ("validated",)
        yield Clips(
            locale="en",
            subset=subset.name,
            tables=(*listed, subset.table),
            first=first,
            voices=(voice,),
            texts=tuple(texts),
            seed=corpus.seed,
        )
        first += len(texts)


def _told(corpus: WorldCorpus) -> Iterator[tuple[_Subset, int, Voice, list[str]]]:
    """Yields subset, number in it, voice and texts of what one voice says in one go."""
    texts = {half: _distinct(corpus, half) for half in ("train", "test")}
    story_s = _story_s(corpus.num_events)
    for subset in SUBSETS:
        voices = _voices(corpus, subset)
        left_s = corpus.hours * 3600 * subset.share
        # small corpora get short blocks, so that all voices are heard
        length = min(_BLOCK, math.ceil(left_s / story_s / len(voices)))
        for number in count():
            if left_s <= 0:
                break
            voice, block = voices[number % len(voices)], list[str]()
            while left_s > 0 and len(block) < length:
                block.append(next(texts[subset.half]))
                left_s -= _spoken_s(block[-1], voice)
            yield subset, number, voice, block


def _recordings(corpus: WorldCorpus) -> Iterator[Block]:
    for subset in SUBSETS:
        voices = _voices(corpus, subset)
        left_s = corpus.hours * 3600 * subset.share
        dialogues = _dialogues(corpus.seed, subset)
        for number in count():
            if left_s <= 0:
                break
            rng = rng_for(corpus.seed, "testbed-pair", subset.name, number)
            first, second = rng.sample(voices, 2)
            texts = next(dialogues)
            pause_s = _PAUSE_S - _OVERLAP_S * corpus.overlap
            left_s -= _DIALOGUE_EDGES_S + (len(texts) - 1) * pause_s
            left_s -= sum(
                _spoken_s(text, voice)
                for position, text in enumerate(texts)
                for voice in ((first, second)[position % 2],)
            )
            yield Recording(
                subset=subset.name,
                number=number,
                voices=(first, second),
                texts=texts,
                overlap=corpus.overlap,
                seed=corpus.seed,
            )


def _dialogues(seed: int, subset: _Subset) -> Iterator[tuple[str, ...]]:
    drawn = seed_for(seed, "testbed-spoken-dialogues", subset.name)
    for number in count():
        texts = tuple(turn.text for turn in dialogue(seed=drawn, number=number))
        if half_of(" ".join(texts)) == subset.half:
            yield texts


def _distinct(corpus: WorldCorpus, half: Half) -> Iterator[str]:
    """Yields texts, none twice, in constant memory.

    Each text has a place in a large field of bits; one whose place is taken is passed over,
    whether it is the same text or, rarely, another one.
    """
    taken = bytearray(2 ** (_FILTER_BITS - 3))
    seed = seed_for(corpus.seed, "testbed-spoken-world")
    for story in endless_stories(seed=seed, half=half, num_events=corpus.num_events):
        place = int(uniform(0, "testbed-place", story.text) * 2**_FILTER_BITS)
        byte, bit = place >> 3, 1 << (place & 7)
        if not taken[byte] & bit:
            taken[byte] |= bit
            yield story.text


def _story_s(num_events: int | None) -> float:
    return _EVENT_S * (num_events or _MEAN_EVENTS)


def _voices(corpus: WorldCorpus, subset: _Subset) -> Sequence[Voice]:
    voices = HELD_OUT_VOICES if subset.unseen else WORLD_VOICES[: corpus.num_voices]
    first = SUBSETS.index(subset) * _READERS
    return [replace(voice, number=first + voice.number) for voice in voices]


def _spoken_s(text: str, voice: Voice) -> float:
    return _S_A_CHARACTER * len(text) * 170 / voice.rate_wpm
