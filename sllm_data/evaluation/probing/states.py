"""Speech and text as states of the LLM, layer by layer.

A clip is the mean of the states at its positions; its transcript the mean of those at its tokens,
on the side that reads, by the same LLM. One row of each clip is taken, since rows about one clip
would be alike for that reason alone.
"""

from collections.abc import Sequence

import numpy as np
import torch

from sllm_data.evaluation.paired import Float32, PairedStates
from sllm_data.evaluation.probing.rows import Places, Probe
from sllm_data.trainer.data.conversation import prompts_batch
from sllm_data.trainer.model.attention import segments_of
from sllm_data.trainer.model.llm import run_body
from sllm_data.trainer.model.speech_lm import SpeechLM


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
    return PairedStates(
        rows=tuple(probe.row.sample_id for probe in of_clip.values()),
        speech=np.stack(speech, axis=1),
        text=np.stack(text, axis=1),
    )


def _means(model: SpeechLM, embeds: torch.Tensor, places: Places) -> Float32:
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
    return np.asarray(torch.stack(layers).float().cpu().numpy())
