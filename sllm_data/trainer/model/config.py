"""Which encoder, connector and LLM; what of them is trained; which losses.

Defaults are those of the published systems: a frozen Whisper encoder; SALMONN's window of a
third of a second with one query, two layers of BERT's width; Ultravox's stack of 8; LoRA of
rank 16 on all linear layers of the LLM.
"""

import math
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_OPERATIONAL: dict[str, Any] = {"change": "operational"}  # Any: pydantic's own type

POSITIONS_PER_SECOND = 50
"""Of Whisper's encoder: a position is 20 ms."""

Mode = Literal["frozen", "lora", "full"]


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LoraConfig(_Config):
    """Low-rank updates beside frozen linear layers."""

    rank: int = Field(16, ge=1, description="inner width of an update")
    alpha: float = Field(32.0, gt=0, description="an update is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="of what an update reads, in training")
    targets: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="names of the linear layers that get one; each must be there",
    )


class EncoderConfig(_Config):
    """The speech encoder: any Whisper of transformers; its decoder is not used."""

    model: str = Field(description="a local folder or a hub id, whisper-large-v3 for example")
    revision: str | None = Field(None, description="of the hub; the newest where absent")
    mode: Mode = Field("frozen", description="what is trained: nothing, LoRA, or all of it")
    lora: LoraConfig = Field(
        LoraConfig(rank=8, alpha=16.0, targets=("q_proj", "k_proj", "v_proj", "out_proj")),
        description="where mode is lora",
    )
    pad_to_30s: bool = Field(
        False,
        description="put silence behind each clip up to the length that Whisper was trained on; "
        "the number of positions stays that of the clip; at 6 s a clip it costs five times "
        "the work",
    )
    activation_checkpointing: bool = Field(
        False,
        description="keep only what enters a layer, compute the rest twice",
        json_schema_extra=_OPERATIONAL,
    )
    kept_gib: float = Field(
        0.0,
        ge=0,
        le=4096,
        description="of a frozen encoder: memory, where the model is, for what it made of each "
        "clip, so that one that comes again is not encoded again; a second of speech takes 0.1 "
        "MiB of a Whisper large in bf16",
    )

    @model_validator(mode="after")
    def _kept_where_frozen(self) -> Self:
        if self.kept_gib and self.mode != "frozen":
            raise ValueError(
                f"kept_gib must be 0 unless mode is frozen, got {self.kept_gib:g} where mode is "
                f"{self.mode}: an encoder that is trained finds something else each time"
            )
        return self


class ConnectorConfig(_Config):
    """What turns positions of the encoder (20 ms) into positions of the LLM; always trained."""

    kind: Literal["window_qformer", "mlp", "layer_mix_qformer"] = Field(
        "window_qformer",
        description="window_qformer: queries read one window each (SALMONN); mlp: stacked "
        "positions (Ultravox; served by stock vLLM); layer_mix_qformer: queries read windows of "
        "several layers of the encoder, mixed by learnt weights (DeSTA)",
    )
    window_seconds: float = Field(
        0.33,
        gt=0,
        le=30,
        description="of a Q-Former: what one set of queries reads; rounded up to 20 ms",
    )
    queries: int = Field(1, ge=1, description="of a Q-Former: positions of the LLM a window")
    stack: int = Field(8, ge=1, description="of the mlp: positions of the encoder in one")
    hidden_size: int = Field(
        768, ge=2, description="width of a Q-Former; Ultravox's mlp has 4096 here, an even number"
    )
    layers: int = Field(2, ge=1, description="of a Q-Former")
    heads: int = Field(12, ge=1, description="of a Q-Former; they share its width evenly")
    taps: tuple[int, ...] = Field(
        (),
        description="of layer_mix_qformer: after which layers of the encoder it reads, from 1; "
        "where empty at each quarter of its depth, for example 8, 16, 24, 32",
    )

    @property
    def window(self) -> int:
        """Positions of the encoder that `positions` positions of the LLM are made from."""
        if self.kind == "mlp":
            return self.stack
        return max(1, math.ceil(round(self.window_seconds * POSITIONS_PER_SECOND, 6)))

    @property
    def positions(self) -> int:
        """Positions of the LLM for each window."""
        return 1 if self.kind == "mlp" else self.queries

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.kind == "mlp" and self.hidden_size % 2:
            raise ValueError(f"hidden_size of an mlp must be even, got {self.hidden_size}")
        if self.kind != "mlp" and self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size must be a multiple of heads, got {self.hidden_size} and {self.heads}"
            )
        if self.taps and self.kind != "layer_mix_qformer":
            raise ValueError(
                f"taps must be left out for {self.kind}, only layer_mix_qformer reads "
                "several layers"
            )
        if sorted(set(self.taps)) != list(self.taps) or any(tap < 1 for tap in self.taps):
            raise ValueError(f"taps must be ascending numbers from 1, got {list(self.taps)}")
        return self


class LLMConfig(_Config):
    """The language model: any decoder of transformers whose attention can be replaced."""

    model: str = Field(description="a local folder or a hub id")
    revision: str | None = Field(None, description="of the hub; the newest where absent")
    mode: Mode = Field("lora", description="what is trained: nothing, LoRA, or all of it")
    lora: LoraConfig = Field(LoraConfig(), description="where mode is lora")
    activation_checkpointing: bool = Field(
        False,
        description="keep only what enters a layer, compute the rest twice",
        json_schema_extra=_OPERATIONAL,
    )
    chat_template: Path | None = Field(
        None,
        description="a Jinja2 file instead of the LLM's own chat template, as the backbone's of "
        "the dataset",
    )
    template_kwargs: dict[str, Any] = Field(  # Any: what a chat template may read
        {},
        description="further arguments of the chat template, as the backbone's of the dataset: "
        "{enable_thinking: false}",
    )
    attention: Literal["auto", "flash", "flex", "sdpa"] = Field(
        "auto",
        description="what computes attention inside the conversations of a pack, of the encoder "
        "too; auto: on a GPU of compute capability 8.0 FlashAttention in 16 bits, else "
        "FlexAttention; on the CPU sdpa, conversation by conversation",
    )
    keep_original: bool = Field(
        False,
        description="where mode is full: a second, frozen copy is what the response KL and the "
        "alignment compare with; else it is the model as it is at that step",
    )


class ModelConfig(_Config):
    """A speech LLM."""

    encoder: EncoderConfig = Field(description="what hears")
    connector: ConnectorConfig = Field(ConnectorConfig(), description="what carries it over")
    llm: LLMConfig = Field(description="what reads and answers")


class CrossEntropyConfig(_Config):
    """How unlikely the trained tokens are."""

    weight: float = Field(1.0, ge=0, description="0 leaves it out")


class ResponseKLConfig(_Config):
    """How far the answer to speech is from the answer to the same text (Ultravox)."""

    weight: float = Field(0.0, ge=0, description="0 leaves it out; else rows need a text twin")
    temperature: float = Field(
        2.0, gt=0, description="both sides are divided by it; the loss is multiplied by its square"
    )


class HiddenAlignmentConfig(_Config):
    """How far states that predict the answer to speech are from those of the same text."""

    weight: float = Field(0.0, ge=0, description="0 leaves it out; else rows need a text twin")
    distance: Literal["cosine", "mse"] = Field(
        "cosine", description="one minus the cosine, or the mean square of the difference"
    )
    depths: tuple[float, ...] = Field(
        (0.25, 0.5, 0.75, 1.0),
        min_length=1,
        description="where states are compared: shares of the LLM's depth, in (0, 1]",
    )

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if any(not 0 < depth <= 1 for depth in self.depths):
            raise ValueError(f"depths must be in (0, 1], got {list(self.depths)}")
        return self


class LossConfig(_Config):
    """What is minimised: the weighted sum of what is switched on."""

    cross_entropy: CrossEntropyConfig = Field(
        CrossEntropyConfig(), description="on the trained tokens"
    )
    response_kl: ResponseKLConfig = Field(
        ResponseKLConfig(), description="to the text twin's answer"
    )
    hidden_alignment: HiddenAlignmentConfig = Field(
        HiddenAlignmentConfig(), description="to the text twin's states"
    )

    @property
    def needs_twin(self) -> bool:
        """Whether a batch must hold the side that reads."""
        return self.response_kl.weight > 0 or self.hidden_alignment.weight > 0

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if not (self.cross_entropy.weight or self.needs_twin):
            raise ValueError("one loss must have a weight above 0, all have 0")
        return self
