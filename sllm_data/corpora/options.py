"""What every kind of corpus lets run.yaml say, and the bounds of a usable clip.

Each field carries `change`: an identity field can't change once a dataset was begun, an
operational one may (a corpus that moved to another disk is still the same corpus).
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sllm_data.storage.places import Place

IDENTITY: dict[str, Any] = {"change": "identity"}  # Any: pydantic's own type for it
OPERATIONAL: dict[str, Any] = {"change": "operational"}

LANGUAGE_TAG = "[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*"
"""What a language is written like: `en`, `zh-CN`."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LANGUAGE_TAG = re.compile(LANGUAGE_TAG)


def is_plain_name(text: str) -> bool:
    """Tells whether the text may stand as one level of an audio_id or name a folder."""
    return _PLAIN_NAME.fullmatch(text) is not None


def is_language_tag(text: str) -> bool:
    """Tells whether the text is written like a language tag; the language may not exist."""
    return _LANGUAGE_TAG.fullmatch(text) is not None


def _plain_name(text: str) -> str:
    if not is_plain_name(text):
        raise ValueError(
            f"must be letters, digits, dots, dashes and underscores without slashes, got {text!r}"
        )
    return text


def quoted(value: object) -> object:
    """Refuses what YAML makes of unquoted text: `no` (Norwegian) is false, 17.0 a number."""
    if isinstance(value, bool | int | float):
        raise ValueError(  # noqa: TRY004 - pydantic reports ValueError only
            f"must be text, got {value!r}; put it in quotes"
        )
    return value


def listed(value: object) -> object:
    """Takes one name for a list of one."""
    return [value] if isinstance(value, str) else value


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses a list that names one thing twice."""
    if len(set(names)) != len(names):
        raise ValueError(f"must name each one once, got {list(names)}")
    return names


Name = Annotated[
    str, BeforeValidator(quoted, json_schema_input_type=str), AfterValidator(_plain_name)
]
Text = Annotated[str, BeforeValidator(quoted, json_schema_input_type=str), Field(min_length=1)]
Texts = Annotated[
    tuple[Text, ...],
    BeforeValidator(listed, json_schema_input_type=str | list[str]),
    AfterValidator(distinct),
]
Names = Annotated[
    tuple[Name, ...],
    BeforeValidator(listed, json_schema_input_type=str | list[str]),
    AfterValidator(distinct),
]


class Bounds(BaseModel):
    """What a clip must be to become an utterance; one set for the whole run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_duration_s: float = Field(
        0.3,
        ge=0,
        description="Shortest clip in seconds; below 0.3 s there is no room for a word.",
        json_schema_extra=IDENTITY,
    )
    max_duration_s: float = Field(
        40.0,
        gt=0,
        le=3600,
        description="Longest clip in seconds; 40 keeps all of LibriSpeech, an encoder with a "
        "window of 30 s may want less.",
        json_schema_extra=IDENTITY,
    )
    silence_peak_dbfs: float = Field(
        -60.0,
        le=0,
        description="A clip whose loudest sample stays at or below this level (decibels of full "
        "scale) is silent.",
        json_schema_extra=IDENTITY,
    )
    max_file_bytes: int = Field(
        64 * 2**20,
        gt=0,
        lt=2**31,
        description="Largest audio file in bytes; larger ones are not read.",
        json_schema_extra=IDENTITY,
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        _check_durations(self.min_duration_s, self.max_duration_s)
        return self

    def for_entry(self, config: "CorpusOptions") -> "Bounds":
        """Returns these bounds with a corpus entry's own durations in their place.

        Raises:
            ValueError: The entry's minimum is above the maximum that then holds.
        """
        return Bounds(
            min_duration_s=_either(config.min_duration_s, self.min_duration_s),
            max_duration_s=_either(config.max_duration_s, self.max_duration_s),
            silence_peak_dbfs=self.silence_peak_dbfs,
            max_file_bytes=self.max_file_bytes,
        )


class CorpusOptions(BaseModel):
    """The options that every kind of corpus takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    path: Place = Field(
        description="Folder of the corpus; it may move between runs.",
        json_schema_extra=OPERATIONAL,
    )
    name: Name | None = Field(
        None,
        description="First part of every audio_id, instead of the kind; needed where one corpus "
        "is listed twice.",
        json_schema_extra=IDENTITY,
    )
    weight: float | None = Field(
        None,
        gt=0,
        description="Share of this entry among all entries with a weight.",
        json_schema_extra=IDENTITY,
    )
    limit: int | None = Field(
        None,
        gt=0,
        description="At most so many utterances, chosen by hash.",
        json_schema_extra=IDENTITY,
    )
    sample: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the utterances to keep, chosen by hash.",
        json_schema_extra=IDENTITY,
    )
    min_duration_s: float | None = Field(
        None,
        ge=0,
        description="Shortest clip in seconds, instead of the run's.",
        json_schema_extra=IDENTITY,
    )
    max_duration_s: float | None = Field(
        None,
        gt=0,
        le=3600,
        description="Longest clip in seconds, instead of the run's.",
        json_schema_extra=IDENTITY,
    )
    split: Literal["auto", "corpus", "hash", "train"] = Field(
        "auto",
        description="Where splits come from: `corpus` its own, `hash` by speaker, `train` all "
        "train, `auto` its own where it has one and by speaker elsewhere.",
        json_schema_extra=IDENTITY,
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_duration_s is not None and self.max_duration_s is not None:
            _check_durations(self.min_duration_s, self.max_duration_s)
        return self


def _either(own: float | None, otherwise: float) -> float:
    return otherwise if own is None else own


def _check_durations(min_duration_s: float, max_duration_s: float) -> None:
    if min_duration_s > max_duration_s:
        raise ValueError(
            f"min_duration_s must be at most max_duration_s, "
            f"got {min_duration_s:g} and {max_duration_s:g}"
        )
