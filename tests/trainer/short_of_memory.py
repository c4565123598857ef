"""Trains as a rank that `torchrun` started; the second of two finds no memory for a whole pack.

Argument: the document of a train.yaml, as JSON.
"""

import json
import sys
from collections.abc import Sequence

import torch

from sllm_data.steps import Progress
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.config import resolve_train
from sllm_data.trainer.loop import HALVED, train
from sllm_data.trainer.step import LossMeans, Stepper

_gradients = Stepper.gradients


def _short_of_memory(self: Stepper, packs: Sequence[PackedBatch], *, step: int) -> LossMeans:
    is_whole = not (self.failures.parent / HALVED).exists()
    if is_whole and step > 1 and not self.ranks.is_first:
        raise torch.cuda.OutOfMemoryError
    return _gradients(self, packs, step=step)


if __name__ == "__main__":
    torch.set_num_threads(1)
    Stepper.gradients = _short_of_memory
    config = resolve_train(json.loads(sys.argv[1]), where="test")
    train(config, Progress(None), say=lambda text: print(text, file=sys.stderr))  # noqa: T201
