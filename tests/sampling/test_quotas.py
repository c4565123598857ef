"""Quotas are met to the last row wherever that is possible at all."""

from collections import deque
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.sampling import assign_quotas, largest_remainder

shares = st.one_of(st.just(0.0), st.floats(1e-3, 1e6), st.integers(1, 9).map(float))
weightings = st.dictionaries(st.text("abcde", min_size=1, max_size=2), shares, max_size=6)


@given(st.integers(0, 10**18), weightings)
def test_parts_sum_to_the_total_and_are_within_one_of_exact(total, weights):
    parts = largest_remainder(total, weights)
    whole = sum(map(Fraction, weights.values()))
    assert parts.keys() == weights.keys()
    if whole == 0:
        assert not any(parts.values())
        return
    assert sum(parts.values()) == total
    for name, weight in weights.items():
        assert abs(parts[name] - total * Fraction(weight) / whole) < 1
        assert weight or not parts[name]


@given(st.integers(0, 1_000), weightings, st.randoms())
def test_parts_do_not_depend_on_the_order_of_the_names(total, weights, chance):
    shuffled = list(weights.items())
    chance.shuffle(shuffled)
    assert largest_remainder(total, dict(shuffled)) == largest_remainder(total, weights)


def test_equal_remainders_go_by_name():
    assert largest_remainder(2, {"c": 1, "b": 1, "a": 1}) == {"c": 0, "b": 1, "a": 1}


@st.composite
def problems(draw, *, max_rows=8, max_tasks=4):
    """Rows as (count, eligible tasks), with at least as many eligible as wanted; weights."""
    num_tasks = draw(st.integers(1, max_tasks))
    masks = draw(st.lists(st.integers(1, 2**num_tasks - 1), max_size=max_rows))
    counts = [draw(st.integers(1, mask.bit_count())) for mask in masks]
    weights = {
        f"t{i}": draw(st.integers(1, 5).map(float) | st.floats(0.1, 9)) for i in range(num_tasks)
    }
    return counts, masks, weights


def _assign(counts, masks, weights, seed=1):
    ids = (f"c/1/en/{i}" for i in range(len(counts)))
    return assign_quotas(ids, counts=counts, eligible=masks, weights=weights, seed=seed)


def _totals(held, num_tasks):
    return [int(sum(mask >> task & 1 for mask in held.tolist())) for task in range(num_tasks)]


def _most_within_quotas(counts, masks, quotas) -> int:
    """The largest number of requests that no quota forbids: a maximum flow by plain search.

    0 is the source, then the rows, then the tasks, then the sink; every edge carries what is
    left of its capacity, and each search adds one unit.
    """
    rows, tasks = len(counts), len(quotas)
    sink = rows + tasks + 1
    left = {}
    for row, (wanted, mask) in enumerate(zip(counts, masks, strict=True)):
        left[0, 1 + row] = wanted
        left.update({(1 + row, 1 + rows + t): 1 for t in range(tasks) if mask >> t & 1})
    left.update({(1 + rows + t, sink): quotas[t] for t in range(tasks)})
    left |= {(b, a): 0 for a, b in left}
    flow = 0
    while True:
        previous = {0: 0}
        queue = deque([0])
        while queue and sink not in previous:
            node = queue.popleft()
            for (a, b), free in left.items():
                if a == node and free and b not in previous:
                    previous[b] = a
                    queue.append(b)
        if sink not in previous:
            return flow
        node = sink
        while node:
            left[previous[node], node] -= 1
            left[node, previous[node]] += 1
            node = previous[node]
        flow += 1


@given(problems())
def test_every_utterance_gets_its_number_of_distinct_eligible_tasks(problem):
    counts, masks, weights = problem
    held = _assign(*problem)
    assert held.dtype == np.int64
    assert [mask.bit_count() for mask in held.tolist()] == counts
    assert all(not (got & ~may) for got, may in zip(held.tolist(), masks, strict=True))
    del weights


@settings(max_examples=200)
@given(problems())
def test_as_many_requests_fall_within_their_quotas_as_any_assignment_allows(problem):
    counts, masks, weights = problem
    quotas = list(largest_remainder(sum(counts), weights).values())
    totals = _totals(_assign(*problem), len(weights))
    within = sum(min(total, quota) for total, quota in zip(totals, quotas, strict=True))
    assert within == _most_within_quotas(counts, masks, quotas)


@given(st.integers(1, 60), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_quotas_are_exact_where_everything_is_eligible(rows, weights):
    named = {f"t{i}": float(weight) for i, weight in enumerate(weights)}
    everything = 2 ** len(named) - 1
    held = _assign([1] * rows, [everything] * rows, named)
    assert _totals(held, len(named)) == list(largest_remainder(rows, named).values())


def test_a_chain_of_three_tasks_is_repaired():
    """Only a may give to c, and only b to a: the surplus of b travels over a."""
    counts = [1] * 6
    a, b, c = 1, 2, 4
    masks = [b, b, a | b, a | b, a | c, a | c]
    held = _assign(counts, masks, {"a": 1.0, "b": 1.0, "c": 1.0})
    assert _totals(held, 3) == [2, 2, 2]
    assert held[:2].tolist() == [b, b]
    assert held[4:].tolist() == [c, c]


def test_what_no_assignment_can_meet_comes_as_near_as_it_can():
    held = _assign([1] * 4, [1, 1, 1, 3], {"a": 1.0, "b": 1.0})
    assert _totals(held, 2) == [3, 1]


def test_a_task_of_weight_0_gets_only_what_nothing_else_can_take():
    held = _assign([1, 1], [3, 2], {"a": 1.0, "b": 0.0})
    assert held.tolist() == [1, 2]


def test_the_same_rows_get_the_same_tasks_again():
    masks = [1 + i % 7 for i in range(500)]
    counts = [1 + (mask.bit_count() > 1 and i % 3 == 0) for i, mask in enumerate(masks)]
    weights = {"a": 1.0, "b": 2.0, "c": 1.5}
    one, other = _assign(counts, masks, weights), _assign(counts, masks, weights)
    assert (one == other).all()
    assert (one != _assign(counts, masks, weights, seed=2)).any()


def test_a_mix_is_spread_over_the_rows_and_not_given_in_blocks():
    held = _assign([1] * 4_000, [3] * 4_000, {"a": 1.0, "b": 1.0})
    first_half = int((held[:2_000] == 1).sum())
    assert int((held == 1).sum()) == 2_000
    assert abs(first_half - 1_000) < 130


def test_no_rows_need_no_tasks():
    assert _assign([], [], {"a": 1.0}).tolist() == []


def test_more_tasks_than_bits_are_refused():
    weights = {f"t{i:02}": 1.0 for i in range(63)}
    with pytest.raises(ValueError, match="must be over at most 62 tasks, got 63"):
        _assign([1], [1], weights)


def test_the_62nd_task_still_fits():
    weights = {f"t{i:02}": 1.0 for i in range(62)}
    held = _assign([1] * 62, [2**62 - 1] * 62, weights)
    assert sorted(held.tolist()) == [1 << i for i in range(62)]
