"""Trains as a rank that `torchrun` started; in the third step a SIGTERM comes.

Arguments: the document of a train.yaml, as JSON; who gets the signal: `torchrun`, `rank` (the
second of two) or `nobody`.
"""

import json
import os
import signal
import sys
import time
from typing import Any

import torch

from sllm_data.cli_stop import stopping_at_sigterm
from sllm_data.steps import Progress
from sllm_data.trainer.config import resolve_train
from sllm_data.trainer.loop import train
from sllm_data.trainer.step import Stepper

STEP = 3

_update = Stepper.update


def _asked(self: Stepper, *arguments: Any, step: int, **options: Any) -> float:
    if step == STEP and sys.argv[2] == "rank" and not self.ranks.is_first:
        signal.raise_signal(signal.SIGTERM)
    if step == STEP and sys.argv[2] == "torchrun" and self.ranks.is_first:
        os.kill(os.getppid(), signal.SIGTERM)
        noted = signal.getsignal(signal.SIGTERM).__self__
        while not noted.asked:  # torchrun passes it on
            time.sleep(0.01)
    return _update(self, *arguments, step=step, **options)


def _train() -> None:
    config = resolve_train(json.loads(sys.argv[1]), where="test")
    train(config, Progress(None), say=lambda text: print(text, file=sys.stderr))  # noqa: T201


if __name__ == "__main__":
    torch.set_num_threads(1)
    Stepper.update = _asked
    stopping_at_sigterm(_train)
