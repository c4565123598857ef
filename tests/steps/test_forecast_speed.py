"""How fast a probe was: which of its time counts, and what more requests take."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.steps.forecast_numbers import DRAWS, Amount
from sllm_data.steps.forecast_speed import (
    MAX_WINDOWS,
    Arrival,
    Trial,
    borrowed,
    hours_for,
    speed_of,
)

numbers = st.integers(1, 10_000)


def _trial(*, rate: int = 10, seconds: int = 60, full: tuple[float, float] | None = None) -> Trial:
    """So many answers each second, of 3 tokens each."""
    return Trial(
        arrivals=tuple(
            Arrival(seconds=second, answers=rate, response_tokens=3 * rate)
            for second in range(1, seconds + 1)
        ),
        full_from=full[0] if full else None,
        full_until=full[1] if full else 0.0,
        is_drained=True,
    )


def _amount(requests: float) -> Amount:
    return Amount(mean=requests, draws=np.full(DRAWS, requests))


def test_only_the_time_in_which_the_engine_was_full_counts():
    slow_at_first = (Arrival(seconds=20, answers=1, response_tokens=1),)
    steady = tuple(Arrival(seconds=20 + k, answers=5, response_tokens=50) for k in range(1, 11))
    slow_at_last = (Arrival(seconds=60, answers=1, response_tokens=1),)
    speed = speed_of(
        Trial(
            arrivals=slow_at_first + steady + slow_at_last,
            full_from=20,
            full_until=30,
            is_drained=True,
        )
    )

    assert speed.requests_per_second == pytest.approx(5)
    assert speed.response_tokens_per_second == pytest.approx(50)
    assert (speed.seconds, speed.answers, speed.is_full) == (pytest.approx(10), 52, True)


def test_an_engine_that_was_never_full_is_measured_as_a_whole():
    speed = speed_of(_trial(rate=10, seconds=6))

    assert not speed.is_full
    assert speed.requests_per_second == pytest.approx(10)


@given(st.integers(1, 100), st.integers(1, 100))
def test_windows_hold_every_answer_once(rate, seconds):
    trial = _trial(rate=rate, seconds=seconds)
    windows, width = trial.windows()

    assert windows.sum(axis=0).tolist() == [rate * seconds, 3 * rate * seconds]
    assert len(windows) == min(MAX_WINDOWS, seconds)
    assert len(windows) * width == pytest.approx(seconds)


@given(numbers, numbers)
def test_more_requests_take_longer(requests, more):
    trial = _trial(full=(6, 54))
    shorter, longer = (trial.seconds_for(n, 10.0) for n in (requests, requests + more))

    assert shorter < longer


def test_what_the_probe_answered_takes_what_it_took():
    trial = _trial(rate=10, seconds=60, full=(6, 54))

    assert trial.seconds_for(600, 99.0) == 60
    assert trial.seconds_for(300, 99.0) == 30
    assert trial.seconds_for(1600, 100.0) == 70


def test_hours_of_several_engines_are_added_up():
    trial = _trial(rate=10, seconds=60, full=(6, 54))
    rng = np.random.default_rng(0)
    one, two = (hours_for(_amount(36_000), trial, 10.0, engines=n, rng=rng) for n in (1, 2))

    assert one.mean == pytest.approx(1.0, rel=0.01)
    assert two.mean == pytest.approx(1.0, rel=0.01)


def test_an_uneven_engine_has_a_wide_interval():
    rng = np.random.default_rng(0)
    uneven = Trial(
        arrivals=tuple(
            Arrival(seconds=k, answers=1 + 20 * (k % 4 == 0), response_tokens=1)
            for k in range(1, 61)
        ),
        full_from=0.5,
        full_until=60,
        is_drained=True,
    )
    widths = []
    for trial in (_trial(full=(0.5, 60)), uneven):
        each = hours_for(_amount(36_000), trial, 6.0, engines=1, rng=rng).estimate()
        widths.append((each.high - each.low) / each.value)

    assert widths[0] < 0.1 < widths[1]


def test_a_pass_that_did_not_fill_the_engine_has_the_speed_of_one_that_did():
    slow = speed_of(_trial(rate=10, seconds=6))

    assert borrowed(slow, 40.0).requests_per_second == 40
    assert borrowed(slow, 40.0).response_tokens_per_second == pytest.approx(120)
    assert borrowed(slow, 40.0).is_borrowed
    assert borrowed(slow, 5.0) == slow
    full = speed_of(_trial(full=(6, 54)))
    assert borrowed(full, 40.0) == full
