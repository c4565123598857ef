"""Which utterance meets which task: weighted draws, exact quotas, and splits by speaker."""

from sllm_data.sampling.config import DrawConfig, FollowupConfig, SplitConfig, TaskConfig
from sllm_data.sampling.draw import (
    base_language,
    draw_params,
    draw_tasks,
    is_eligible,
    is_named,
    num_tasks_for,
    pick,
    pick_weighted,
)
from sllm_data.sampling.quotas import assign_quotas, largest_remainder
from sllm_data.sampling.splits import split_of_speaker

__all__ = [
    "DrawConfig",
    "FollowupConfig",
    "SplitConfig",
    "TaskConfig",
    "assign_quotas",
    "base_language",
    "draw_params",
    "draw_tasks",
    "is_eligible",
    "is_named",
    "largest_remainder",
    "num_tasks_for",
    "pick",
    "pick_weighted",
    "split_of_speaker",
]
