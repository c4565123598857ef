"""What tests let other processes do: a training to kill, and the ranks of one."""

import os
from pathlib import Path
from typing import Any

import torch

from sllm_data.steps import Progress
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.config import TrainConfig, resolve_train
from sllm_data.trainer.distributed import Ranks, add_up_gradients, full, joined, shard
from sllm_data.trainer.loop import train
from sllm_data.trainer.model.speech_lm import load_speech_lm
from sllm_data.trainer.step import Stepper


def run_training(document: dict[str, Any]) -> None:
    """Trains."""
    torch.set_num_threads(1)
    train(resolve_train(document, where="test"), Progress(None))


def run_rank(rank: int, port: int, document: dict[str, Any]) -> None:
    """Trains as one of two."""
    _become(rank, port)
    run_training(document)


def rank_gradients(
    rank: int, port: int, document: dict[str, Any], packs: list[PackedBatch], into: Path
) -> None:
    """Writes the gradients that one of two ranks has of its pack and the other's."""
    _become(rank, port)
    with joined("cpu") as ranks:
        found = gradients(resolve_train(document, where="test"), [packs[rank]], ranks)
        if ranks.is_first:
            torch.save(found, into)


def gradients(
    config: TrainConfig, packs: list[PackedBatch], ranks: Ranks
) -> dict[str, torch.Tensor]:
    """Returns all gradients of a step over packs, by name."""
    torch.set_num_threads(1)
    model = load_speech_lm(config.model, seed=1, dtype=torch.float32, device="cpu")
    shard(model, [model.llm], ranks)
    parameters = model.trainable_parameters()
    stepper = Stepper(
        model=model,
        parameters=parameters,
        losses=config.losses,
        ranks=ranks,
        failures=config.output,
    )
    stepper.gradients(packs, step=1)
    add_up_gradients(parameters.values(), ranks)
    return {name: full(param.grad) for name, param in parameters.items()}


def _become(rank: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
