"""What of which datasets is trained, how often, and in packs of which size."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sllm_data.storage.places import Place

Weight = Annotated[float, Field(ge=0, le=1000)]
Split = Literal["train", "validation", "test"]
EvalGroup = Literal["train", "held_out_instruction", "held_out_task"]

OPERATIONAL_DATA = frozenset({"workers", "prefetch", "kept_gib"})
"""Fields of DataConfig that change how fast packs are made, and nothing of what is in them."""


class WeightConfig(BaseModel):
    """How often a row is seen in an epoch; what is not named has the weight 1.

    The weights of a row are multiplied. 2 is twice; 0.5 is every other row, others in each
    epoch; 0 is never.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tasks: dict[str, Weight] = Field({}, description="by task: {transcribe: 0.5}")
    kinds: dict[str, Weight] = Field({}, description="by kind: {interleaved: 2}")
    corpora: dict[str, Weight] = Field({}, description="by corpus: {librispeech: 1}")


class DatasetEntry(BaseModel):
    """One dataset, and which of its rows are taken."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    path: Place = Field(description="the dataset's folder or URL: samples/ and audio/")
    weight: Weight = Field(1.0, description="how often its rows are seen in an epoch")
    split: Split = Field("train", description="rows of this split")
    eval_group: EvalGroup = Field("train", description="rows of this group")
    tasks: tuple[str, ...] = Field((), description="only these tasks; all where empty")
    kinds: tuple[str, ...] = Field((), description="only these kinds; all where empty")
    corpora: tuple[str, ...] = Field((), description="only these corpora; all where empty")
    weights: WeightConfig = Field(WeightConfig(), description="by task, kind and corpus")
    allow_other_template: bool = Field(
        False,
        description="take answers that were asked for by another chat template than the LLM's: "
        "those of another backbone",
    )


class DataConfig(BaseModel):
    """The rows of a training and how they are packed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    datasets: tuple[DatasetEntry, ...] = Field(min_length=1, description="what is trained on")
    budget: int = Field(
        4096,
        ge=16,
        le=2**24,
        description="positions of a pack: text and audio together; longer rows are skipped",
    )
    shuffle_window: int = Field(
        8192, ge=1, le=2**22, description="rows that are shuffled among one another"
    )
    lookahead: int = Field(
        64, ge=1, le=4096, description="rows among which one is sought that still fits a pack"
    )
    text_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="chance of a row to be read instead of heard: its text side is trained",
    )
    workers: int = Field(
        2, ge=0, le=256, description="processes that make packs; 0 makes them in the trainer's own"
    )
    prefetch: int = Field(4, ge=1, le=256, description="packs that each worker makes ahead")

    kept_gib: float = Field(
        0.0,
        ge=0,
        le=4096,
        description="memory of each process that makes packs, for the features of clips: one that "
        "comes again, in another epoch or for another task, is not decoded again; an hour of "
        "speech takes 0.11 GiB with 80 mels",
    )

    @model_validator(mode="after")
    def _something_to_see(self) -> Self:
        if all(entry.weight == 0 for entry in self.datasets):
            raise ValueError("at least one dataset must have a weight above 0")
        return self
