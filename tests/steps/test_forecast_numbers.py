"""The arithmetic of a forecast: totals, intervals and factors hold for any sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.reporting.forecast import Estimate
from sllm_data.steps.forecast_numbers import DRAWS, Amount, added, factors, mean_draws, totals

amounts = st.lists(st.floats(0, 1e6), min_size=1, max_size=40)
shares = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.1, 1e4), min_size=1)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


@given(amounts, st.integers(1, 50))
def test_a_total_is_the_sum_times_the_scale(column, scale):
    table = np.asarray(column)[:, None]
    population = scale * len(column)
    found, draws = totals(table, population=population, seen=[1 / scale], rng=_rng())

    assert found[0] == pytest.approx(scale * sum(column))
    assert draws.shape == (DRAWS, 1)
    assert (draws >= 0).all()


@given(amounts)
def test_what_was_seen_as_a_whole_is_left_to_no_chance(column):
    table = np.asarray(column)[:, None]
    found, draws = totals(table, population=len(column), seen=[1.0], rng=_rng())

    assert draws[:, 0] == pytest.approx(np.full(DRAWS, found[0]))


def test_an_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(7)
    population = rng.gamma(2.0, 50.0, size=2000)
    covered = 0
    for _ in range(100):
        drawn = rng.choice(population, size=200, replace=False)
        found, draws = totals(
            drawn[:, None],
            population=2000,
            seen=[0.1],
            rng=np.random.default_rng(rng.integers(99)),
        )
        interval = Amount(mean=float(found[0]), draws=draws[:, 0]).estimate()
        covered += interval.low <= population.sum() <= interval.high

    assert 88 <= covered <= 100


def test_an_interval_is_narrower_the_more_was_seen():
    column = np.arange(100.0)[:, None]
    widths = []
    for seen in (0.0, 0.5, 0.9, 1.0):
        found, draws = totals(column, population=100, seen=[seen], rng=_rng())
        each = Amount(mean=float(found[0]), draws=draws[:, 0]).estimate()
        widths.append(each.high - each.low)

    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == 0


@given(amounts)
def test_means_lie_within_the_values(values):
    draws = mean_draws(values, seen=0.0, rng=_rng())

    assert draws.min() >= min(values) - 1e-6 * max(values)
    assert draws.max() <= max(values) * (1 + 1e-6)


@given(shares, st.data())
def test_answers_stand_for_all_that_there_is_to_ask(left, data):
    some = data.draw(st.sets(st.sampled_from(sorted(left)), min_size=1))
    answered = {task: left[task] * data.draw(st.floats(0.01, 1)) for task in some}
    found = factors(left, answered)

    assert found.keys() == some
    weighed = sum(found[task] * answered[task] for task in some)
    assert weighed == pytest.approx(sum(left.values()))


def test_where_nothing_was_answered_nothing_stands_for_anything():
    assert factors({"a": 3.0}, {}) == {}


@given(amounts)
def test_an_estimate_lies_within_its_interval(values):
    each = Amount(mean=values[0], draws=np.resize(values, DRAWS)).estimate()

    assert each.low <= each.value <= each.high
    assert added([]).estimate() == Estimate(value=0, low=0, high=0)


def test_an_estimate_outside_its_interval_is_refused():
    with pytest.raises(ValueError, match="low <= value <= high must hold"):
        Estimate(value=3, low=1, high=2)
