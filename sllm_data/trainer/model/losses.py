"""What is minimised: sums over labels; whoever trains divides by the count over all ranks.

    cross_entropy     how unlikely the trained tokens are
    response_kl       how far the answer to speech is from the answer to the same text
    hidden_alignment  how far the states that predict it are from those of the text

Logits exist at labels only, and of many labels only in slices: with a vocabulary of 152,000,
5,600 labels would take 3.4 GB in float32, several times over. A slice is computed again in the
backward pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import (
    cosine_similarity,
    cross_entropy,
    kl_div,
    log_softmax,
    mse_loss,
)
from torch.utils.checkpoint import checkpoint

from sllm_data.trainer.model.config import HiddenAlignmentConfig, LossConfig

_SLICE = 2**26
"""Logits that are computed at once: 256 MiB in float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSums:
    """The losses of a pack."""

    total: Tensor
    """float32 (): the weighted sum of what is switched on; its gradient is what is trained."""
    parts: dict[str, Tensor]
    """float32 () each, without weights and gradient: sums over labels. Cross-entropy is always
    there, for whoever watches."""
    num_labels: int
    """Of the pack: what the sums are divided by, over all packs of a step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelStates:
    """What the LLM thinks where it predicts a label."""

    last: Tensor
    """Shape (L, H): what its output layer reads."""
    layers: tuple[Tensor, ...] = ()
    """Shape (L, H) each: behind the layers that are compared."""


def loss_sums(
    speech: LabelStates,
    twin: LabelStates | None,
    labels: Tensor,
    *,
    to_logits: Callable[[Tensor], Tensor],
    config: LossConfig,
    slice_logits: int = _SLICE,
) -> LossSums:
    """Returns the losses of a pack.

    Args:
        speech: Of the side that hears.
        twin: Of the side that reads, without gradient; needed where config says so.
        labels: int64 (L,).
        to_logits: The LLM's output layer: (n, H) to (n, vocabulary).
        config: Weights.
        slice_logits: How many are computed at once.
    """
    with_kl = config.response_kl.weight > 0
    if config.needs_twin and twin is None:
        raise ValueError("the text twin's states must be there for this loss, they are not")
    sums = _sliced(
        (speech.last, twin.last if twin and with_kl else None, labels),
        to_logits=to_logits,
        temperature=config.response_kl.temperature,
        slice_logits=slice_logits,
    )
    parts = {"cross_entropy": sums[0]}
    total = config.cross_entropy.weight * sums[0]
    if with_kl:
        parts["response_kl"] = sums[1]
        total = total + config.response_kl.weight * sums[1]
    if twin and config.hidden_alignment.weight:
        distance = distance_sum(speech.layers, twin.layers, config.hidden_alignment)
        parts["hidden_alignment"] = distance
        total = total + config.hidden_alignment.weight * distance
    return LossSums(
        total=total,
        parts={name: part.detach() for name, part in parts.items()},
        num_labels=len(labels),
    )


def _sliced(
    sides: tuple[Tensor, Tensor | None, Tensor],
    *,
    to_logits: Callable[[Tensor], Tensor],
    temperature: float,
    slice_logits: int,
) -> Tensor:
    """Returns cross-entropy and response KL of speech, twin and labels: float32 (2,)."""

    def of_slice(speech: Tensor, twin: Tensor | None, labels: Tensor) -> Tensor:
        logits = to_logits(speech).float()
        entropy = cross_entropy(logits, labels, reduction="sum")
        if twin is None:
            return torch.stack([entropy, entropy.new_zeros(())])
        with torch.no_grad():
            answers = to_logits(twin).float()
        return torch.stack([entropy, kl_sum(logits, answers, temperature)])

    speech, _, labels = sides
    size = max(1, slice_logits // to_logits(speech[:0]).shape[-1])
    if len(labels) <= size:
        return of_slice(*sides)
    sums = speech.new_zeros(2, dtype=torch.float32)
    for start in range(0, len(labels), size):
        cut = [None if side is None else side[start : start + size] for side in sides]
        sums = sums + checkpoint(of_slice, *cut, use_reentrant=False)
    return sums


def kl_sum(logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Returns the divergence of `logits` from `target`, summed over rows: float32 ().

    Both are divided by the temperature. The sum is multiplied by its square, so that the
    gradient does not shrink with it.
    """
    found = log_softmax(logits / temperature, dim=-1)
    wanted = log_softmax(target / temperature, dim=-1)
    return kl_div(found, wanted, reduction="sum", log_target=True) * temperature**2


def distance_sum(
    speech: Sequence[Tensor], twin: Sequence[Tensor], config: HiddenAlignmentConfig
) -> Tensor:
    """Returns the mean over layers of the distance of states, summed over labels: float32 ()."""
    distances = []
    for found, wanted in zip(speech, twin, strict=True):
        a, b = found.float(), wanted.float()
        if config.distance == "cosine":
            distances.append((1 - cosine_similarity(a, b, dim=-1)).sum())
        else:
            distances.append(mse_loss(a, b, reduction="sum") / a.shape[-1])
    return torch.stack(distances).mean()


def label_losses(states: Tensor, labels: Tensor, to_logits: Callable[[Tensor], Tensor]) -> Tensor:
    """Returns the cross-entropy of each label: float32 (L,).

    Args:
        states: Shape (L, H), what the output layer reads.
        labels: int64 (L,).
        to_logits: The LLM's output layer.
    """
    size = max(1, _SLICE // to_logits(states[:0]).shape[-1])
    slices = zip(states.split(size), labels.split(size), strict=True)
    return torch.cat(
        [
            cross_entropy(to_logits(part).float(), wanted, reduction="none")
            for part, wanted in slices
        ]
    )
