"""What run.yaml says about interleaving: which rows are cut, how, and how much stays speech."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_IDENTITY: dict[str, Any] = {"change": "identity"}  # Any: pydantic's own type


class InterleaveConfig(BaseModel):
    """How the clip of a row is replaced by stretches of speech and of text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    chance: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the aligned utterances whose rows are cut; 0 is never",
        json_schema_extra=_IDENTITY,
    )
    policy: Literal["word", "span", "poisson", "alternate", "sentence_range"] = Field(
        "span",
        description="word: stretches as short as `min_audio_s` allows; span: of so many words as "
        "`span_words` says; poisson: of a Poisson number of words; alternate: speech and text "
        "take turns; sentence_range: one range of whole sentences is heard",
        json_schema_extra=_IDENTITY,
    )
    speech_share: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="share of the words that is heard, in the mean over the rows, with word, span "
        "and poisson",
        json_schema_extra=_IDENTITY,
    )
    min_audio_s: float = Field(
        1.0,
        gt=0,
        description="shortest stretch of speech in seconds",
        json_schema_extra=_IDENTITY,
    )
    span_words: tuple[int, int] = Field(
        (5, 15),
        description="fewest and most words of a stretch with span",
        json_schema_extra=_IDENTITY,
    )
    poisson_mean: float = Field(
        10.0,
        gt=0,
        le=1000,
        description="mean words of a stretch with poisson; no more than are to be heard",
        json_schema_extra=_IDENTITY,
    )
    alternate: tuple[int, int] | Literal["sentences"] = Field(
        (8, 8),
        description="words heard and words read in turn, with alternate; or sentence by sentence",
        json_schema_extra=_IDENTITY,
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        fewest, most = self.span_words
        if not 1 <= fewest <= most:
            raise ValueError(f"span_words must be 1 or more, then no fewer, got {fewest}, {most}")
        if self.alternate != "sentences" and min(self.alternate) < 1:
            raise ValueError(f"alternate must be 1 or more, got {list(self.alternate)}")
        return self
