"""Answers to a pack of prompts, token by token, for all its conversations at once.

1. The pack goes through the LLM once, exactly as in training; keys and values are kept.
2. They are cut at the borders of the conversations and put side by side, the ends aligned:

       pack      a a a b c c            batch      a a a
                                                   - - b
                                                   - c c

3. Each step gives every conversation its next token; one that is done leaves the batch.

A conversation's greedy answer does not depend on the others; neither does one that is drawn,
whose chance comes from its own name.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from sllm_data.seeding import rng_for
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.model.attention import segments_of
from sllm_data.trainer.model.llm import run_body, to_logits
from sllm_data.trainer.model.speech_lm import SpeechLM


def answer(
    model: SpeechLM,
    batch: PackedBatch,
    *,
    max_tokens: int,
    stop_ids: Collection[int],
    temperature: float = 0.0,
    seed: int = 0,
) -> list[list[int]]:
    """Answers every conversation of a pack.

    Args:
        model: Its mode of training does not matter and stays what it is.
        batch: Prompts; each ends where the answer begins. Labels are not read.
        max_tokens: Of an answer, 1 or more.
        stop_ids: An answer ends in front of the first of these.
        temperature: 0 is greedy.
        seed: Of all chance, together with the sample id (else the place in the pack).

    Returns:
        The tokens of each answer, without the one that stopped it. One of `max_tokens` was cut.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return _answer(model, batch, max_tokens, frozenset(stop_ids), (temperature, seed))
    finally:
        model.train(training)


def _answer(
    model: SpeechLM,
    batch: PackedBatch,
    max_tokens: int,
    stop_ids: Collection[int],
    chance: tuple[float, int],
) -> list[list[int]]:
    lengths: list[int] = batch.text.lengths.tolist()
    names = batch.sample_ids or tuple(map(str, range(len(lengths))))
    temperature, seed = chance
    draws = [rng_for(seed, "answer", name) for name in names] if temperature > 0 else []
    answers: list[list[int]] = [[] for _ in lengths]

    embeds = model.embed(batch)
    with model.autocast():
        logits, cache = _read(model, embeds, batch.text.position_ids, lengths)
    mask = pad_sequence(
        [torch.ones(length, dtype=torch.int64) for length in lengths],
        batch_first=True,
        padding_side="left",
    ).to(embeds.device)
    places = torch.tensor(lengths, device=embeds.device)  # of each one's next token
    active = list(range(len(lengths)))
    while True:
        if temperature > 0:
            fractions = [draws[number].random() for number in active]
            tokens = _drawn(logits / temperature, fractions)
        else:
            tokens = logits.argmax(dim=-1).tolist()
        going = [row for row, token in enumerate(tokens) if token not in stop_ids]
        for row in going:
            answers[active[row]].append(tokens[row])
        going = [row for row in going if len(answers[active[row]]) < max_tokens]
        if not going:
            return answers
        if len(going) < len(active):
            kept = torch.tensor(going, device=embeds.device)
            cache.batch_select_indices(kept)
            mask, places = mask[kept], places[kept]
            active = [active[row] for row in going]
        mask = pad(mask, (0, 1), value=1)
        ids = torch.tensor([tokens[row] for row in going], device=embeds.device)
        with model.autocast():
            logits = _step(model, ids, mask=mask, places=places, cache=cache)
        places = places + 1


def _read(
    model: SpeechLM, embeds: Tensor, position_ids: Tensor, lengths: Sequence[int]
) -> tuple[Tensor, DynamicCache]:
    """Returns logits of each conversation's first token, and its keys and values."""
    packed = DynamicCache()
    segments = segments_of(lengths, causal=True, kernel=model.encoder.kernel, device=embeds.device)
    states = run_body(
        model.llm, embeds, position_ids[None], segments=segments, cache=packed
    ).last_hidden_state
    ends = torch.tensor(lengths, device=embeds.device).cumsum(0) - 1
    batched = DynamicCache()
    for number, layer in enumerate(packed.layers):
        batched.update(_beside(layer.keys, lengths), _beside(layer.values, lengths), number)
    return to_logits(model.llm, states[0, ends]).float(), batched


def _beside(packed: Tensor, lengths: Sequence[int]) -> Tensor:
    """Puts (1, heads, P, size) as (conversations, heads, longest, size), the ends aligned."""
    rows = [row.transpose(0, 1) for row in packed[0].split(list(lengths), dim=1)]
    return pad_sequence(rows, batch_first=True, padding_side="left").transpose(1, 2)


def _step(
    model: SpeechLM, ids: Tensor, *, mask: Tensor, places: Tensor, cache: DynamicCache
) -> Tensor:
    embeds = model.llm.get_input_embeddings()(ids)[:, None]
    found: Any = model.llm.base_model(  # Any: an output of transformers
        inputs_embeds=embeds,
        attention_mask=mask,
        position_ids=places[:, None],
        past_key_values=cache,
        use_cache=True,
    )
    return to_logits(model.llm, found.last_hidden_state[:, -1]).float()


def _drawn(logits: Tensor, fractions: Sequence[float]) -> list[int]:
    """Returns for each row the first token at which the summed chances pass a fraction."""
    sums = logits.double().softmax(dim=-1).cumsum(dim=-1)
    wanted = torch.tensor(fractions, dtype=torch.float64, device=logits.device)
    drawn = torch.searchsorted(sums, wanted[:, None] * sums[:, -1:], right=True)
    found: list[int] = drawn.squeeze(1).clamp(max=logits.shape[-1] - 1).tolist()
    return found
