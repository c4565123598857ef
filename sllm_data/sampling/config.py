"""What the author of a run chooses about tasks, their mix, and splits."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_IDENTITY: dict[str, Any] = {"change": "identity"}  # Any: pydantic's own type
_MODEL = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

LanguageCode = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]


class TaskConfig(BaseModel):
    """One task: how often it is asked, of which utterances, and what an answer may be."""

    model_config = _MODEL

    weight: float = Field(
        1.0, ge=0, description="relative share of the requests", json_schema_extra=_IDENTITY
    )
    target: Literal["generated", "transcript"] = Field(
        "generated",
        description="generated: the backbone answers; transcript: the transcript is the answer",
        json_schema_extra=_IDENTITY,
    )
    supervision: Literal["answer", "repeat", "next"] = Field(
        "answer",
        description="answer: to all that is said; repeat: after each stretch of speech its own "
        "text is trained; next: the text that follows it. The last two cut every clip, and need "
        "target: transcript",
        json_schema_extra=_IDENTITY,
    )
    question: Literal["none", "question", "statement"] = Field(
        "none",
        description="what the backbone writes about the transcript first, for the wording's "
        "{{ question }} or {{ statement }}: a question, or a statement that is true or false, "
        "either as likely",
        json_schema_extra=_IDENTITY,
    )
    needs_emotion: bool = Field(
        False,
        description="asked only where the corpus knows the speaker's emotion, which the text side "
        "of the wording names as {{ emotion }}",
        json_schema_extra=_IDENTITY,
    )
    max_tokens: int = Field(
        160, ge=1, description="longest answer, in tokens", json_schema_extra=_IDENTITY
    )
    temperature: float | None = Field(
        None,
        ge=0,
        description="overrides the backbone's temperature for this task",
        json_schema_extra=_IDENTITY,
    )
    to: tuple[LanguageCode, ...] = Field(
        (),
        description="languages to translate into, one drawn per row, never the utterance's own",
        json_schema_extra=_IDENTITY,
    )
    languages: tuple[LanguageCode, ...] = Field(
        (), description="speech languages it is asked of; empty: all", json_schema_extra=_IDENTITY
    )
    min_words: int = Field(
        1, ge=1, description="shortest transcript it is asked of", json_schema_extra=_IDENTITY
    )
    response_language: Literal["utterance", "instruction", "to", "any"] = Field(
        "any",
        description="which language the answer must be in, for the language filter",
        json_schema_extra=_IDENTITY,
    )
    may_copy: bool = Field(
        False,
        description="whether a copy of the transcript is a right answer",
        json_schema_extra=_IDENTITY,
    )
    expects_json: bool = Field(
        False, description="whether the answer must be JSON", json_schema_extra=_IDENTITY
    )
    held_out: bool = Field(
        False,
        description="asked of validation and test only, to measure generalisation to tasks",
        json_schema_extra=_IDENTITY,
    )

    @model_validator(mode="after")
    def _languages_fit(self) -> Self:
        if self.response_language == "to" and not self.to:
            raise ValueError("response_language 'to' needs at least one language in `to`")
        if self.supervision != "answer" and self.target != "transcript":
            raise ValueError(f"supervision '{self.supervision}' needs target: transcript")
        if self.question != "none" and self.target != "generated":
            raise ValueError(f"question '{self.question}' needs target: generated")
        return self


class DrawConfig(BaseModel):
    """How many tasks an utterance gets and how they are chosen."""

    model_config = _MODEL

    mode: Literal["draw", "quota"] = Field(
        "draw",
        description="draw: weighted chance per utterance; quota: exact shares over all requests "
        "of a split (largest remainder)",
        json_schema_extra=_IDENTITY,
    )
    multi_task_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="share of the utterances that get several tasks: the same audio under "
        "different instructions is what teaches a model to listen to the instruction",
        json_schema_extra=_IDENTITY,
    )
    multi_task_count: int = Field(
        2, ge=2, description="how many tasks such an utterance gets", json_schema_extra=_IDENTITY
    )


class FollowupConfig(BaseModel):
    """Second turns: the backbone asks on about what was said, and answers."""

    model_config = _MODEL

    chance: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the generated answers that get a second turn; 0 is never",
        json_schema_extra=_IDENTITY,
    )
    max_tokens: int = Field(
        160, ge=1, description="longest second answer, in tokens", json_schema_extra=_IDENTITY
    )


class SplitConfig(BaseModel):
    """Shares of the speakers that go to validation and test where splits are by hash."""

    model_config = _MODEL

    validation: float = Field(
        0.02, ge=0, lt=1, description="share of the speakers", json_schema_extra=_IDENTITY
    )
    test: float = Field(
        0.02, ge=0, lt=1, description="share of the speakers", json_schema_extra=_IDENTITY
    )

    @model_validator(mode="after")
    def _leaves_train(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation + test must be below 1, got {self.validation + self.test:g}"
            )
        return self
