"""Seconds become samples once, at the nearest frame, and come back unharmed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.units import Hertz, Samples, Seconds, to_samples, to_seconds

rates = st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000])


@given(st.integers(0, 2**40), rates)
def test_samples_to_seconds_and_back_is_identity(count, rate):
    assert to_samples(to_seconds(Samples(count), Hertz(rate)), Hertz(rate)) == count


@given(st.floats(0, 10**6), rates)
def test_a_time_becomes_the_nearest_sample(time_s, rate):
    assert abs(to_samples(Seconds(time_s), Hertz(rate)) - time_s * rate) <= 0.5 + 1e-6


@given(st.floats(0, 10**6), st.floats(0, 10**6), rates)
def test_the_order_of_times_is_the_order_of_samples(one, other, rate):
    first, last = sorted((one, other))
    assert to_samples(Seconds(first), Hertz(rate)) <= to_samples(Seconds(last), Hertz(rate))


def test_ties_go_up():
    assert to_samples(Seconds(0.5), Hertz(1)) == 1
    assert to_samples(Seconds(2.5), Hertz(1)) == 3


@pytest.mark.parametrize("time_s", [math.nan, math.inf])
def test_what_is_no_time_is_refused(time_s):
    with pytest.raises((ValueError, OverflowError)):
        to_samples(Seconds(time_s), Hertz(16_000))
