"""Speech and text as states of the LLM, layer by layer: how alike they are, and a map of both.

A clip is the mean of the states at its positions; its transcript the mean of those at its tokens,
on the side that reads, by the same LLM. One row of each clip is taken, since rows about one clip
would be alike for that reason alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sllm_data.evaluation.probing.rows import Places, Probe
from sllm_data.evaluation.similarity import States, linear_cka, map_of
from sllm_data.trainer.data.conversation import prompts_batch
from sllm_data.trainer.model.attention import segments_of
from sllm_data.trainer.model.llm import run_body
from sllm_data.trainer.model.speech_lm import SpeechLM

_LEAST_CLIPS = 8
"""A map of fewer says nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedStates:
    """Of N clips, in front of the first layer and behind each."""

    speech: tuple[States, ...]
    """(N, H) for each of layers + 1."""
    text: tuple[States, ...]

    def similarity(self) -> list[float | None]:
        """Returns the CKA of speech and text at each of layers + 1."""
        return [linear_cka(*both) for both in zip(self.speech, self.text, strict=True)]

    def map(self, layer: int, *, seed: int) -> tuple[States, States] | None:
        """Returns speech and text on one map, (N, 2) each; None for a few clips."""
        both = self.speech[layer], self.text[layer]
        if len(both[0]) < _LEAST_CLIPS:
            return None
        found = map_of(np.concatenate(both), seed=seed)
        return found[: len(both[0])], found[len(both[0]) :]


def paired_states(model: SpeechLM, probes: Sequence[Probe]) -> PairedStates:
    """Runs both sides of one row of each clip."""
    of_clip = {probe.row.audio_refs: probe for probe in reversed(probes)}
    speech, text = [], []
    for probe in of_clip.values():
        batch = prompts_batch([probe.forced]).to(model.device)
        assert batch.twin is not None  # noqa: S101 - probes have twins
        with torch.no_grad():
            speech.append(_means(model, model.embed(batch), probe.speech.content))
            read = model.llm.get_input_embeddings()(batch.twin.token_ids)[None]
            text.append(_means(model, read, probe.text.content))
    return PairedStates(speech=_by_layer(speech), text=_by_layer(text))


def _means(model: SpeechLM, embeds: torch.Tensor, places: Places) -> States:
    """Returns the mean state at some places: (layers + 1, H)."""
    length = embeds.shape[1]
    segments = segments_of(
        [length], causal=True, kernel=model.encoder.kernel, device=embeds.device
    )
    positions = torch.arange(length, device=embeds.device)[None]
    with model.autocast():
        found = run_body(model.llm, embeds, positions, segments=segments, all_layers=True)
    at = torch.from_numpy(places).to(embeds.device)
    layers = [states[0, at].double().mean(dim=0) for states in found.hidden_states]
    return np.asarray(torch.stack(layers).cpu().numpy())


def _by_layer(clips: Sequence[States]) -> tuple[States, ...]:
    return tuple(np.stack([clip[layer] for clip in clips]) for layer in range(len(clips[0])))
