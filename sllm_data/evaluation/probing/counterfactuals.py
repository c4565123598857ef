"""How unlikely the reference is when instruction or speech are other ones.

    as it is               the row
    other instruction      that of the next row with another task
    no instruction         speech alone
    silence                the clip with every sample at zero
    other speech           the clip of the next row with another one

A model that listens to both needs both: each of the four costs it nats. One with an anchor bias
does not miss the instruction.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from sllm_data.evaluation.forced import AS_IT_IS, ForcedLoss
from sllm_data.evaluation.probing.rows import (
    Probe,
    encode,
    instruction_of,
    with_clip,
    with_instruction,
    without_instruction,
)
from sllm_data.trainer.data.building import HeardRow
from sllm_data.trainer.data.conversation import prompts_batch
from sllm_data.trainer.trained import Trained

_Change = Callable[[Trained, Sequence[Probe], int], HeardRow | None]


def _as_it_is(_trained: Trained, probes: Sequence[Probe], place: int) -> HeardRow:
    return probes[place].forced


def _other_instruction(trained: Trained, probes: Sequence[Probe], place: int) -> HeardRow | None:
    row, clips = probes[place].row, probes[place].clips
    other = _next(probes, place, lambda each: each.row.task != row.task)
    if other is None:
        return None
    return encode(trained, with_instruction(row, instruction_of(other.row)), clips)


def _no_instruction(trained: Trained, probes: Sequence[Probe], place: int) -> HeardRow:
    return encode(trained, without_instruction(probes[place].row), probes[place].clips)


def _silence(trained: Trained, probes: Sequence[Probe], place: int) -> HeardRow:
    silent = [replace(clip, samples=np.zeros_like(clip.samples)) for clip in probes[place].clips]
    return encode(trained, probes[place].row, silent)


def _other_speech(trained: Trained, probes: Sequence[Probe], place: int) -> HeardRow | None:
    row = probes[place].row
    other = _next(probes, place, lambda each: each.row.audio_refs != row.audio_refs)
    if other is None:
        return None
    return encode(trained, with_clip(row, len(other.clips[0].samples)), other.clips)


CHANGES: dict[str, _Change] = {
    AS_IT_IS: _as_it_is,
    "other instruction": _other_instruction,
    "no instruction": _no_instruction,
    "silence": _silence,
    "other speech": _other_speech,
}


def _next(probes: Sequence[Probe], place: int, is_other: Callable[[Probe], bool]) -> Probe | None:
    """Returns the first probe behind a place, round the end, of which something is true."""
    return next(filter(is_other, (*probes[place + 1 :], *probes[:place])), None)


def counterfactual_losses(trained: Trained, probes: Sequence[Probe]) -> list[ForcedLoss]:
    """Returns what the reference of each row costs: as it is, and with each change.

    Where there is no other instruction or speech, that change is left out.
    """
    found = []
    for place, probe in enumerate(probes):
        for name, change in CHANGES.items():
            heard = change(trained, probes, place)
            if heard is not None:
                batch = prompts_batch([heard]).to(trained.model.device)
                losses = trained.model.label_losses(batch)
                found.append(
                    ForcedLoss(
                        row=probe.row.sample_id,
                        condition=name,
                        nll=float(losses.double().sum()),
                        nll_tokens=len(losses),
                    )
                )
    return found
