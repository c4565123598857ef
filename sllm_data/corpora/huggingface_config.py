"""The options of kind `huggingface`: which dataset is read, and which column means what."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sllm_data.corpora.options import (
    IDENTITY,
    LANGUAGE_TAG,
    OPERATIONAL,
    CorpusOptions,
    Name,
    Names,
    Text,
    Texts,
    is_plain_name,
)
from sllm_data.files import exists
from sllm_data.storage.places import Place

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9_][\w.-]*)?", re.ASCII)
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


class HuggingFaceColumns(BaseModel):
    """Names of columns: one or several, of which the first there counts; empty leaves a value out.

    `a.b` is the field b of column a. Of names that you set one must be there; of those found by
    default, `language`, `licence` and `attribution` give way to what the entry says itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    audio: Texts = Field(
        (),
        description="Encoded audio: bytes or a path; where empty the column of type `Audio`, else "
        "`audio`.",
        json_schema_extra=IDENTITY,
    )
    transcript: Texts = Field(
        (
            "transcript",
            "transcription",
            "sentence",
            "text",
            "normalized_text",
            "text_normalized",
            "raw_text",
            "txt",
            "json.transcript",
            "json.text",
        ),
        min_length=1,
        description="What is said.",
        json_schema_extra=IDENTITY,
    )
    id: Texts = Field(
        ("audio_id",),
        description="Last part of every audio_id, unique in its split; without one it is the "
        "number of the row.",
        json_schema_extra=IDENTITY,
    )
    speaker: Texts = Field(
        ("speaker_id", "client_id", "spk_id", "speaker", "speaker.id"),
        description="Who speaks: text or a number.",
        json_schema_extra=IDENTITY,
    )
    gender: Texts = Field(
        ("gender", "sex", "speaker.gender"),
        description="Of the speaker.",
        json_schema_extra=IDENTITY,
    )
    age: Texts = Field(
        ("age", "speaker.age"),
        description="Of the speaker.",
        json_schema_extra=IDENTITY,
    )
    accent: Texts = Field(
        ("accent", "accents", "speaker.accent"),
        description="Of the speaker.",
        json_schema_extra=IDENTITY,
    )
    emotion: Texts = Field(
        ("emotion", "speaker.emotion"),
        description="Of the speaker.",
        json_schema_extra=IDENTITY,
    )
    language: Texts = Field(
        ("language", "lang", "locale"),
        description="A tag such as `en` or `zh-CN`.",
        json_schema_extra=IDENTITY,
    )
    split: Texts = Field(
        ("corpus_split",),
        description="The corpus's own split, in words such as `train` and `dev`; without one the "
        "name of the dataset's split.",
        json_schema_extra=IDENTITY,
    )
    licence: Texts = Field(
        ("licence", "license", "source.licence"),
        description="Of the row, as an SPDX identifier where there is one.",
        json_schema_extra=IDENTITY,
    )
    attribution: Texts = Field(
        ("attribution", "source.attribution"),
        description="Whom the row is by.",
        json_schema_extra=IDENTITY,
    )


class HuggingFaceConfig(CorpusOptions):
    """One entry of kind `huggingface`."""

    kind: Literal["huggingface"] = Field(
        description="What `datasets.load_dataset` reads: `huggingface`.",
        json_schema_extra=IDENTITY,
    )
    path: Place = Field(
        description="Folder of the dataset, which may move between runs, or its id on the "
        "Hugging Face Hub, which may not change.",
        json_schema_extra=OPERATIONAL,
    )
    hub_id: Text | None = Field(
        None,
        description="Filled in from `path` where that is an id on the hub and no folder here.",
        json_schema_extra=IDENTITY,
    )
    name: Name | None = Field(
        None,
        description="First part of every audio_id; by default the id on the hub with two dashes "
        "for its slash, `huggingface` for a folder.",
        json_schema_extra=IDENTITY,
    )
    version: Name | None = Field(
        None,
        description="Second part of every audio_id; by default the revision, else `main` for a "
        "dataset of the hub and `local` for a folder.",
        json_schema_extra=IDENTITY,
    )
    config_name: Text | None = Field(
        None,
        description="Which configuration of the dataset; its default one where absent.",
        json_schema_extra=IDENTITY,
    )
    splits: Names = Field(
        (),
        description="Splits to read, such as `train`; all where empty.",
        json_schema_extra=IDENTITY,
    )
    revision: Text | None = Field(
        None,
        description="Branch, tag or commit on the hub; only a commit never moves.",
        json_schema_extra=IDENTITY,
    )
    streaming: bool = Field(
        default=False,
        description="Read the data files as they are, shard by shard, instead of preparing a "
        "copy in the cache of `datasets` first.",
        json_schema_extra=OPERATIONAL,
    )
    columns: HuggingFaceColumns = Field(
        HuggingFaceColumns(),
        description="Which column means what; further plain columns are kept in `extra`.",
        json_schema_extra=IDENTITY,
    )
    language: Annotated[Text, Field(pattern=f"^{LANGUAGE_TAG}$")] | None = Field(
        None,
        description="Language of the rows that name none, such as `de`.",
        json_schema_extra=IDENTITY,
    )
    licence: Text | None = Field(
        None,
        description="Licence of the rows that name none, as an SPDX identifier where there is "
        "one; by default what the dataset says, else `unknown`.",
        json_schema_extra=IDENTITY,
    )
    attribution: Text | None = Field(
        None,
        description="Whom the rows that name none are by; by default the id on the hub or the "
        "name of the entry.",
        json_schema_extra=IDENTITY,
    )
    hash_speakers: bool = Field(
        default=True,
        description="Store a salted hash instead of the speaker's id; false where ids are public "
        "and stand for nobody who must not be found.",
        json_schema_extra=IDENTITY,
    )

    @model_validator(mode="before")
    @classmethod
    def _find_hub_id(cls, fields: Any) -> Any:  # Any: what stands in run.yaml, yet unchecked
        if not isinstance(fields, dict) or "hub_id" in fields:
            return fields
        path = str(fields.get("path", ""))
        is_id = _HUB_ID.fullmatch(path) is not None and not exists(Path(path))
        return {**fields, "hub_id": path} if is_id else fields

    @model_validator(mode="after")
    def _revision_of_the_hub(self) -> Self:
        if self.revision is not None and self.hub_id is None:
            raise ValueError("revision must not be given for a folder: it has only one")
        return self

    @property
    def where(self) -> str:
        """The dataset as the library takes it: its id on the hub, or its folder."""
        return self.hub_id or str(self.path.expanduser().absolute())

    @property
    def corpus(self) -> str:
        """First part of every audio_id."""
        return self.name or (self.hub_id or self.kind).replace("/", "--")

    @property
    def audio_version(self) -> str:
        """Second part of every audio_id."""
        if self.version is not None:
            return self.version
        revision = _NOT_PLAIN.sub("-", self.revision or "")
        if is_plain_name(revision):
            return revision
        return "main" if self.hub_id else "local"
