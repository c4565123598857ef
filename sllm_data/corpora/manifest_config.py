"""The options of kind `manifest`: which lists, where their audio lies, which key is what."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sllm_data.corpora.options import (
    IDENTITY,
    LANGUAGE_TAG,
    OPERATIONAL,
    CorpusOptions,
    Name,
    Text,
    Texts,
)
from sllm_data.storage.places import Place


class ManifestColumns(BaseModel):
    """The keys of a manifest's lines: one name or several, of which the first there counts.

    An empty list leaves a value out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    audio: Texts = Field(
        ("audio_filepath",),
        min_length=1,
        description="Path of the audio: below `audio_root`, or `archive.tar:member`.",
        json_schema_extra=IDENTITY,
    )
    transcript: Texts = Field(
        ("text",), min_length=1, description="What is said.", json_schema_extra=IDENTITY
    )
    offset: Texts = Field(
        ("offset",),
        description="Where in the audio the utterance begins, in seconds.",
        json_schema_extra=IDENTITY,
    )
    duration: Texts = Field(
        ("duration",),
        description="How long the utterance lasts, in seconds.",
        json_schema_extra=IDENTITY,
    )
    id: Texts = Field(
        ("id", "utt_id", "utterance_id"),
        description="Last part of the audio_id; without one it is made of path and times.",
        json_schema_extra=IDENTITY,
    )
    language: Texts = Field(
        ("lang", "language"),
        description="A tag such as `en` or `zh-CN`.",
        json_schema_extra=IDENTITY,
    )
    speaker: Texts = Field(
        ("speaker",), description="Who speaks: text or a whole number.", json_schema_extra=IDENTITY
    )
    gender: Texts = Field(("gender",), description="Of the speaker.", json_schema_extra=IDENTITY)
    age: Texts = Field(
        ("age",), description="Of the speaker: text or a whole number.", json_schema_extra=IDENTITY
    )
    accent: Texts = Field(("accent",), description="Of the speaker.", json_schema_extra=IDENTITY)
    emotion: Texts = Field(("emotion",), description="Of the speaker.", json_schema_extra=IDENTITY)
    split: Texts = Field(
        ("split",),
        description="The corpus's own split, in words such as `train`, `dev` and `test`.",
        json_schema_extra=IDENTITY,
    )
    shard: Texts = Field(
        ("shard_id",),
        description="What stands for `{shard}` in `archive`: text or a whole number.",
        json_schema_extra=IDENTITY,
    )


class ManifestConfig(CorpusOptions):
    """One entry of kind `manifest`."""

    kind: Literal["manifest"] = Field(
        description="One JSON object a line, with NeMo's keys: `manifest`.",
        json_schema_extra=IDENTITY,
    )
    path: Place = Field(
        description="The manifest, or the folder of those in `manifests`; it may move between "
        "runs.",
        json_schema_extra=OPERATIONAL,
    )
    manifests: Texts = Field(
        (),
        description="Manifests below the folder `path`, in the order in which they are read.",
        json_schema_extra=IDENTITY,
    )
    audio_root: Place | None = Field(
        None,
        description="Folder that paths in the manifest start from and may not leave; by default "
        "the folder of the manifest.",
        json_schema_extra=OPERATIONAL,
    )
    archive: Text | None = Field(
        None,
        description="Tar or zip below `audio_root` whose members the paths name; `{shard}` in it "
        "is the row's own: `audio_{shard}.tar`.",
        json_schema_extra=IDENTITY,
    )
    columns: ManifestColumns = Field(
        ManifestColumns(),
        description="Which key means what; all other keys are kept in `extra`.",
        json_schema_extra=IDENTITY,
    )
    version: Name = Field(
        "1", description="Second part of every audio_id.", json_schema_extra=IDENTITY
    )
    language: Annotated[Text, Field(pattern=f"^{LANGUAGE_TAG}$")] | None = Field(
        None,
        description="Language of the rows that name none, such as `de`.",
        json_schema_extra=IDENTITY,
    )
    corpus_split: Literal["train", "validation", "test"] | None = Field(
        None,
        description="The corpus's own split, for the rows that name none.",
        json_schema_extra=IDENTITY,
    )
    licence: Text = Field(
        "unknown",
        description="Licence of all rows, as an SPDX identifier where there is one.",
        json_schema_extra=IDENTITY,
    )
    attribution: Text | None = Field(
        None,
        description="Whom all rows are by; by default the name of the entry.",
        json_schema_extra=IDENTITY,
    )
    hash_speakers: bool = Field(
        default=True,
        description="Store a salted hash instead of the speaker's id; false where ids are public "
        "and stand for nobody who must not be found.",
        json_schema_extra=IDENTITY,
    )

    @property
    def where(self) -> str:
        """The folder of the audio, as it is written."""
        return str(self.audio_root or (self.path if self.manifests else self.path.parent))

    @field_validator("archive")
    @classmethod
    def _known_archive(cls, archive: str | None) -> str | None:
        if archive is not None and not archive.endswith((".tar", ".zip")):
            raise ValueError(
                "archive must end in .tar or .zip; a compressed tar can't be read member by "
                "member: uncompress it"
            )
        return archive
