"""TrainConfig: the one document that says what a training makes (`train.yaml`).

It composes the configurations that stand beside their owners. `--set a.b=c` wins over the file.
Fields marked operational say where, how fast, and what is told of it; they may change between
a stop and the next start. All others decide about the weights that come out: with another value
a training is not gone on with.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sllm_data.documents import Document, apply_override, identity_of, read_document, sentence_of
from sllm_data.errors import ConfigError
from sllm_data.trainer.data.config import OPERATIONAL_DATA, DataConfig, DatasetEntry
from sllm_data.trainer.model.config import LossConfig, ModelConfig

_OPERATIONAL: dict[str, Any] = {"change": "operational"}  # Any: pydantic's own type

Group = Literal["connector", "llm", "encoder"]
"""Parameters that share a learning rate."""


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LearningRates(_Config):
    """Of each part of the model; what has 0 stays as it is."""

    connector: float = Field(1e-3, ge=0, description="of the connector")
    llm: float = Field(1e-4, ge=0, description="of the LLM, or of its LoRA")
    encoder: float = Field(0.0, ge=0, description="of the encoder, or of its LoRA")


class StageConfig(_Config):
    """Some steps with learning rates of their own: connector first, then connector and LoRA."""

    steps: int = Field(ge=1, description="updates of the weights")
    learning_rates: LearningRates = Field(LearningRates(), description="the highest of the stage")
    warmup_steps: int = Field(0, ge=0, description="in which learning rates rise from nothing")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="how learning rates go on after the warm-up"
    )
    final_share: float = Field(
        0.1, ge=0, le=1, description="of the highest learning rate, at the end of the stage"
    )

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps must be fewer than steps, got {self.warmup_steps} of {self.steps}"
            )
        if not any(self.learning_rates.model_dump().values()):
            raise ValueError("one learning rate of a stage must be above 0, all are 0")
        return self


class OptimizerConfig(_Config):
    """AdamW."""

    betas: tuple[float, float] = Field((0.9, 0.99), description="of the two running means")
    eps: float = Field(1e-8, gt=0, description="added to the root of the second mean")
    weight_decay: float = Field(
        0.0, ge=0, description="share of the learning rate by which matrices shrink in a step"
    )
    max_grad_norm: float = Field(
        1.0, gt=0, description="gradients of all parts together are scaled down to this norm"
    )

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if any(not 0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be in [0, 1), got {list(self.betas)}")
        return self


class BudgetConfig(_Config):
    """How large a pack may be where that is to be found out."""

    automatic: bool = Field(
        False,
        description="measure which budget of positions fits, up to data.budget, and keep to it",
    )
    memory_gib: float | None = Field(
        None, gt=0, description="that a step may take; on a GPU nine tenths of it where absent"
    )


class CheckpointConfig(_Config):
    """When all that a training needs to go on is written down."""

    every_steps: int = Field(
        500, ge=1, description="and at the end of each stage", json_schema_extra=_OPERATIONAL
    )
    keep: int = Field(
        2,
        ge=1,
        description="checkpoints that stay; with 2 there is one before the newest",
        json_schema_extra=_OPERATIONAL,
    )


class ValidationConfig(_Config):
    """The loss on rows that are not trained."""

    every_steps: int = Field(0, ge=0, description="0 is never", json_schema_extra=_OPERATIONAL)
    split: Literal["validation", "test"] = Field(
        "validation", description="whose rows are asked", json_schema_extra=_OPERATIONAL
    )
    datasets: tuple[DatasetEntry, ...] = Field(
        (),
        description="whose split is asked; those of data where empty",
        json_schema_extra=_OPERATIONAL,
    )
    packs: int = Field(
        8,
        ge=1,
        description="that are asked each time, the same ones",
        json_schema_extra=_OPERATIONAL,
    )


class LoggingConfig(_Config):
    """Where figures go besides `metrics.jsonl`."""

    boards: tuple[Literal["tensorboard", "wandb"], ...] = Field(
        ("tensorboard",), description="none where empty", json_schema_extra=_OPERATIONAL
    )
    project: str = Field(
        "sllm-data", description="of Weights & Biases", json_schema_extra=_OPERATIONAL
    )
    peak_tflops: float | None = Field(
        None,
        gt=0,
        description="what the machine can do in this precision, for MFU; known for some GPUs",
        json_schema_extra=_OPERATIONAL,
    )


class TrainConfig(_Config):
    """Everything a training depends on, checked and complete."""

    output: Path = Field(description="the training's folder", json_schema_extra=_OPERATIONAL)
    seed: int = Field(
        ge=0, lt=2**31, description="of fresh weights, dropout and the order of rows"
    )
    data: DataConfig = Field(description="what is trained on")
    model: ModelConfig = Field(description="what is trained")
    losses: LossConfig = Field(LossConfig(), description="what is minimised")
    start_from: Path | None = Field(
        None,
        description="another training's folder: what it trained is begun with; fresh where absent",
    )
    stages: tuple[StageConfig, ...] = Field(min_length=1, description="one after the other")
    optimizer: OptimizerConfig = Field(OptimizerConfig(), description="how weights are updated")
    accumulation: int = Field(1, ge=1, description="packs of each process in one step")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the computation; what is trained is kept in fp32"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="auto: a GPU where there is one",
        json_schema_extra=_OPERATIONAL,
    )
    budget: BudgetConfig = Field(BudgetConfig(), description="of a pack, found by measuring")
    checkpoints: CheckpointConfig = Field(CheckpointConfig(), description="for going on")
    validation: ValidationConfig = Field(ValidationConfig(), description="on other rows")
    logging: LoggingConfig = Field(LoggingConfig(), description="what is told of it")

    @property
    def num_steps(self) -> int:
        """Updates of all stages together."""
        return sum(stage.steps for stage in self.stages)

    @property
    def places(self) -> tuple[Path, ...]:
        """Datasets that are read, each once: what is trained on, and what is asked between."""
        asked = self.validation.datasets if self.validation.every_steps else ()
        return tuple(dict.fromkeys(entry.path for entry in (*self.data.datasets, *asked)))

    @model_validator(mode="after")
    def _something_is_trained(self) -> Self:
        frozen = [part for part in ("llm", "encoder") if self.mode_of(part) == "frozen"]
        for number, stage in enumerate(self.stages):
            rates = stage.learning_rates
            for part in frozen:
                if getattr(rates, part) and part in rates.model_fields_set:
                    raise ValueError(
                        f"stages.{number}.learning_rates.{part} must be 0 or left out while "
                        f"model.{part}.mode is frozen, got {getattr(rates, part)}"
                    )
            if not any(rate for part, rate in rates.model_dump().items() if part not in frozen):
                raise ValueError(
                    f"stages.{number} must train something: all learning rates are 0 but of "
                    f"what is frozen ({', '.join(frozen)})"
                )
        for part in ("llm", "encoder"):
            rates_of = [getattr(stage.learning_rates, part) for stage in self.stages]
            if part not in frozen and not any(rates_of):
                raise ValueError(
                    f"model.{part}.mode must be frozen where no stage trains it, got "
                    f"{self.mode_of(part)} and learning_rates.{part} of 0; set one above 0, or "
                    "the mode to frozen"
                )
        return self

    @model_validator(mode="after")
    def _the_teacher_stands(self) -> Self:
        llm = self.model.llm
        if llm.mode == "full" and not llm.keep_original and not self.losses.cross_entropy.weight:
            raise ValueError(
                "model.llm.keep_original must be true where the whole LLM is trained and "
                "losses.cross_entropy.weight is 0: what it is compared with would be trained, "
                "too, and both come to say nothing"
            )
        return self

    def mode_of(self, part: str) -> str:
        """Returns what is trained of `llm` or `encoder`: frozen, lora or full."""
        mode: str = getattr(self.model, part).mode
        return mode


def load_train_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Reads train.yaml and applies `--set a.b=c` overrides.

    Raises:
        ConfigError: The file can't be read, a key is unknown, or a value is out of range.
    """
    document = read_document(path)
    for override in overrides:
        apply_override(document, override)
    return resolve_train(document, where=str(path))


def resolve_train(document: Document, *, where: str) -> TrainConfig:
    """Checks a training's document.

    Raises:
        ConfigError: A key is unknown, or a value is out of its range.
    """
    try:
        return TrainConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{where}: {sentence_of(error, TrainConfig)}") from error


def train_schema() -> Document:
    """Returns the JSON Schema of train.yaml."""
    schema: Document = TrainConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def identity_of_training(config: TrainConfig) -> Document:
    """Returns the fields that the weights depend on, nested, as plain JSON values.

    Where a dataset or a model lies is not among them: what is in it is compared instead, and so
    with the weights that are begun with.
    """
    identity = identity_of(config)
    del identity["start_from"]
    for name in OPERATIONAL_DATA:
        del identity["data"][name]
    for entry in identity["data"]["datasets"]:
        entry["path"] = Path(entry["path"]).name
    for part in ("encoder", "llm"):
        identity["model"][part]["model"] = Path(identity["model"][part]["model"]).name
    del identity["model"]["llm"]["chat_template"]  # what it says is compared, wherever it lies
    return identity
