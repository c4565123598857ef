"""States of a frozen encoder, kept: what a clip gave once it gives again.

A row of a small dataset is heard many times, and a frozen encoder finds the same in it each
time. Clips are known by what they are, their frames, so one that several rows ask about is
encoded once, and a stretch of it or another loudness is another clip. Each is encoded by itself:
what it gives must not depend on which of its neighbours are known already, or a training that
was stopped would go on with other last digits.
"""

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Encode = Callable[[Tensor, Sequence[int]], Tensor]


class KeptStates:
    """States of clips, up to an amount of memory; what comes after that is encoded anew.

    What came first stays: each epoch asks for all clips once, and whatever made room for the
    newest would be gone whenever it is asked for.

    Args:
        most_bytes: Of all states together, on the device where they were made.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.num_bytes = 0
        self._kept: dict[bytes, Tensor] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, features: Tensor, clip_frames: Sequence[int], encode: Encode) -> Tensor:
        """Returns the states of a pack's clips: shape (taps, T, hidden).

        Args:
            features: float32 (F, M), frames of all clips one behind the other.
            clip_frames: Of each clip; their sum is F.
            encode: Returns the states of clips that are not known.
        """
        on_cpu = features.detach().cpu().contiguous().split(list(clip_frames))
        found = []
        for clip, bare in zip(features.split(list(clip_frames)), on_cpu, strict=True):
            key = hashlib.blake2b(bare.flatten().numpy().data, digest_size=16).digest()
            states = self._kept.get(key)
            if states is None:
                states = encode(clip, [len(clip)])
                self._keep(key, states)
            found.append(states)
        return torch.cat(found, dim=1)

    def _keep(self, key: bytes, states: Tensor) -> None:
        size = states.numel() * states.element_size()
        if self.num_bytes + size <= self.most_bytes:
            self._kept[key] = states
            self.num_bytes += size
