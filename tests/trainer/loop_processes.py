"""What tests let other processes do: a training to kill, and the ranks of one."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sllm_data.errors import TrainingError
from sllm_data.steps import Progress
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.config import TrainConfig, resolve_train
from sllm_data.trainer.distributed import Ranks, add_up_gradients, full, joined, shard
from sllm_data.trainer.loop import train
from sllm_data.trainer.model.speech_lm import load_speech_lm
from sllm_data.trainer.setup import DTYPES
from sllm_data.trainer.step import Stepper

Case = tuple[TrainConfig, list[list[PackedBatch]]]
"""Of each rank its packs."""


def run_training(document: dict[str, Any]) -> None:
    """Trains."""
    torch.set_num_threads(1)
    train(resolve_train(document, where="test"), Progress(None))


def run_rank(rank: int, port: int, document: dict[str, Any]) -> None:
    """Trains as one of two."""
    _become(rank, port)
    run_training(document)


def refused_rank(rank: int, port: int, document: dict[str, Any], folder: Path) -> None:
    """Trains as one of two, which is refused, and writes down why."""
    try:
        run_rank(rank, port, document)
    except TrainingError as error:
        (folder / f"{rank}.txt").write_text(str(error))


def rank_steps(rank: int, port: int, cases: Sequence[Case], into: Path) -> None:
    """Writes what one of two ranks finds in a step of each case, over packs of both."""
    _become(rank, port)
    with joined("cpu") as ranks:
        found = [step_of(config, packs[rank], ranks) for config, packs in cases]
        if ranks.is_first:
            torch.save(found, into)


def step_of(
    config: TrainConfig, packs: Sequence[PackedBatch], ranks: Ranks
) -> dict[str, torch.Tensor]:
    """Returns the losses of a step over packs and all its gradients, by name."""
    torch.set_num_threads(1)
    model = load_speech_lm(config.model, seed=1, dtype=DTYPES[config.precision], device="cpu")
    shard(model, [llm for llm in (model.llm, model.original) if llm is not None], ranks)
    parameters = model.trainable_parameters()
    stepper = Stepper(
        model=model,
        parameters=parameters,
        losses=config.losses,
        ranks=ranks,
        failures=config.output,
    )
    means = stepper.gradients(packs, step=1)
    add_up_gradients(parameters.values(), ranks)
    losses = {f"loss {name}": torch.tensor(value) for name, value in means.parts.items()}
    return losses | {name: full(param.grad) for name, param in parameters.items()}


def _become(rank: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
