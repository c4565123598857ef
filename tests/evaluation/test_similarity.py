"""How alike two sets of states are."""

import numpy as np
import pytest

from sllm_data.evaluation.similarity import linear_cka, map_of


def _states(rows=40, width=12, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width))


def test_turned_scaled_and_moved_states_are_the_same():
    states = _states()
    turn, _ = np.linalg.qr(_states(12, 12, seed=1))
    assert linear_cka(states, 3 * states @ turn + 100) == pytest.approx(1)


def test_states_that_have_nothing_to_do_with_each_other_are_near_zero_also_when_wide():
    found = [
        linear_cka(_states(20, 200, seed), _states(20, 200, -seed - 1 + 99)) for seed in range(20)
    ]
    assert abs(np.mean(found)) < 0.02


def test_states_that_share_half_of_what_varies_are_in_between():
    shared = _states(200, 6)
    a = np.hstack([shared, _states(200, 6, seed=1)])
    b = np.hstack([shared, _states(200, 6, seed=2)])
    assert 0.4 < (linear_cka(a, b) or 0) < 0.6


def test_few_rows_and_rows_that_don_t_differ_say_nothing():
    assert linear_cka(_states(3), _states(3)) is None
    assert linear_cka(np.ones((9, 4)), _states(9)) is None


def test_a_map_is_the_same_for_the_same_seed():
    states = _states(24, 40)
    states[12:] += 30
    found = map_of(states, seed=1)
    assert found.shape == (24, 2)
    assert np.array_equal(found, map_of(states, seed=1))
    apart = np.linalg.norm(found[:12].mean(axis=0) - found[12:].mean(axis=0))
    assert apart > found[:12].std()
