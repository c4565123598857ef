"""What the answer attends to: the instruction or the content, layer by layer.

For each row, with its reference forced, in every layer:

    mass      mean over heads and over the positions that predict the answer of the attention on
              all places of a segment
    saliency  the same of |sum over heads of A * dL/dA|, as in "Label Words are Anchors" (Wang
              et al. 2023), L being the loss of the reference
    share     instruction / (instruction + content), of masses, of masses divided by the number
              of places ("by length": speech has many more), or of saliencies

Sinks are no part of either: the first position, and in each layer those whose state is more than
ten times as long as the median (massive activations); models park attention there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sllm_data.evaluation.probing.rows import Places, Probe, Side
from sllm_data.trainer.batch import PackedBatch, PackedText
from sllm_data.trainer.data.conversation import prompts_batch
from sllm_data.trainer.model.attention import use_packed_attention
from sllm_data.trainer.model.llm import to_logits
from sllm_data.trainer.model.speech_lm import SpeechLM

ByLayer = npt.NDArray[np.float64]

_MASSIVE = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionShares:
    """Means over rows, each (layers,)."""

    rows: int
    instruction: ByLayer
    """Mass."""
    content: ByLayer
    """Mass."""
    sink: ByLayer
    """Mass on sinks anywhere."""
    share: ByLayer
    share_by_length: ByLayer
    saliency_share: ByLayer


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """One row: attention by layer, and how it moves the loss."""

    weights: ByLayer
    """(layers, P): mean over heads and answer positions."""
    saliency: ByLayer
    """(layers, P): mean over answer positions of |sum over heads of A * dL/dA|."""
    lengths: ByLayer
    """(layers, P): of the states that enter each layer."""


def attention_shares(model: SpeechLM, probes: Sequence[Probe], *, hears: bool) -> AttentionShares:
    """Measures one side of some rows.

    Args:
        model: Its attention is another one meanwhile.
        probes: One or more.
        hears: Whether the side that hears; else the one that reads.
    """
    found = []
    with _visible(model):
        for probe in probes:
            batch = prompts_batch([probe.forced]).to(model.device)
            looked = look(model, batch, hears=hears)
            found.append(shares_of(looked, probe.speech if hears else probe.text))
    means = np.mean(found, axis=0)
    return AttentionShares(
        rows=len(probes),
        instruction=means[0],
        content=means[1],
        sink=means[2],
        share=means[3],
        share_by_length=means[4],
        saliency_share=means[5],
    )


@contextmanager
def _visible(model: SpeechLM) -> Iterator[None]:
    """Lets a model's attention be seen: only transformers' plain one returns its weights."""
    model.llm.set_attn_implementation("eager")
    try:
        yield
    finally:
        use_packed_attention(model.llm)


def look(model: SpeechLM, batch: PackedBatch, *, hears: bool) -> Looked:
    """Runs one conversation with visible attention.

    Cost: (layers, heads, P, P) numbers, and once more for their gradient.
    """
    text = batch.text if hears else batch.twin
    assert text is not None  # noqa: S101 - probes have twins
    with torch.no_grad():
        embeds = (
            model.embed(batch) if hears else model.llm.get_input_embeddings()(text.token_ids)[None]
        )
    embeds = embeds.detach().requires_grad_()  # an LLM that is frozen has no other way in
    with torch.enable_grad(), model.autocast():
        found = model.llm.base_model(
            inputs_embeds=embeds,
            position_ids=text.position_ids[None],
            output_attentions=True,
            output_hidden_states=True,
            use_cache=False,
        )
        loss = _loss(model, text, found.last_hidden_state)
    gradients = torch.autograd.grad(loss, found.attentions)
    answer = text.label_positions
    weights, saliency = [], []
    for attention, gradient in zip(found.attentions, gradients, strict=True):
        seen = attention[0, :, answer].detach().float()  # (heads, L, P)
        weights.append(seen.mean(dim=(0, 1)))
        moved = (seen * gradient[0, :, answer].float()).sum(dim=0).abs()
        saliency.append(moved.mean(dim=0))
    lengths = [states[0].detach().float().norm(dim=-1) for states in found.hidden_states[:-1]]
    return Looked(
        weights=_numbers(weights), saliency=_numbers(saliency), lengths=_numbers(lengths)
    )


def _loss(model: SpeechLM, text: PackedText, states: Tensor) -> Tensor:
    logits = to_logits(model.llm, states[0, text.label_positions])
    return cross_entropy(logits.float(), text.labels)


def _numbers(layers: Sequence[Tensor]) -> ByLayer:
    return np.asarray(torch.stack(list(layers)).cpu().double().numpy())


def shares_of(looked: Looked, side: Side) -> ByLayer:
    """Returns mass of instruction, content, sinks, and the three shares: (6, layers)."""
    kept = ~sinks(looked.lengths)
    masses = [
        _sum(looked.weights * kept, side.instruction),
        _sum(looked.weights * kept, side.content),
    ]
    salient = [
        _sum(looked.saliency * kept, side.instruction),
        _sum(looked.saliency * kept, side.content),
    ]
    places = [np.maximum(_sum(kept, each), 1) for each in (side.instruction, side.content)]
    return np.stack(
        [
            masses[0],
            masses[1],
            (looked.weights * ~kept).sum(axis=1),
            _share(masses[0], masses[1]),
            _share(masses[0] / places[0], masses[1] / places[1]),
            _share(salient[0], salient[1]),
        ]
    )


def sinks(lengths: ByLayer) -> npt.NDArray[np.bool_]:
    """Tells which positions are sinks, by layer: (layers, P)."""
    found = np.asarray(lengths > _MASSIVE * np.median(lengths, axis=1, keepdims=True), np.bool_)
    found[:, 0] = True
    return found


def _sum(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_], places: Places) -> ByLayer:
    return np.asarray(values[:, places].sum(axis=1), np.float64)


def _share(a: ByLayer, b: ByLayer) -> ByLayer:
    """Returns a / (a + b); a half where both are nothing."""
    total = a + b
    return np.divide(a, total, out=np.full_like(total, 0.5), where=total > 0)
