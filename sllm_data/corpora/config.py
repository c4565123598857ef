"""The kinds of corpora that run.yaml may list; nothing is read from disk here."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from sllm_data.corpora.huggingface_config import HuggingFaceConfig
from sllm_data.corpora.manifest_config import ManifestConfig
from sllm_data.corpora.options import (
    IDENTITY,
    OPERATIONAL,
    Bounds,
    CorpusOptions,
    Name,
    Names,
    Text,
    distinct,
    is_plain_name,
    listed,
)

__all__ = [
    "IDENTITY",
    "OPERATIONAL",
    "Bounds",
    "CommonVoiceConfig",
    "CorpusConfig",
    "CorpusOptions",
    "HuggingFaceConfig",
    "LibriSpeechConfig",
    "ManifestConfig",
    "Table",
    "is_plain_name",
]

Table = Literal["train", "dev", "test", "validated", "other", "invalidated"]


_Tables = Annotated[
    tuple[Table, ...],
    BeforeValidator(listed, json_schema_input_type=Table | list[Table]),
    AfterValidator(distinct),
    Field(min_length=1),
]


class LibriSpeechConfig(CorpusOptions):
    """One entry of kind `librispeech`."""

    kind: Literal["librispeech"] = Field(
        description="The layout: `librispeech`.", json_schema_extra=IDENTITY
    )
    subsets: Names = Field(
        (),
        description="Subsets to read, such as `train-clean-100`; all on disk where empty.",
        json_schema_extra=IDENTITY,
    )
    version: Name = Field(
        "slr12",
        description="Second part of every audio_id; the archives carry no version, so it is "
        "their number at OpenSLR (`slr31` for Mini LibriSpeech).",
        json_schema_extra=IDENTITY,
    )
    licence: Text = Field(
        "CC-BY-4.0",
        description="Licence of all rows, as an SPDX identifier; another corpus in this layout "
        "has its own.",
        json_schema_extra=IDENTITY,
    )
    attribution: Text = Field(
        "LibriSpeech by V. Panayotov, G. Chen, D. Povey and S. Khudanpur, from LibriVox "
        "recordings",
        description="Whom all rows are by; another corpus in this layout has its own.",
        json_schema_extra=IDENTITY,
    )


class CommonVoiceConfig(CorpusOptions):
    """One entry of kind `common_voice`."""

    kind: Literal["common_voice"] = Field(
        description="The layout: `common_voice`.", json_schema_extra=IDENTITY
    )
    locales: Names = Field(
        (),
        description="Locales to read, such as `de`; all on disk where empty.",
        json_schema_extra=IDENTITY,
    )
    tsv: _Tables = Field(
        ("validated",),
        description="Table or tables to read, the first one wins where a clip stands in several: "
        "`train`, `dev`, `test`, `validated`, `other`, `invalidated`.",
        json_schema_extra=IDENTITY,
    )
    version: Name | None = Field(
        None,
        description="Second part of every audio_id; by default what follows `cv-corpus-` in the "
        "folder's name.",
        json_schema_extra=IDENTITY,
    )
    licence: Text = Field(
        "CC0-1.0",
        description="Licence of all rows, as an SPDX identifier; another corpus in this layout "
        "has its own.",
        json_schema_extra=IDENTITY,
    )
    attribution: Text = Field(
        "Mozilla Common Voice and its contributors",
        description="Whom all rows are by; another corpus in this layout has its own.",
        json_schema_extra=IDENTITY,
    )
    min_up_votes: int | None = Field(
        None,
        ge=0,
        description="Fewest votes for a clip.",
        json_schema_extra=IDENTITY,
    )
    max_down_votes: int | None = Field(
        None,
        ge=0,
        description="Most votes against a clip.",
        json_schema_extra=IDENTITY,
    )


CorpusConfig = Annotated[
    LibriSpeechConfig | CommonVoiceConfig | HuggingFaceConfig | ManifestConfig,
    Field(discriminator="kind"),
]
