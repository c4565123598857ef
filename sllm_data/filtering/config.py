"""Which verdicts on responses are on, and their thresholds.

What each verdict measures, with its formula, stands in docs/filtering.md. All fields are
identity: another threshold is another dataset.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sllm_data.filtering.language import DEFAULT_LANGUAGES, language_code

_IDENTITY: dict[str, Any] = {"change": "identity"}  # Any: pydantic's own type for this argument


class FilterConfig(BaseModel):
    """Switches and thresholds of all verdicts on responses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    truncated: Literal["keep", "mark", "drop"] = Field(
        default="mark",
        description="What becomes of a response that was cut off at max_tokens.",
        json_schema_extra=_IDENTITY,
    )
    empty: bool = Field(
        default=True,
        description="Drop responses without a letter, digit or symbol.",
        json_schema_extra=_IDENTITY,
    )
    refusal: bool = Field(
        default=True,
        description="Drop refusals and talk of being a language model.",
        json_schema_extra=_IDENTITY,
    )
    repetition: bool = Field(
        default=True,
        description="Drop responses that run in a loop.",
        json_schema_extra=_IDENTITY,
    )
    repetition_max_share: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="A loop that covers this share of the response or more is dropped.",
        json_schema_extra=_IDENTITY,
    )
    repetition_min_words: int = Field(
        default=12,
        ge=2,
        description="A shorter run is emphasis, not a loop (words; characters in CJK, Thai).",
        json_schema_extra=_IDENTITY,
    )
    wrong_language: bool = Field(
        default=True,
        description="Drop responses that are surely in another language than expected.",
        json_schema_extra=_IDENTITY,
    )
    languages: tuple[str, ...] = Field(
        default=DEFAULT_LANGUAGES,
        description="Languages told apart, beside the one that is expected of a response.",
        json_schema_extra=_IDENTITY,
    )
    language_min_letters: int = Field(
        default=20,
        ge=1,
        description="Shorter responses are not judged; a CJK or Thai character counts as two.",
        json_schema_extra=_IDENTITY,
    )
    language_max_expected: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Wrong only where the expected language has at most this confidence ...",
        json_schema_extra=_IDENTITY,
    )
    language_min_other: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="... and one other language has at least this one.",
        json_schema_extra=_IDENTITY,
    )
    language_max_expected_in_lists: float = Field(
        default=0.005,
        ge=0,
        lt=1,
        description="The same for lists of short items, which may be names or loan words.",
        json_schema_extra=_IDENTITY,
    )
    language_min_other_in_lists: float = Field(
        default=0.99,
        gt=0,
        le=1,
        description="The same for lists of short items.",
        json_schema_extra=_IDENTITY,
    )
    broken_json: bool = Field(
        default=True,
        description="Drop what is no JSON object or array where the task asks for JSON.",
        json_schema_extra=_IDENTITY,
    )
    json_allow_fence: bool = Field(
        default=True,
        description="Accept JSON inside a Markdown code fence.",
        json_schema_extra=_IDENTITY,
    )
    copied: bool = Field(
        default=True,
        description="Drop copies of the transcript where the task does not ask for one.",
        json_schema_extra=_IDENTITY,
    )
    copy_max_rate: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="A copy rate of this or more is a copy.",
        json_schema_extra=_IDENTITY,
    )
    copy_max_rate_by_task: dict[str, float] = Field(
        default={"keywords": 0.95, "summary": 0.95},
        description="The same for tasks whose good answers reuse the transcript's words.",
        json_schema_extra=_IDENTITY,
    )
    copy_min_words: int = Field(
        default=5,
        ge=1,
        description="Shorter transcripts are not judged; a CJK or Thai character is half a word.",
        json_schema_extra=_IDENTITY,
    )
    leaked_template: bool = Field(
        default=True,
        description="Drop responses that hold control tokens or role markers.",
        json_schema_extra=_IDENTITY,
    )
    judge: bool = Field(
        default=False,
        description="Let the backbone judge each response, and drop the poor ones.",
        json_schema_extra=_IDENTITY,
    )
    judge_keep: int = Field(
        default=3,
        ge=1,
        le=5,
        description="The lowest score, of 1 to 5, that is kept.",
        json_schema_extra=_IDENTITY,
    )
    judge_unscored: Literal["keep", "drop"] = Field(
        default="drop",
        description="What becomes of a response for which the judge gave no readable score.",
        json_schema_extra=_IDENTITY,
    )

    @field_validator("languages")
    @classmethod
    def _languages_are_known(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [language for language in languages if language_code(language) is None]
        if unknown:
            raise ValueError(f"languages must be known to the detector, got {unknown}")
        if len({language_code(language) for language in languages}) < 2:  # noqa: PLR2004 - a choice
            raise ValueError(f"languages must name at least two, got {list(languages)}")
        return languages

    @field_validator("copy_max_rate_by_task")
    @classmethod
    def _rates_are_shares(cls, rates: dict[str, float]) -> dict[str, float]:
        for task, rate in rates.items():
            if not 0 < rate <= 1:
                raise ValueError(f"copy_max_rate_by_task.{task} must be in (0, 1], got {rate}")
        return rates
