"""A training row: the conversation as spans, its text twin, and where all of it came from."""

from dataclasses import dataclass

from sllm_data.records.request import Message
from sllm_data.records.utterance import Source, Speaker


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A stretch of a turn: text, or samples [start, start + num) of one of the row's clips."""

    type: str
    """text or audio (units come with the recipes that use them)."""
    text: str | None = None
    audio_index: int | None = None
    """Which of the row's audio_refs."""
    start_sample: int | None = None
    num_samples: int | None = None
    supervised: bool = False
    """Whether the trainer computes a loss on it."""

    def __post_init__(self) -> None:
        if self.type == "text":
            if self.text is None or self.audio_index is not None:
                raise ValueError("a text span must have text and no audio")
        elif self.type == "audio":
            if self.audio_index is None or self.start_sample is None or not self.num_samples:
                raise ValueError("an audio span must name its clip, start and length")
            if self.supervised:
                raise ValueError("an audio span can't be supervised")
        else:
            raise ValueError(f"a span's type must be text or audio, got {self.type!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One turn of the conversation on the audio side."""

    role: str
    content: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """What the filters saw; None where a filter did not apply."""

    copy_rate: float | None = None
    """In [0, 1]: how much of the response is a copy of the transcript."""
    repetition: float | None = None
    """In [0, 1]: share of the response covered by its most repeated n-gram loop."""
    language_match: float | None = None
    """In [0, 1]: confidence that the response is in the language it should be in."""
    mean_logprob: float | None = None
    judge_score: int | None = None
    verdict: str = "kept"
    """kept, or kept with a mark: `truncated`."""
    role_marker: bool | None = None
    """Whether the transcript holds what the chat template may take for the beginning of a turn,
    such as `USER:`; None where control tokens begin its turns, so that no text can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Generator:
    """Enough to ask the same question again."""

    model: str
    revision: str
    engine: str
    engine_version: str
    chat_template_sha256: str
    sampling: str
    """Canonical JSON."""
    seed: int
    request_key: str
    prompt_mode: str
    """ids: token ids were sent; messages: the server rendered them; none: not generated."""
    determinism: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One row of `samples/`; every column is explained in docs/samples.md."""

    sample_id: str
    recipe: str
    kind: str
    task: str
    task_params: str
    variant: str
    audio_refs: tuple[tuple[int, str], ...]
    """(audio_part, audio_id) of each clip."""
    messages: tuple[Turn, ...]
    text_messages: tuple[Message, ...]
    response: str
    response_language: str
    num_response_tokens: int
    finish_reason: str
    instruction_id: str
    template_id: str
    pool_sha256: str
    template_sha256: str
    split: str
    eval_group: str
    language: str
    transcript: str
    transcript_prepared: str
    speech_share: float
    """Share of the transcript's words that are heard, in [0, 1]."""
    speakers: tuple[Speaker, ...]
    generator: Generator
    quality: Quality
    source: Source
    response_token_ids: tuple[int, ...] | None = None
    response_top_token_ids: tuple[tuple[int, ...], ...] | None = None
    """The likeliest tokens at the place of each of them; see `Response.top_token_ids`."""
    response_logprobs: tuple[tuple[float, ...], ...] | None = None
    """Log probabilities of those, in the same shape."""
    cut: str | None = None
    """The policy by which the clip was cut into speech and text; None where all is heard."""
