"""AdamW over the parts of the model, and learning rates as a function of the step alone."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import get_args

from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW

from sllm_data.errors import TrainingError
from sllm_data.trainer.config import Group, OptimizerConfig, StageConfig

GROUPS: tuple[Group, ...] = get_args(Group)


def group_of(name: str) -> Group:
    """Returns the part of the model that a parameter belongs to, by its name."""
    for group in GROUPS:
        if name.startswith(f"{group}."):
            return group
    raise TrainingError(f"the parameter {name} must belong to one of {', '.join(GROUPS)}")


def stage_at(stages: Sequence[StageConfig], step: int) -> tuple[StageConfig, int]:
    """Returns the stage that a step belongs to, and which step of the stage it is; from 0."""
    for stage in stages:
        if step < stage.steps:
            return stage, step
        step -= stage.steps
    raise ValueError(f"step must be one of the stages', got {step} behind the last")


def ends_of(stages: Sequence[StageConfig]) -> set[int]:
    """Returns how many steps are done at the end of each stage."""
    return set(itertools.accumulate(stage.steps for stage in stages))


def learning_rates(stages: Sequence[StageConfig], step: int) -> dict[str, float]:
    """Returns the learning rate of each part at a step, counted from 0.

    It rises from highest / warmup_steps to the highest, then falls to `final_share` of it.
    """
    stage, at = stage_at(stages, step)
    factor = _factor(stage, at)
    rates = stage.learning_rates
    return {group: getattr(rates, group) * factor for group in GROUPS}


def _factor(stage: StageConfig, at: int) -> float:
    if at < stage.warmup_steps:
        return (at + 1) / stage.warmup_steps
    done = (at - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps - 1)
    if stage.schedule == "constant":
        return 1.0
    share = 1.0 - done if stage.schedule == "linear" else (1.0 + math.cos(math.pi * done)) / 2
    return stage.final_share + (1.0 - stage.final_share) * share


def make_optimizer(
    parameters: Mapping[str, nn.Parameter], config: OptimizerConfig, *, fused: bool
) -> AdamW:
    """Returns AdamW over what is trained; its groups know which part they are (`part`).

    Only matrices decay: a bias or a norm that shrinks is no regulariser.
    """
    groups: dict[tuple[Group, bool, bool], list[nn.Parameter]] = {}
    for name, param in parameters.items():
        # sharded and whole tensors can't be updated by one call
        key = (group_of(name), param.dim() > 1, isinstance(param, DTensor))
        groups.setdefault(key, []).append(param)
    return AdamW(
        [
            {
                "params": params,
                "part": part,
                "lr": 0.0,
                "weight_decay": config.weight_decay if decays else 0.0,
            }
            for (part, decays, _), params in groups.items()
        ],
        betas=config.betas,
        eps=config.eps,
        fused=fused,
    )


def stage_number(stages: Sequence[StageConfig], step: int) -> int:
    """Returns the number of the stage that a step belongs to, both counted from 0."""
    return sum(end <= step for end in ends_of(stages))
