"""How a speech LLM is put together: what of it is trained, what is fresh, how it counts.

Fresh weights are drawn on the CPU from one seed, so that they are the same on every device and
on every rank.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedConfig, PreTrainedModel, WhisperConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from sllm_data.errors import ModelError
from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.trainer.kept import Kept, gibibytes
from sllm_data.trainer.model.attention import Kernel, use_packed_attention
from sllm_data.trainer.model.config import ConnectorConfig, Mode, ModelConfig
from sllm_data.trainer.model.connectors import ConnectorShape, new_connector
from sllm_data.trainer.model.encoder import SpeechEncoder
from sllm_data.trainer.model.llm import embedding_scale
from sllm_data.trainer.model.lora import add_lora


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a speech LLM is put together from, on the CPU."""

    encoder: SpeechEncoder
    connector: nn.Module
    llm: PreTrainedModel
    original: PreTrainedModel | None
    """A frozen copy of the LLM, where it is asked for."""


def assemble(
    whisper: nn.Module,
    llm: PreTrainedModel,
    config: ModelConfig,
    *,
    seed: int,
    dtype: torch.dtype,
    kernel: Kernel,
) -> Parts:
    """Puts a fresh connector between an encoder and an LLM, and fresh LoRA into them.

    Args:
        whisper: transformers' encoder; changed in place.
        llm: From llm.load_llm or llm.prepare_llm; changed in place.
        config: What is put there, and what is trained.
        seed: Of all that is fresh.
        dtype: Of a frozen copy.
        kernel: What computes attention.

    Raises:
        ModelError: A layer that is named in `config` is not there.
    """
    use_packed_attention(whisper)
    try:
        taps = taps_of(config.connector, len(whisper.layers))
    except ValueError as error:
        raise ModelError(f"{config.encoder.model}: {error}") from error
    encoder = SpeechEncoder(
        whisper,
        geometry=geometry_of(config, whisper.config),
        taps=taps,
        kernel=kernel,
        pad_to_30s=config.encoder.pad_to_30s,
        kept=Kept(gibibytes(config.encoder.kept_gib)) if config.encoder.kept_gib else None,
    )
    original = None
    if config.llm.mode == "full" and config.llm.keep_original:
        original = deepcopy(llm).to(dtype).requires_grad_(requires_grad=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _choose_trained(whisper, config.encoder.mode)
        if config.encoder.mode == "lora":
            add_lora(whisper, config.encoder.lora, where=config.encoder.model)
        _choose_trained(llm, config.llm.mode)
        if config.llm.mode == "lora":
            add_lora(llm, config.llm.lora, where=config.llm.model)
        shape = shape_of(config.connector, whisper.config, llm.config, taps=len(taps))
        connector = new_connector(shape, scale=embedding_scale(llm))
    _freeze_unread(whisper, taps)
    if config.encoder.activation_checkpointing:
        _checkpoint_layers(whisper)
    if config.llm.activation_checkpointing:
        _checkpoint_layers(llm)
    return Parts(encoder=encoder, connector=connector, llm=llm, original=original)


def taps_of(config: ConnectorConfig, num_layers: int) -> tuple[int, ...]:
    """Returns after which layers of the encoder the connector reads; none: behind the last.

    Raises:
        ValueError: The encoder has fewer layers.

    >>> taps_of(ConnectorConfig(kind="layer_mix_qformer"), 32)
    (8, 16, 24, 32)
    """
    if config.kind != "layer_mix_qformer":
        return ()
    if config.taps and config.taps[-1] > num_layers:
        raise ValueError(f"taps must be 1 to {num_layers}, got {list(config.taps)}")
    quarters = (max(1, round(num_layers * share / 4)) for share in (1, 2, 3, 4))
    return config.taps or tuple(sorted(set(quarters)))


def shape_of(
    config: ConnectorConfig, whisper: WhisperConfig, llm: PreTrainedConfig, *, taps: int
) -> ConnectorShape:
    """Returns the sizes of a connector between two models.

    Args:
        config: Its own.
        whisper: Of the encoder.
        llm: Of the language model.
        taps: Layers of the encoder that are read; 0 is the state behind the last.
    """
    return ConnectorShape(
        kind=config.kind,
        window=config.window,
        queries=config.positions,
        hidden_size=config.hidden_size,
        layers=config.layers,
        heads=config.heads,
        taps=max(1, taps),
        encoder_width=whisper.d_model,
        llm_width=llm.hidden_size,
    )


def geometry_of(config: ModelConfig, whisper: WhisperConfig) -> AudioGeometry:
    """Returns the arithmetic of a model.

    Args:
        config: Its connector.
        whisper: Its encoder.
    """
    window = config.connector.window
    most = whisper.max_source_positions
    if config.connector.kind == "mlp":
        # vLLM stacks each chunk by itself: no stack may lie across the border of two.
        most -= most % window
    return AudioGeometry(
        mels=whisper.num_mel_bins,
        max_frames=2 * most,
        window=window,
        queries=config.connector.positions,
    )


def _choose_trained(model: nn.Module, mode: Mode) -> None:
    model.requires_grad_(mode == "full")


def _freeze_unread(whisper: nn.Module, taps: Sequence[int]) -> None:
    """Frees of training what no loss can reach, and Whisper's fixed table of positions."""
    whisper.embed_positions.requires_grad_(requires_grad=False)
    if taps:
        whisper.layer_norm.requires_grad_(requires_grad=False)
        whisper.layers[taps[-1] :].requires_grad_(requires_grad=False)


def _checkpoint_layers(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.gradient_checkpointing = True
            module._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)  # noqa: SLF001
