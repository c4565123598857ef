"""What the answer attends to: the instruction or the content, layer by layer.

For each row, with its reference forced, in every layer:

    mass      mean over heads and over the positions that predict the answer of the attention on
              all places of a segment
    saliency  the same of |sum over heads of A * dL/dA|, as in "Label Words are Anchors" (Wang
              et al. 2023), L being the loss of the reference

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

from sllm_data.evaluation.attended import Attended, ByLayer
from sllm_data.evaluation.probing.rows import Places, Probe, Side
from sllm_data.trainer.batch import PackedBatch, PackedText
from sllm_data.trainer.data.conversation import prompts_batch
from sllm_data.trainer.model.attention import use_packed_attention
from sllm_data.trainer.model.llm import to_logits
from sllm_data.trainer.model.speech_lm import SpeechLM

_MASSIVE = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Looked:
    """One row: attention by layer, and how it moves the loss."""

    weights: ByLayer
    """(layers, P): mean over heads and answer positions."""
    saliency: ByLayer
    """(layers, P): mean over answer positions of |sum over heads of A * dL/dA|."""
    lengths: ByLayer
    """(layers, P): of the states that enter each layer."""


def attend(model: SpeechLM, probes: Sequence[Probe], *, side: str) -> list[Attended]:
    """Measures one side of some rows.

    Args:
        model: Its attention is another one meanwhile.
        probes: One or more.
        side: One of LOOKED_AT: `speech` hears, the others read; for `backbone` the model must be
            that already.
    """
    hears = side == "speech"
    found = []
    with _visible(model):
        for probe in probes:
            batch = prompts_batch([probe.forced]).to(model.device)
            looked = look(model, batch, hears=hears)
            places = probe.speech if hears else probe.text
            found.append(attended(looked, places, row=probe.row.sample_id, side=side))
    return found


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


def attended(looked: Looked, places: Side, *, row: str, side: str) -> Attended:
    """Returns what is saved of a row: sums over the places that are no sinks, by layer."""
    kept = ~sinks(looked.lengths)
    weights, saliency = looked.weights * kept, looked.saliency * kept
    instruction, content = places.instruction, places.content
    return Attended(
        row=row,
        side=side,
        instruction=_sum(weights, instruction),
        content=_sum(weights, content),
        sink=tuple((looked.weights * ~kept).sum(axis=1).tolist()),
        instruction_saliency=_sum(saliency, instruction),
        content_saliency=_sum(saliency, content),
        instruction_places=tuple(kept[:, instruction].sum(axis=1).tolist()),
        content_places=tuple(kept[:, content].sum(axis=1).tolist()),
    )


def sinks(lengths: ByLayer) -> npt.NDArray[np.bool_]:
    """Tells which positions are sinks, by layer: (layers, P)."""
    found = np.asarray(lengths > _MASSIVE * np.median(lengths, axis=1, keepdims=True), np.bool_)
    found[:, 0] = True
    return found


def _sum(values: ByLayer, places: Places) -> tuple[float, ...]:
    return tuple(values[:, places].sum(axis=1).tolist())
