"""The speech LLM as one module, from a pack to losses.

    frames -> encoder -> connector -+
                                    +-> embeddings (1, P, H) -> LLM -> states at labels -> losses
    tokens -> LLM's embeddings -----+

The text twin, where a loss needs it, goes through the same LLM first, without gradient and
without LoRA: that is the original model, to which the answer to speech shall be equal. Where
the whole LLM is trained, it is the model as it is at that step, or, with `keep_original`, a
frozen copy.

What is trained is float32; what is frozen has the type that is computed in. Nothing pretrained
drops anything out, also while it is trained: only LoRA's own dropout is, so that frozen parts
are what they were and a pack gives what its conversations give one by one.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from sllm_data.errors import ModelError
from sllm_data.trainer.batch import PackedBatch, PackedText
from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.trainer.model.assembly import Parts, assemble
from sllm_data.trainer.model.attention import choose_kernel, segments_of
from sllm_data.trainer.model.config import LossConfig, ModelConfig
from sllm_data.trainer.model.encoder import load_whisper
from sllm_data.trainer.model.llm import load_llm, run_body, to_logits
from sllm_data.trainer.model.lora import lora_layers, without_lora
from sllm_data.trainer.model.losses import LabelStates, LossSums, label_losses, loss_sums

_SHORTEST = 2  # frames that make one position


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterCounts:
    """How many numbers a part of the model has."""

    trainable: int
    frozen: int


class SpeechLM(nn.Module):  # type: ignore[misc]  # torch's types are not read
    """Encoder, connector and LLM.

    Args:
        parts: From assembly.assemble.
        config: What they were made from.
        dtype: What is computed in.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        config: ModelConfig,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.encoder = parts.encoder
        self.connector = parts.connector
        self.llm = parts.llm
        self.original = parts.original
        self.config = config
        self.dtype = dtype
        self.train()

    @property
    def geometry(self) -> AudioGeometry:
        """How many positions a clip takes."""
        return self.encoder.geometry

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return next(self.parameters()).device

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's own signature
        """Switches what differs in training: LoRA's dropout and activation checkpointing."""
        super().train(mode)
        for part in (self.encoder, self.llm, self.original):
            if part is None:
                continue
            part.eval()
            for layer in lora_layers(part):
                layer.lora_dropout.train(mode)
            for module in part.modules():
                if isinstance(module, GradientCheckpointingLayer):
                    # its own flag alone: what stands in it stays as it is
                    module.training = mode and module.gradient_checkpointing
        return self

    def forward(self, batch: PackedBatch, losses: LossConfig) -> LossSums:
        """Returns the losses of a pack.

        Raises:
            ValueError: A loss needs the text twin and the batch has none, or another one.
        """
        depths = losses.hidden_alignment.depths if losses.hidden_alignment.weight else ()
        twin = self._twin_states(batch, depths) if losses.needs_twin else None
        embeds = self.embed(batch)
        with self.autocast():
            speech = self._label_states(self.llm, batch.text, embeds, depths)
            return loss_sums(
                speech,
                twin,
                batch.text.labels,
                to_logits=partial(to_logits, self.llm),
                config=losses,
            )

    def embed(self, batch: PackedBatch) -> Tensor:
        """Returns what enters the LLM: shape (1, P, H).

        Raises:
            ValueError: The clips give another number of positions than the batch has for them.
        """
        words: Tensor = self.llm.get_input_embeddings()(batch.text.token_ids)
        clip_frames = batch.clip_frames.tolist()
        if not clip_frames:
            # All ranks must do the same work, also one whose pack is text alone; and what is
            # trained must have a gradient, if only zero.
            nothing = words.new_zeros(_SHORTEST, self.encoder.num_mels, dtype=torch.float32)
            return (words + 0 * self.hear(nothing, [_SHORTEST]).sum().to(words.dtype))[None]
        heard = self.hear(batch.features, clip_frames)
        if len(heard) != len(batch.audio_positions):
            raise ValueError(
                f"audio_positions must be {len(heard)} for these clips, got "
                f"{len(batch.audio_positions)}: the pack was made with another geometry"
            )
        return words.index_copy(0, batch.audio_positions, heard.to(words.dtype))[None]

    def hear(self, features: Tensor, clip_frames: Sequence[int]) -> Tensor:
        """Returns the positions of the LLM that clips become: shape (A, H).

        Args:
            features: float32 (F, M).
            clip_frames: Of each clip; their sum is F.
        """
        with self.autocast():
            states = self.encoder(features, clip_frames)
            lengths = [self.geometry.num_encoded(frames) for frames in clip_frames]
            heard: Tensor = self.connector(states.float(), lengths)
        return heard

    def label_losses(self, batch: PackedBatch, *, twin: bool = False) -> Tensor:
        """Returns how unlikely each label is, in nats: float32 (L,), without gradient.

        Args:
            batch: A pack.
            twin: Whether of the side that reads, by the model that is trained.

        Raises:
            ValueError: The batch has no text twin.
        """
        text = _twin_of(batch) if twin else batch.text
        with torch.no_grad():
            embeds = self._read(self.llm, text) if twin else self.embed(batch)
            with self.autocast():
                states = self._label_states(self.llm, text, embeds, ())
                return label_losses(states.last, text.labels, partial(to_logits, self.llm))

    def autocast(self) -> torch.autocast:
        """Returns the context that everything is computed in.

        Each pass has its own: torch keeps casts of trained weights until one ends, and those
        that a pass without gradient made would cut off the gradient of the next.
        """
        half = self.dtype != torch.float32
        return torch.autocast(self.device.type, dtype=self.dtype if half else None, enabled=half)

    def _twin_states(self, batch: PackedBatch, depths: Sequence[float]) -> LabelStates:
        text = _twin_of(batch)
        llm = self.llm if self.original is None else self.original
        original: AbstractContextManager[None] = (
            without_lora(llm) if self.original is None else nullcontext()
        )
        with torch.no_grad(), original, self.autocast():
            return self._label_states(llm, text, self._read(llm, text), depths)

    def _read(self, llm: PreTrainedModel, text: PackedText) -> Tensor:
        embeds: Tensor = llm.get_input_embeddings()(text.token_ids)[None]
        return embeds

    def _label_states(
        self, llm: PreTrainedModel, text: PackedText, embeds: Tensor, depths: Sequence[float]
    ) -> LabelStates:
        segments = segments_of(
            text.lengths.tolist(), causal=True, kernel=self.encoder.kernel, device=embeds.device
        )
        found = run_body(
            llm, embeds, text.position_ids[None], segments=segments, all_layers=bool(depths)
        )
        num_layers = llm.config.num_hidden_layers
        return LabelStates(
            last=found.last_hidden_state[0, text.label_positions],
            layers=tuple(
                found.hidden_states[max(1, round(depth * num_layers))][0, text.label_positions]
                for depth in depths
            ),
        )

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Returns what is trained, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def trainable_state(self) -> dict[str, Tensor]:
        """Returns what a checkpoint must hold: copies on the CPU, by name."""
        return {
            name: value.detach().to("cpu", copy=True)
            for name, value in self.trainable_parameters().items()
        }

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes over what trainable_state returned.

        Raises:
            ModelError: It is of another model.
        """
        mine = self.trainable_parameters()
        if different := sorted(mine.keys() ^ state.keys()):
            raise ModelError(
                "the checkpoint must be of a model with the same trained parts, "
                f"{len(different)} tensors are in one of them only, the first is {different[0]}"
            )
        for name, value in mine.items():
            if value.shape != state[name].shape:
                raise ModelError(
                    f"the checkpoint must be of a model of the same size: {name} has shape "
                    f"{tuple(value.shape)} here and {tuple(state[name].shape)} there"
                )
        with torch.no_grad():
            for name, value in mine.items():
                value.copy_(state[name])

    def parameter_counts(self) -> dict[str, ParameterCounts]:
        """Returns the sizes of encoder, connector and llm; of tied weights one counts."""
        counts = {}
        for name in ("encoder", "connector", "llm"):
            trainable = frozen = 0
            for value in getattr(self, name).parameters():
                if value.requires_grad:
                    trainable += value.numel()
                else:
                    frozen += value.numel()
            counts[name] = ParameterCounts(trainable=trainable, frozen=frozen)
        return counts


def load_speech_lm(
    config: ModelConfig, *, seed: int, dtype: torch.dtype, device: str, stays: bool = False
) -> SpeechLM:
    """Reads encoder and LLM and puts a fresh connector, and fresh LoRA, between and into them.

    Args:
        config: Which ones.
        seed: Of all that is fresh; the same on every device.
        dtype: What is computed in; what is trained is float32.
        device: Where it computes: cpu, cuda, cuda:1.
        stays: Whether it is left on the CPU for now, as one is that no GPU can hold alone.

    Raises:
        ModelError: A model can't be read or used, or there is no such device.
    """
    where = torch.device(device)
    if where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device must be one of the {torch.cuda.device_count()} GPUs here, or cpu; asked for "
            f"{device}"
        )
    full = torch.float32
    whisper = load_whisper(config.encoder, dtype=full if config.encoder.mode == "full" else dtype)
    llm = load_llm(config.llm, dtype=full if config.llm.mode == "full" else dtype)
    kernel = choose_kernel(config.llm.attention, device=where, dtype=dtype)
    parts = assemble(whisper, llm, config, seed=seed, dtype=dtype, kernel=kernel)
    model: SpeechLM = SpeechLM(parts, config=config, dtype=dtype)
    return model if stays else model.to(device)


def _twin_of(batch: PackedBatch) -> PackedText:
    if batch.twin is None:
        raise ValueError("the batch must have a text twin for this loss, it has none")
    if len(batch.twin.labels) != len(batch.text.labels):
        raise ValueError(
            f"the text twin must have the labels of the side that hears, it has "
            f"{len(batch.twin.labels)}, not {len(batch.text.labels)}"
        )
    return batch.twin
