"""States of a frozen encoder, kept: what a clip gave once it gives again.

A row of a small dataset is heard many times, and a frozen encoder finds the same in it each
time. Clips are known by what they are, their frames, so one that several rows ask about is
encoded once, and a stretch of it or another loudness is another clip. Each is encoded by itself:
what it gives must not depend on which of its neighbours are known already, or a training that
was stopped would go on with other last digits.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from sllm_data.trainer.kept import Kept

Encode = Callable[[Tensor, Sequence[int]], Tensor]


def kept_states(
    kept: Kept, features: Tensor, clip_frames: Sequence[int], encode: Encode
) -> Tensor:
    """Returns the states of a pack's clips: shape (taps, T, hidden).

    Args:
        kept: States of clips, shape (taps, T of the clip, hidden).
        features: float32 (F, M), frames of all clips one behind the other.
        clip_frames: Of each clip; their sum is F.
        encode: Returns the states of clips that are not known.
    """
    on_cpu = features.detach().cpu().contiguous().split(list(clip_frames))
    found = []
    for clip, bare in zip(features.split(list(clip_frames)), on_cpu, strict=True):
        key = hashlib.blake2b(bare.flatten().numpy().data, digest_size=16).digest()
        found.append(kept.of(key, partial(encode, clip, [len(clip)])))
    return torch.cat(found, dim=1)
