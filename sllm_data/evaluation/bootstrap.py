"""Confidence intervals by the percentile bootstrap: rows are drawn again, with replacement.

    rows' counts (N, K) -> sums of R draws (R, K) -> R scores -> their percentiles

One draw serves all metrics and all sides of a cell, so that the ratio of two sides is drawn in
pairs: a row that is hard for both is in both or in neither. The draws depend on the seed and
the name of the cell alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sllm_data.evaluation.config import BootstrapConfig
from sllm_data.seeding import seed_for

Table = npt.NDArray[np.float64]

_MAX_CELLS = 2_000_000  # of one block of draws: 16 MB


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A score with its interval."""

    value: float | None
    """None where it is not defined: no row, or nothing to divide by."""
    low: float | None = None
    """None below two rows."""
    high: float | None = None
    rows: int
    """That say something about it."""


def drawn_sums(counts: Table, config: BootstrapConfig, *identity: str) -> Table:
    """Draws the rows again and adds up their counts.

    Args:
        counts: (N, K) of N rows; N is 1 or more.
        config: How often, and the seed.
        identity: Names the cell.

    Returns:
        (R, K). Cost: O(R N K), some megabytes at a time.
    """
    rng = np.random.default_rng(seed_for(config.seed, "bootstrap", *identity))
    num_rows = len(counts)
    chances = np.full(num_rows, 1 / num_rows)
    block = max(1, _MAX_CELLS // num_rows)
    sums = []
    for start in range(0, config.resamples, block):
        draws = min(block, config.resamples - start)
        times_drawn = rng.multinomial(num_rows, chances, size=draws)
        sums.append(times_drawn @ counts)
    return np.concatenate(sums)


def scores_of(score: Callable[[Sequence[float]], float | None], sums: Table) -> list[float | None]:
    """Returns the score of each draw."""
    return [score(row) for row in sums.tolist()]


def estimate(
    value: float | None, draws: Sequence[float | None], config: BootstrapConfig, *, rows: int
) -> Estimate:
    """Puts the interval of its draws around a score.

    There is none below two rows, or where half of the draws or more are not defined.
    """
    found = [draw for draw in draws if draw is not None]
    if value is None or rows < 2 or 2 * len(found) <= len(draws):  # noqa: PLR2004 - see above
        return Estimate(value=value, rows=rows)
    tail = 50 * (1 - config.confidence)
    low, high = np.percentile(found, [tail, 100 - tail])
    return Estimate(value=value, low=float(low), high=float(high), rows=rows)
