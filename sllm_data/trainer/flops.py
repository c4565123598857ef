"""Model FLOPs of a pack: what its real positions need, whatever the machine did for them.

For each matrix of n weights that a position passes:

    forward                        2 n    none in an encoder whose states are kept
    backward, to what came in      2 n    not in the encoder while it is frozen
    backward, to the weights       2 n    only what is trained

Attention of one sequence of m positions in a layer of width h: 4 m m h forward, half of it
where it is causal, twice that backward. Logits are counted at labels only, the connector once
for each position that it makes. Not counted: what a Q-Former does to keys and values, the text
twin, what activation checkpointing computes again, softmax, norms, activations. So MFU, which
is this divided by the time and by what the machine could do in it, is rather told too low. Of a
mixture of experts it is not told; attention through a sliding window is counted as if there
were none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.trainer.model.speech_lm import SpeechLM

_PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "B200": 2250.0, "L40S": 362.0}
"""Dense bf16 with fp32 sums, from the makers' data sheets; by what a GPU's name holds."""


def peak_tflops(device_name: str, precision: str) -> float | None:
    """Returns what a GPU can do, where it is known.

    >>> peak_tflops("NVIDIA H200", "bf16")
    989.0
    """
    if precision != "bf16":
        return None
    found = (peak for name, peak in _PEAK_TFLOPS.items() if name in device_name)
    return next(found, None)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartCost:
    """What a position costs in a part of the model."""

    weights: int
    """Of its matrices."""
    trained: int
    """Of those, how many are trained."""
    attention: int
    """Layers times their width."""
    with_backward: bool
    """Whether gradients go through it."""

    def flops(self, positions: int, squares: float) -> float:
        """Returns those of some positions; `squares` is the sum of m * m over sequences."""
        passes = 2 if self.with_backward else 1
        linear = 2 * positions * (passes * self.weights + self.trained)
        return linear + 4 * squares * self.attention * (3 if self.with_backward else 1)


_NOTHING = PartCost(weights=0, trained=0, attention=0, with_backward=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCost:
    """What a pack costs."""

    encoder: PartCost
    connector: PartCost
    llm: PartCost
    head: PartCost
    geometry: AudioGeometry
    """How clips are cut into chunks, each attended to by itself."""

    def flops(self, batch: PackedBatch) -> float:
        """Returns the model FLOPs of a step over a pack, forward and backward."""
        clips = batch.clip_frames.tolist()
        heard = [(frames + 1) // 2 for clip in clips for frames in self.geometry.chunks(clip)]
        lengths = batch.text.lengths.tolist()
        causal = sum(length * length for length in lengths) / 2
        return (
            self.encoder.flops(sum(heard), sum(length * length for length in heard))
            + self.connector.flops(len(batch.audio_positions), 0.0)
            + self.llm.flops(sum(lengths), causal)
            + self.head.flops(len(batch.text.labels), 0.0)
        )


def cost_of(model: SpeechLM, rates: Mapping[str, float] | None = None) -> ModelCost:
    """Returns what positions cost in a model, from the sizes of its matrices.

    Args:
        model: The model.
        rates: Learning rates by part: one of 0 has no gradients of its own. All that can be
            trained is, where there are none.
    """

    def is_trained(part: str) -> bool:
        return rates is None or rates[part] > 0

    head = model.llm.get_output_embeddings()
    encoder = model.encoder.whisper
    size = encoder.config
    text = model.llm.config.get_text_config()
    deepest = max(model.encoder.taps, default=size.encoder_layers)
    unread = {id(param) for layer in encoder.layers[deepest:] for param in layer.parameters()}
    tables = {id(model.llm.get_input_embeddings().weight), id(head.weight)}
    return ModelCost(
        encoder=_NOTHING
        if model.encoder.kept is not None
        else _part(
            encoder,
            without={id(encoder.embed_positions.weight), *unread},
            attention=deepest * size.d_model,
            is_trained=is_trained("encoder"),
        ),
        connector=_part(
            model.connector,
            without=set(),
            attention=0,
            is_trained=is_trained("connector"),
            with_backward=True,
        ),
        llm=_part(
            model.llm,
            without=tables,
            attention=text.num_hidden_layers * _width(text),
            is_trained=is_trained("llm"),
            with_backward=True,
        ),
        head=_part(
            head, without=set(), attention=0, is_trained=is_trained("llm"), with_backward=True
        ),
        geometry=model.geometry,
    )


def has_experts(model: SpeechLM) -> bool:
    """Whether the LLM is a mixture of experts: which of its weights a position passes differs."""
    text = model.llm.config.get_text_config()
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    return any((getattr(text, name, None) or 0) > 1 for name in names)


def _width(config: Any) -> int:  # Any: a configuration of transformers
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(config.num_attention_heads * size)


def _part(
    module: nn.Module,
    *,
    without: set[int],
    attention: int,
    is_trained: bool,
    with_backward: bool | None = None,
) -> PartCost:
    matrices = [
        param for param in module.parameters() if param.dim() > 1 and id(param) not in without
    ]
    trained = sum(param.numel() for param in matrices if is_trained and param.requires_grad)
    return PartCost(
        weights=sum(param.numel() for param in matrices),
        trained=trained,
        attention=attention,
        with_backward=trained > 0 if with_backward is None else with_backward,
    )
