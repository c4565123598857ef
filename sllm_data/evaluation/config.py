"""Which metric a task gets, and the thresholds; a YAML file may change any of it.

    tasks:
      urgency: {metrics: [label_accuracy], main: label_accuracy, labels: [urgent, routine]}
    limits: {my_summary.en.01: {max_words: 15}}
    anchor: {max_copy_rate: 0.8}

A task that is named there gets what stands there and nothing of its default.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from sllm_data.documents import read_document, sentence_of
from sllm_data.errors import ConfigError
from sllm_data.evaluation.limits import LIMITS, Limits
from sllm_data.filtering.config import FilterConfig

MetricName = Literal[
    "wer_raw",
    "wer",
    "cer",
    "word_accuracy",
    "bleu",
    "chrf",
    "rouge_l",
    "exact_match_raw",
    "exact_match",
    "label_accuracy",
    "keyword_f1",
]
MainName = Literal[
    "word_accuracy",
    "bleu",
    "chrf",
    "rouge_l",
    "exact_match_raw",
    "exact_match",
    "label_accuracy",
    "keyword_f1",
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskScoring(_Model):
    """How the answers of one task are scored."""

    metrics: tuple[MetricName, ...] = Field(
        ("exact_match", "chrf", "rouge_l"), description="The metrics that are reported."
    )
    main: MainName = Field(
        "rouge_l",
        description="The one that ratios and means over tasks are made of; more is better.",
    )
    may_copy: bool = Field(
        default=False, description="Whether the transcript is a right answer, as in transcription."
    )
    expects_json: bool = Field(default=False, description="Whether the answer must be JSON.")
    labels: tuple[str, ...] = Field(
        (), description="The labels that `label_accuracy` looks for in answer and reference."
    )

    @model_validator(mode="after")
    def _has_labels(self) -> "TaskScoring":
        if not self.labels and "label_accuracy" in (self.main, *self.metrics):
            raise ValueError("labels must be listed for label_accuracy")
        return self


def _words(main: MainName = "word_accuracy") -> TaskScoring:
    return TaskScoring(metrics=("wer_raw", "wer", "cer", "exact_match"), main=main, may_copy=True)


def _labels(*labels: str) -> TaskScoring:
    return TaskScoring(
        metrics=("label_accuracy", "exact_match", "exact_match_raw"),
        main="label_accuracy",
        labels=labels,
    )


_LISTED = TaskScoring(metrics=("keyword_f1", "exact_match"), main="keyword_f1")
_EXACT = TaskScoring(metrics=("exact_match", "exact_match_raw"), main="exact_match")

TASKS: dict[str, TaskScoring] = {
    "transcription": _words(),
    "repetition": _words(),
    "stretch_transcription": _words(),
    "stretch_continuation": _words("rouge_l"),
    "translation": TaskScoring(metrics=("bleu", "chrf", "exact_match"), main="chrf"),
    "keywords": _LISTED,
    "entities": _LISTED,
    "sentiment": _labels("positive", "negative", "neutral"),
    "formality": _labels("formal", "informal", "neutral"),
    "verification": _labels("yes", "no"),
    "topic": _EXACT,
    "where": _EXACT,
    "when": _EXACT,
    "who": _EXACT,
    "what": _EXACT,
    "opposite": _EXACT,
}
"""Tasks whose answers have a form of their own; all others are compared as free text."""

_FREE_TEXT = TaskScoring()


class AnchorConfig(_Model):
    """When an answer is a copy of the transcript."""

    max_copy_rate: float = Field(
        0.8, gt=0, le=1, description="An answer with this copy rate or more is a copy."
    )
    min_words: int = Field(
        3, ge=1, description="Rows with shorter transcripts are not judged; words."
    )


class BootstrapConfig(_Model):
    """Confidence intervals."""

    resamples: int = Field(1_000, ge=100, description="How often the rows are drawn again.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Share of them inside the interval.")
    seed: int = Field(0, description="Of the draws.")


_CHECKS: dict[str, Any] = {"truncated": "drop", "copied": False}  # Any: fields of FilterConfig


def _over_defaults(checks: Any) -> Any:  # Any: what a user wrote, before it is checked
    return _CHECKS | checks if isinstance(checks, dict) else checks


class EvaluationConfig(_Model):
    """All that turns predictions into figures."""

    tasks: dict[str, TaskScoring] = Field(
        {}, description="Scoring by task; tasks that are not named keep their default."
    )
    limits: dict[str, Limits | None] = Field(
        {},
        description="Length and form that wordings ask for, by their ids; those of the shipped "
        "pools are known. Null: nothing.",
    )
    anchor: AnchorConfig = Field(AnchorConfig(), description="What counts as a copy.")
    checks: Annotated[FilterConfig, BeforeValidator(_over_defaults)] = Field(
        FilterConfig(**_CHECKS),
        description="What is checked of every answer; copies are `anchor`'s.",
    )
    bootstrap: BootstrapConfig = Field(BootstrapConfig(), description="Confidence intervals.")

    def scoring(self, task: str) -> TaskScoring:
        """Returns how a task is scored."""
        return self.tasks.get(task) or TASKS.get(task, _FREE_TEXT)

    def limits_of(self, instruction_id: str) -> Limits | None:
        """Returns what a wording asks of length and form; None where it asks nothing."""
        if instruction_id in self.limits:
            return self.limits[instruction_id]
        return LIMITS.get(instruction_id)


def load_evaluation_config(path: Path | None) -> EvaluationConfig:
    """Reads a file of scoring; without one, returns the defaults.

    Raises:
        ConfigError: It can't be read, or a field is unknown or out of range.
    """
    if path is None:
        return EvaluationConfig()
    document = read_document(path)
    try:
        return EvaluationConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: {sentence_of(error, EvaluationConfig)}") from error
