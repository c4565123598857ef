"""What came of asking requests again: how many answers are the same, how far the others are.

The distance of two answers is the Levenshtein distance of their texts over the length of the
longer one: 0 for the same text, 1 for texts that share nothing. A request that the engine
refuses now counts as 1.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rapidfuzz.distance import Levenshtein

Verdict = Literal["identical", "close", "different"]
_QUANTILE = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer to a request."""

    text: str
    token_ids: tuple[int, ...]
    """Empty where the engine does not tell them."""
    finish_reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One request that was asked again."""

    task: str
    is_reused: bool
    """The old answer was taken over from another dataset."""
    then: Answer
    now: Answer | None
    """None where the engine refused it."""

    @property
    def distance(self) -> float:
        """Of the texts, in [0, 1]."""
        if self.now is None:
            return 1.0
        return Levenshtein.normalized_distance(self.then.text, self.now.text)

    @property
    def tells_ids(self) -> bool:
        """Whether both answers have token ids to compare."""
        return self.now is not None and bool(self.then.token_ids) and bool(self.now.token_ids)

    @property
    def is_identical(self) -> bool:
        """Whether text, finish reason, and token ids where both have them, are the same."""
        if self.now is None:
            return False
        same_ids = self.then.token_ids == self.now.token_ids or not self.tells_ids
        same = self.then.text == self.now.text
        return same and same_ids and self.then.finish_reason == self.now.finish_reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Some requests that were asked again."""

    asked: int
    identical: int
    """Text, finish reason, and token ids where both sides have them."""
    identical_text: int
    with_token_ids: int
    """Where both sides have token ids."""
    identical_token_ids: int
    """Of these."""
    mean_distance: float
    p95_distance: float
    """95 % of the answers are at most so far away."""
    refused: int
    """By the engine, now."""
    finish_reasons: Mapping[str, Mapping[str, int]]
    """`then` and `now`, by reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineMark:
    """What an answer says of the engine that gave it."""

    engine: str
    engine_version: str
    prompt_mode: str
    determinism: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayReport:
    """A replay of one pass."""

    dataset: str
    turn: str
    verdict: Verdict
    max_distance: float
    """Largest mean distance that is close."""
    answers: Mapping[str, int]
    """All of the pass, by task; the sample was drawn from them."""
    not_asked: Mapping[str, int]
    """transcript: their answer is the transcript; no_answer: they were refused then."""
    total: Figures
    tasks: Mapping[str, Figures]
    """Answers that were made for this dataset."""
    reused: Figures | None
    """Those that were taken over from another one."""
    then: tuple[tuple[EngineMark, int], ...]
    """Engines of the sample with their numbers of answers."""
    now: EngineMark
    model: Mapping[str, str]
    """model, revision, chat_template_sha256: the same then and now."""
    sllm_data: Mapping[str, str]
    """Version of this package, `then` and `now`."""

    def as_json(self) -> dict[str, Any]:  # Any: JSON document
        """The same as plain values."""
        then = [asdict(mark) | {"answers": number} for mark, number in self.then]
        return asdict(self) | {"then": then}


def figures_of(outcomes: Sequence[Outcome]) -> Figures:
    """Adds up outcomes, of which there must be one at least."""
    distances = sorted(outcome.distance for outcome in outcomes)
    with_ids = [o for o in outcomes if o.tells_ids]
    return Figures(
        asked=len(outcomes),
        identical=sum(o.is_identical for o in outcomes),
        identical_text=sum(o.now is not None and o.then.text == o.now.text for o in outcomes),
        with_token_ids=len(with_ids),
        identical_token_ids=sum(
            o.now is not None and o.then.token_ids == o.now.token_ids for o in with_ids
        ),
        mean_distance=math.fsum(distances) / len(distances),
        p95_distance=distances[math.ceil(_QUANTILE * len(distances)) - 1],
        refused=sum(o.now is None for o in outcomes),
        finish_reasons={
            "then": _reasons(o.then for o in outcomes),
            "now": _reasons(o.now for o in outcomes if o.now),
        },
    )


def _reasons(answers: Iterable[Answer]) -> dict[str, int]:
    return dict(sorted(Counter(answer.finish_reason for answer in answers).items()))


def by_task(outcomes: Iterable[Outcome]) -> dict[str, Figures]:
    """Adds up outcomes by task."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.task, []).append(outcome)
    return {task: figures_of(group) for task, group in sorted(groups.items())}


def verdict_on(total: Figures, *, max_distance: float) -> Verdict:
    """Judges a replay: identical in everything, close on average, or different."""
    if total.identical == total.asked:
        return "identical"
    return "close" if total.mean_distance <= max_distance else "different"
