"""What both trainings of the testbed share: chance that repeats itself, and the optimizers."""

import math
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from sllm_data.testbed.muon import Muon

if TYPE_CHECKING:
    import torch

Report = Callable[[int, str], None]
"""Told the number of steps that were just made, and how far the training is."""

_DECAY = 0.01
_THREADS = 1  # on any machine: several add up in another order
_LAST = 0.02  # of the learning rate


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Seeds torch and keeps it from anything by chance; afterwards it is as it was."""
    import torch  # noqa: PLC0415 - its import takes seconds

    threads = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(_THREADS)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(before, warn_only=warned)


def schedule(done: float, warm_up: float) -> float:
    """Returns the share of the learning rate after a share of the steps.

    It rises in a line over the first `warm_up` of them, then falls as a cosine to 2 %.
    """
    if done < warm_up:
        return (done + 1e-3) / warm_up
    return _LAST + (1 - _LAST) * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up))) / 2


class Optimizers:
    """Muon for the matrices inside a model's layers, AdamW for everything else."""

    def __init__(self, layers: "torch.nn.Module", weights: "Sequence[torch.nn.Parameter]") -> None:
        import torch  # noqa: PLC0415 - its import takes seconds

        matrices = [weight for weight in layers.parameters() if weight.ndim > 1]
        chosen = set(map(id, matrices))
        rest = [weight for weight in weights if id(weight) not in chosen]
        self._weights = weights
        self._adamw = torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=_DECAY)
        self._muon = Muon(matrices, decay=_DECAY)

    def step(self, learning_rate: float) -> None:
        """Makes a step along the gradients, which are clipped to norm 1, and forgets them."""
        import torch  # noqa: PLC0415 - its import takes seconds

        torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()
        self._adamw.zero_grad()
        self._muon.step(learning_rate)


def num_parameters(weights: "Iterable[torch.nn.Parameter]") -> int:
    """Counts numbers, not tensors."""
    return sum(weight.numel() for weight in weights)


def made_with() -> dict[str, str]:
    """Returns what the last bits of a training depend on beside its arguments."""
    from torch.backends.cpu import get_cpu_capability  # noqa: PLC0415 - its import takes seconds

    return {
        "python": platform.python_version(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "processor": f"{platform.machine()}, {get_cpu_capability()}",
    }
