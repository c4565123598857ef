"""What run.yaml says about word times: who finds them, and when they are good enough."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sllm_data.storage.places import Place

_IDENTITY: dict[str, Any] = {"change": "identity"}  # Any: pydantic's own type
_OPERATIONAL: dict[str, Any] = {"change": "operational"}


class AlignmentConfig(BaseModel):
    """How the words of a transcript are found in its audio."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    backend: Literal["none", "auto", "files", "pocketsphinx", "ctc"] = Field(
        "none",
        description="none: no step `align`; files: word times that others made; pocketsphinx: "
        "English, needs nothing else; ctc: a model that was trained by CTC; auto: for each "
        "utterance the first of these that is there and knows its language",
        json_schema_extra=_IDENTITY,
    )
    files: Place | None = Field(
        None,
        description="a file with word times, or a folder that is searched for them: "
        "`.alignment.txt` (LibriSpeech's condensed ones), `.TextGrid`, `.ctm`",
        json_schema_extra=_OPERATIONAL,
    )
    tier: str | None = Field(
        None,
        description="the tier of words in a TextGrid; by default the one with `word` in its name, "
        "or the only one",
        json_schema_extra=_IDENTITY,
    )
    ctc_model: str | None = Field(
        None,
        description="folder or hub id of a model for transformers' AutoModelForCTC",
        json_schema_extra=_IDENTITY,
    )
    ctc_languages: tuple[str, ...] = Field(
        (),
        description="languages that the CTC model knows; all where empty",
        json_schema_extra=_IDENTITY,
    )
    min_confidence: float | None = Field(
        None,
        ge=0,
        le=1,
        description="least mean confidence of any 2 s of words; by default 0.05 with "
        "pocketsphinx, 0.1 with ctc, 0 with files",
        json_schema_extra=_IDENTITY,
    )
    min_aligned_fraction: float = Field(
        0.95,
        ge=0,
        le=1,
        description="a split of which a smaller share of the eligible utterances is aligned "
        "fails the step",
        json_schema_extra=_OPERATIONAL,
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.backend == "files" and self.files is None:
            raise ValueError("files must name the folder of the word times with backend: files")
        if self.backend == "ctc" and self.ctc_model is None:
            raise ValueError("ctc_model must name a model with backend: ctc")
        return self
