"""How often each value comes up: what means, quantiles and histograms are made of."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_NICE = (1, 2, 5)
_REACH = 0.99  # of all values lie below the last bin, which holds the rest


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """Counts of values that are multiples of one step."""

    counts: Mapping[int, int]
    """By multiple of `step`, which stands for [k * step, (k + 1) * step)."""
    step: float = 1.0

    @property
    def total(self) -> int:
        """How many values."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """Returns the smallest value that so large a share does not exceed; None without any."""
        left = math.ceil(share * self.total)
        for value in sorted(self.counts):
            left -= self.counts[value]
            if left <= 0:
                return value * self.step
        return None

    def mean(self) -> float | None:
        """Returns the mean of the values, in multiples of the step; None without any."""
        weighted = sum(value * count for value, count in self.counts.items())
        return self.step * weighted / self.total if self.total else None


def shared_edges(distributions: Sequence[Distribution], *, num_bins: int = 30) -> list[float]:
    """Returns edges of bins of one round width that fit several distributions of one step.

    The last edge is beyond all but a hundredth of the values: what is larger goes in the last bin.

    >>> shared_edges([Distribution(counts={3: 1, 14: 1})], num_bins=8)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]
    """
    steps = {each.step for each in distributions if each.total}
    if not steps:
        return []
    step = min(steps)
    reach = max((each.quantile(_REACH) or 0.0) / each.step for each in distributions)
    factor = next(
        nice * 10**power
        for power in range(12)
        for nice in _NICE
        if nice * 10**power * num_bins > reach
    )
    num = int(reach // factor) + 1
    return [round(k * factor * step, 9) for k in range(num + 1)]


def binned(distribution: Distribution, edges: Sequence[float]) -> list[int]:
    """Counts the values between edges of one width; the last bin has all that is beyond."""
    counts = [0] * (len(edges) - 1)
    if not counts:
        return counts
    width = round((edges[1] - edges[0]) / distribution.step)
    for value, count in distribution.counts.items():
        counts[min(max(0, value) // width, len(counts) - 1)] += count
    return counts
