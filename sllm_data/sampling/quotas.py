"""Exact quotas: each task gets its share of all requests to the last row.

1. The number of requests is split by weight with the largest remainder.
2. The utterances, in hash order, draw from an urn that holds what is left of each quota.
3. Where eligibility or distinctness left a task short, slots move along chains of tasks
   (short <- a <- b <- over) until no chain is left: that is the maximum a flow can reach.

Cost: O(utterances x tasks) once, and a few passes over two integers per utterance.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sllm_data.seeding import uniform

Masks = npt.NDArray[np.int64]
MAX_TASKS = 62  # a set of tasks is kept as the bits of one signed 64-bit integer


def largest_remainder(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Splits `total` by weight; the parts sum to it exactly.

    >>> largest_remainder(10, {"a": 1, "b": 1, "c": 1})
    {'a': 4, 'b': 3, 'c': 3}
    """
    # fractions: rounding must not decide who gets a row, or make the sum miss the total
    shares = {name: Fraction(weight) for name, weight in weights.items()}
    whole = sum(shares.values())
    if whole <= 0:
        return dict.fromkeys(weights, 0)
    exact = {name: total * share / whole for name, share in shares.items()}
    parts = {name: math.floor(share) for name, share in exact.items()}
    by_remainder = sorted(weights, key=lambda name: (parts[name] - exact[name], name))
    for name in by_remainder[: total - sum(parts.values())]:
        parts[name] += 1
    return parts


def assign_quotas(
    audio_ids: Iterable[str],
    *,
    counts: Sequence[int],
    eligible: Sequence[int],
    weights: Mapping[str, float],
    seed: int,
) -> Masks:
    """Gives each utterance its number of distinct eligible tasks, exact over all of them.

    Sets of tasks are integers: bit i stands for the i-th task of sorted(weights).

    Args:
        audio_ids: The utterances, in hash order; read once, as a stream.
        counts: How many tasks each is to get, as many as it has eligible ones at most.
        eligible: The tasks that each may get.
        weights: Shares of the tasks, all above 0; at most 62 of them.
        seed: Of the run.

    Returns:
        int64 array of shape (utterances,): the tasks of each.
    """
    tasks = sorted(weights)
    if len(tasks) > MAX_TASKS:
        raise ValueError(f"quotas must be over at most {MAX_TASKS} tasks, got {len(tasks)}")
    quotas = largest_remainder(sum(counts), weights)
    left = [quotas[name] for name in tasks]
    may = np.asarray(eligible, np.int64)
    held = np.zeros(len(counts), np.int64)
    for row, (audio_id, count) in enumerate(zip(audio_ids, counts, strict=True)):
        for task in _from_urn(tasks, left, int(may[row]), count, seed=seed, audio_id=audio_id):
            left[task] -= 1
            held[row] |= 1 << task
    _repair(held, may, left)
    return held


def is_settled(held: Masks, may: Masks, left: Sequence[int]) -> bool:
    """Whether no move of slots would bring a task nearer to its quota.

    Args:
        held: int64 array of shape (kinds of utterances,): the tasks that each kind has.
        may: int64 array of the same shape: the tasks that each kind may have.
        left: By task: how many slots it is short of its quota; below 0 where it is over.
    """
    return _path(held, may, list(left)) is None


def _from_urn(
    tasks: list[str], left: list[int], may: int, count: int, *, seed: int, audio_id: str
) -> list[int]:
    # an empty quota is drawn only where nothing else is left; the repair mends it
    def key(task: int) -> tuple[bool, float, int]:
        variate = -math.log(uniform(seed, "task", audio_id, tasks[task]))
        return left[task] <= 0, variate / max(left[task], 1), task

    choices = [task for task in range(len(tasks)) if may >> task & 1]
    return choices if len(choices) <= count else sorted(choices, key=key)[:count]


def _repair(held: Masks, may: Masks, left: list[int]) -> None:
    """Moves slots until no task that is short can be reached from one that is over."""
    while (path := _path(held, may, left)) is not None:
        moves = [(over, short, _movable(held, may, over, short)) for over, short in pairwise(path)]
        # The tasks of a path differ, so its moves touch different bits and commute: as many
        # slots as the narrowest step allows can move at once.
        num = min(-left[path[0]], left[path[-1]], *(rows.size for _, _, rows in moves))
        for over, short, rows in moves:
            held[rows[:num]] ^= (1 << over) | (1 << short)
        left[path[0]] += num
        left[path[-1]] -= num


def _path(held: Masks, may: Masks, left: list[int]) -> list[int] | None:
    previous: dict[int, int] = {t: -1 for t, free in enumerate(left) if free < 0}
    queue = deque(previous)
    while queue:
        task = queue.popleft()
        if left[task] > 0:
            path = [task]
            while previous[path[-1]] != -1:
                path.append(previous[path[-1]])
            return path[::-1]
        for other in range(len(left)):
            if other not in previous and _movable(held, may, task, other).size:
                previous[other] = task
                queue.append(other)
    return None


def _movable(held: Masks, may: Masks, over: int, short: int) -> npt.NDArray[np.intp]:
    """Rows that hold `over`, do not hold `short`, and may."""
    wanted = (held & (1 << over) != 0) & (held & (1 << short) == 0) & (may & (1 << short) != 0)
    return np.flatnonzero(wanted)
