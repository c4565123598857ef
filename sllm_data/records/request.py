"""What is asked of the backbone and what it answered."""

from dataclasses import dataclass
from typing import Literal, get_args

FINISH_REASONS = ("stop", "length")
ANSWER_PASSES = ("main", "followup_answer")
"""The passes whose answers become the responses of rows; the others help to make rows."""

Pass = Literal["restore", "question", "main", "followup", "followup_answer", "judge"]
"""A round of requests and responses: restore gives transcripts casing and punctuation; question
writes what a wording asks about; main asks the tasks; followup lets the backbone ask on, and
followup_answer answers that; judge rates answers."""
PASSES: tuple[Pass, ...] = get_args(Pass)
"""In the order in which a run has them."""
WRITTEN_PARAMS = frozenset({"question", "statement"})
"""Parameters of a task that the backbone wrote: they are no part of a row's identity."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn as plain text."""

    role: str
    """system, user or assistant."""
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """Sampling parameters, all explicit: engines' own defaults differ by entry point."""

    temperature: float
    """0 is greedy."""
    top_p: float
    top_k: int
    """0 switches it off."""
    max_tokens: int
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One row of `requests/<pass>/`: a rendered prompt with its sampling parameters."""

    request_id: str
    """`<sample_id>:<pass>`."""
    sample_id: str
    audio_part: int
    audio_id: str
    task: str
    task_params: str
    """Canonical JSON, `{}` without parameters: `{"to":"de"}`."""
    variant: str
    draw_index: int
    instruction_id: str
    instruction_language: str
    template_id: str
    split: str
    eval_group: str
    """train, held_out_instruction or held_out_task."""
    transcript_prepared: str
    """The transcript as the backbone is shown it."""
    target: str
    """generated: the backbone answers; transcript: the transcript is the answer."""
    messages: tuple[Message, ...]
    """What the backbone sees, the system turn included."""
    prompt_token_ids: tuple[int, ...]
    """`messages` rendered by the model's chat template; empty where target is transcript."""
    sampling: Sampling
    seed: int
    request_key: str
    """Hash of all that the answer depends on; equal keys may share a response."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """What an engine answered to one request."""

    request_id: str
    text: str
    token_ids: tuple[int, ...]
    """Empty where a server does not tell them."""
    finish_reason: str
    """stop: it came to its end; length: it was cut off at max_tokens."""
    num_prompt_tokens: int
    num_response_tokens: int
    num_cached_tokens: int | None
    """Prompt tokens found in the engine's prefix cache; None where it does not tell."""
    mean_logprob: float | None
    """Mean log probability of the response's tokens, where it was asked for."""
    top_token_ids: tuple[tuple[int, ...], ...] | None = None
    """At the place of each of `token_ids`, the likeliest tokens of the whole vocabulary,
    likeliest first; None where they were not asked for. A token that was sampled need not be
    among them."""
    top_logprobs: tuple[tuple[float, ...], ...] | None = None
    """Their natural log probabilities, in the same shape."""

    def __post_init__(self) -> None:
        if self.finish_reason not in FINISH_REASONS:
            raise ValueError(
                f"{self.request_id}: finish_reason must be one of {FINISH_REASONS}, "
                f"got {self.finish_reason!r}"
            )
        if self.top_token_ids is None and self.top_logprobs is None:
            return
        of_ids = list(map(len, self.top_token_ids or ()))
        of_logprobs = list(map(len, self.top_logprobs or ()))
        if of_ids != of_logprobs or len(of_ids) != len(self.token_ids) or len(set(of_ids)) > 1:
            raise ValueError(
                f"{self.request_id}: top_token_ids and top_logprobs must be one list for each of "
                f"{len(self.token_ids)} token_ids, all of one length, got lists of {of_ids} and "
                f"{of_logprobs}"
            )
