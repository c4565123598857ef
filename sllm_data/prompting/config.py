"""What the author of a run chooses about wordings, templates and transcripts."""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sllm_data.storage.places import Place

_IDENTITY: dict[str, Any] = {"change": "identity"}  # Any: JSON, as pydantic wants it


def _shares(shares: dict[str, float]) -> dict[str, float]:
    for name, share in shares.items():
        if not (math.isfinite(share) and share > 0):
            raise ValueError(f"the share of {name!r} must be above 0, got {share!r}")
    return shares


Shares = Annotated[dict[str, float], Field(min_length=1), AfterValidator(_shares)]


class PromptConfig(BaseModel):
    """Wordings, the layout of the prompt, and how the transcript is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    templates: Shares = Field(
        {"instruction_first": 1.0},
        description="prompt templates with their shares: a name in prompts/ or a path; "
        "`content_first` puts the speech before the instruction",
        json_schema_extra=_IDENTITY,
    )
    pools: tuple[Place, ...] = Field(
        (),
        description="folders with pools of your own; they add to and override the shipped ones. "
        "The folders may move; what is in them is part of what the rows depend on",
        json_schema_extra={"change": "operational"},
    )
    instruction_languages: Shares = Field(
        {"en": 1.0},
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
