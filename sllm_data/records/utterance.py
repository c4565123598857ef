"""An utterance on its way in: listed (Candidate), opened (Utterance), admitted (IndexRow)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Speaker:
    """Who speaks, as far as the corpus knows; None is unknown."""

    id: str | None = None
    """The corpus's own id, or a salted hash where it forbids identifying people."""
    gender: str | None = None
    """female, male or other."""
    age: str | None = None
    """As the corpus words it: a number or a decade such as `twenties`."""
    accent: str | None = None
    emotion: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where an utterance comes from and under which terms."""

    corpus: str
    """Short name of the corpus, the first part of every audio_id: `librispeech`."""
    version: str
    licence: str
    """SPDX identifier where one exists: `CC-BY-4.0`."""
    attribution: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An utterance as a corpus lists it, before its audio was opened."""

    audio_id: str
    """`<corpus>/<version>/<locale or subset>/<upstream id>`; unique in a dataset."""
    entry: int
    """Position of its corpus in the run's configuration, from 0."""
    audio_path: str
    """Relative to the corpus entry's folder, with forward slashes."""
    transcript: str
    """As the corpus has it, not yet prepared."""
    language: str
    """As the corpus names it: `en`, `zh-CN`."""
    speaker: Speaker
    corpus_split: str | None
    """train, validation or test where the corpus says so."""
    source: Source
    duration_s: float | None = None
    """As a table of the corpus claims; the true one is measured later."""
    start_s: float | None = None
    """Where in its file the utterance begins, in seconds; it lasts `duration_s`, or to the end
    of the file without one. None: it is all of its file."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """What else the corpus knew: votes, segment, book, chapter."""

    def __post_init__(self) -> None:
        if not self.audio_id or self.audio_id != self.audio_id.strip():
            raise ValueError(f"audio_id must be non-empty without outer space: {self.audio_id!r}")
        if self.corpus_split is not None and self.corpus_split not in SPLITS:
            raise ValueError(f"{self.audio_id}: corpus_split must be one of {SPLITS}")
        if self.start_s is not None and not 0 <= self.start_s < math.inf:
            raise ValueError(f"{self.audio_id}: start_s must be at least 0, got {self.start_s}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Utterance:
    """An utterance whose audio was decoded once; one row of `audio/` less the bytes."""

    audio_id: str
    entry: int
    sha256: str
    """Of the stored bytes, 64 hexadecimal digits."""
    pcm_sha256: str
    """Of the decoded samples as little-endian 16-bit, interleaved."""
    codec: str
    """Container and coding: `flac/pcm_16`, `mp3/mpeg_layer_iii`."""
    sampling_rate: int
    """In hertz, native."""
    num_channels: int
    num_samples: int
    """Frames at the native rate, decoded, not from the header."""
    transcript: str
    language: str
    speaker: Speaker
    corpus_split: str | None
    source: Source
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        """Decoded length in seconds."""
        return self.num_samples / self.sampling_rate

    def __post_init__(self) -> None:
        if self.num_samples < 1 or self.sampling_rate < 1 or self.num_channels < 1:
            raise ValueError(f"{self.audio_id}: samples, rate and channels must be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexRow:
    """The verdict of the global pass on one utterance: kept with its tasks, or why not."""

    audio_id: str
    audio_part: int
    kept: bool
    reason: str | None
    """A Reason's value where not kept."""
    split: str | None
    tasks: tuple[str, ...]
    """The tasks it was given, distinct, in draw order."""
