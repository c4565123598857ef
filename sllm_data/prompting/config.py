"""What the author of a run chooses about wordings, templates and transcripts."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_IDENTITY: dict[str, Any] = {"change": "identity"}  # Any: JSON, as pydantic wants it


class PromptConfig(BaseModel):
    """Wordings, the layout of the prompt, and how the transcript is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    templates: dict[str, float] = Field(
        {"instruction_first": 1.0},
        min_length=1,
        description="prompt templates with their shares: a name in prompts/ or a path; "
        "`content_first` puts the speech before the instruction",
        json_schema_extra=_IDENTITY,
    )
    pools: tuple[Path, ...] = Field(
        (),
        description="folders with pools of your own; they add to and override the shipped ones",
        json_schema_extra=_IDENTITY,
    )
    instruction_languages: dict[str, float] = Field(
        {"en": 1.0},
        min_length=1,
        description="languages of the wordings with their shares; `utterance` is the speech's "
        "own language where a pool has it, else English",
        json_schema_extra=_IDENTITY,
    )
    preparation: Literal["as_read", "lower", "whisper", "restored"] = Field(
        "as_read",
        description="how the backbone is shown the transcript: as read, in lower case, "
        "normalised as for Whisper's scores, or with casing and punctuation restored by the "
        "backbone itself",
        json_schema_extra=_IDENTITY,
    )
    max_prompt_tokens: int = Field(
        1024,
        ge=1,
        description="longer prompts are rejections",
        json_schema_extra=_IDENTITY,
    )
