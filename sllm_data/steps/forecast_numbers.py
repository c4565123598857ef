"""The arithmetic of a forecast: from n of N utterances to all of them, with intervals.

Intervals are percentiles of draws with replacement. What was looked at as a whole is known, so
a draw's distance from the figure shrinks with the share that was seen (the correction for
finite populations): where every utterance was looked at, nothing is left to chance.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sllm_data.reporting.forecast import Estimate

Table = npt.NDArray[np.float64]

DRAWS = 1000
_TAIL = 2.5  # per cent on each side
_MAX_CELLS = 2_000_000  # of one block of draws: 16 MB


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """Something that is forecast, and what it was in each draw."""

    mean: float
    draws: Table
    """(DRAWS,)"""

    def times(self, factor: float) -> "Amount":
        """The same in another unit."""
        return Amount(mean=self.mean * factor, draws=self.draws * factor)

    def estimate(self) -> Estimate:
        """The 95 % interval of the draws, around the figure itself."""
        low, high = np.percentile(self.draws, [_TAIL, 100 - _TAIL])
        return Estimate(
            value=self.mean, low=float(min(low, self.mean)), high=float(max(high, self.mean))
        )


NOTHING = Amount(mean=0.0, draws=np.zeros(DRAWS))


def added(amounts: Iterable[Amount]) -> Amount:
    """Adds amounts up, draw by draw."""
    total = NOTHING
    for amount in amounts:
        total = Amount(mean=total.mean + amount.mean, draws=total.draws + amount.draws)
    return total


def totals(
    table: Table, *, population: int, seen: Sequence[float], rng: np.random.Generator
) -> tuple[Table, Table]:
    """Scales what the sampled utterances have up to all of them.

    Args:
        table: (n, K), of each utterance the amounts of K things.
        population: N, of all utterances.
        seen: (K,) of each amount, the share that was looked at, in [0, 1].
        rng: Of the draws.

    Returns:
        (K,) totals, (DRAWS, K) totals of draws, none below 0. Cost: O(DRAWS n K).
    """
    num_rows = len(table)
    scale = population / num_rows
    found = table.sum(axis=0) * scale
    chances = np.full(num_rows, 1 / num_rows)
    block = max(1, _MAX_CELLS // num_rows)
    sums = [
        rng.multinomial(num_rows, chances, size=min(block, DRAWS - start)) @ table
        for start in range(0, DRAWS, block)
    ]
    shrink = np.sqrt(1 - np.clip(np.asarray(seen), 0, 1))
    drawn = found + (np.concatenate(sums) * scale - found) * shrink
    return found, np.maximum(drawn, 0)


def mean_draws(values: Sequence[float], *, seen: float, rng: np.random.Generator) -> Table:
    """Means of values that are drawn again, nearer to their own mean the more was seen.

    Args:
        values: At least one.
        seen: Share of all values that these are, in [0, 1].
        rng: Of the draws.

    Returns:
        (DRAWS,)
    """
    table = np.asarray(values, np.float64)[:, None]
    _, draws = totals(table, population=1, seen=[seen], rng=rng)
    means: Table = draws[:, 0]
    return means


def factors(left: Mapping[str, float], answered: Mapping[str, float]) -> dict[str, float]:
    """By how much each answer of a probe stands for more than itself.

    Args:
        left: By task, the weight of the requests that there are to ask.
        answered: By task, of those that the probe asked.

    Returns:
        By task; what a task without any answer has falls to the others.

    >>> factors({"a": 10, "b": 4}, {"a": 5, "b": 2})
    {'a': 2.0, 'b': 2.0}
    >>> factors({"a": 10, "b": 5}, {"a": 5})
    {'a': 3.0}
    """
    own = {task: left[task] / weight for task, weight in answered.items() if weight > 0}
    stands_for = sum(left[task] for task in own)
    rest = sum(left.values()) / stands_for if stands_for else 1.0
    return {task: factor * rest for task, factor in own.items()}
