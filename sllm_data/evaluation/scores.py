"""Counts of a cell, drawn again; scores of it, and what is made of several scores.

A score carries those of all draws, so that a mean, a quotient or a difference of scores has an
interval of its own: it is made draw by draw. A draw in which one of them is not defined gives
none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sllm_data.evaluation.bootstrap import Estimate, Table, drawn_sums, estimate, scores_of
from sllm_data.evaluation.config import BootstrapConfig, EvaluationConfig
from sllm_data.evaluation.following import Judged
from sllm_data.evaluation.measures import METRICS, ratio


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A score with those of the draws."""

    value: float | None = None
    draws: list[float | None] = field(default_factory=list)
    rows: int = 0

    def estimate(self, config: BootstrapConfig) -> Estimate:
        """Returns the score with the interval of its draws."""
        return estimate(self.value, self.draws, config, rows=self.rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """Counts of the rows of a cell on one side: for each metric (N, K), zeros for None."""

    judged: Sequence[Judged]
    counts: Mapping[str, Table]
    says: Mapping[str, Table]
    """(N,) of 0 and 1: whether the metric says something about the row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """A cell on one side: rows, sums and drawn sums of each metric."""

    rows: int
    says: Mapping[str, int]
    sums: Mapping[str, Table]
    draws: Mapping[str, Table]
    broken_rules: Mapping[str, int]

    def score(self, name: str, *, perfect: float = 1.0) -> Score:
        """Returns a metric, divided by `perfect`."""
        metric = METRICS[name]
        value = metric.score(self.sums[name].tolist())
        draws = scores_of(metric.score, self.draws[name])
        return Score(
            value=None if value is None or not self.says[name] else value / perfect,
            draws=[None if draw is None else draw / perfect for draw in draws],
            rows=self.says[name],
        )

    def main(self, name: str) -> Score:
        """The main metric with 1 as the best score."""
        return self.score(name, perfect=METRICS[name].perfect)


def count_rows(
    judged: Sequence[Judged], names: Sequence[str], config: EvaluationConfig
) -> Counted:
    """Lets metrics count the rows of one task on one side."""
    counts: dict[str, Table] = {}
    says: dict[str, Table] = {}
    for name in names:
        found = [METRICS[name].counts(row, config) for row in judged]
        width = max((len(each) for each in found if each is not None), default=2)
        counts[name] = np.array([each or (0.0,) * width for each in found], np.float64)
        says[name] = np.array([each is not None for each in found], np.float64)
    return Counted(judged=judged, counts=counts, says=says)


def mean(scores: Sequence[Score]) -> Score:
    """Returns the mean of the scores that are defined; not defined where none is."""
    known = [score for score in scores if score.value is not None]
    if not known:
        return Score()
    draws = [_mean_of(each) for each in zip(*(score.draws for score in known), strict=True)]
    return Score(
        value=_mean_of([score.value for score in known]),
        draws=draws,
        rows=sum(score.rows for score in known),
    )


def _mean_of(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if len(found) == len(values) else None


def quotient(a: Score, b: Score) -> Score:
    """Returns a / b; not defined where b is 0."""
    draws = [_divided(x, y) for x, y in zip(a.draws, b.draws, strict=False)]
    return Score(value=_divided(a.value, b.value), draws=draws, rows=min(a.rows, b.rows))


def _divided(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b


def paired_ratios(counts: Table, config: BootstrapConfig, *identity: str) -> tuple[Score, Score]:
    """Returns two ratios of sums over the same rows, drawn in pairs.

    Args:
        counts: (N, 4): of each row numerator and denominator of the one, then of the other.
        config: How often, and the seed.
        identity: Names the draws.
    """
    draws = drawn_sums(counts, config, *identity)
    sums = counts.sum(axis=0).tolist()
    first, second = (
        Score(
            value=ratio(sums[at : at + 2]),
            draws=scores_of(ratio, draws[:, at : at + 2]),
            rows=len(counts),
        )
        for at in (0, 2)
    )
    return first, second


def difference(a: Score, b: Score) -> Score:
    """Returns a - b."""
    if a.value is None or b.value is None:
        return Score()
    draws = [
        None if x is None or y is None else x - y for x, y in zip(a.draws, b.draws, strict=True)
    ]
    return Score(value=a.value - b.value, draws=draws, rows=min(a.rows, b.rows))
