"""Packs from lengths: nothing lost, nothing too long, and nearly nothing left empty."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.trainer.data.packing import split_to, take_pack


@dataclass(frozen=True)
class Piece:
    number: int
    sizes: tuple[int, int]


def packs_of(sizes: list[tuple[int, int]], *, budget: int, lookahead: int) -> list[list[Piece]]:
    rest = [Piece(number, size) for number, size in enumerate(sizes)]
    pool: list[Piece] = []

    def refill() -> None:
        while rest and len(pool) < lookahead:
            pool.append(rest.pop(0))

    packs = []
    while pack := take_pack(pool, refill=refill, budget=budget):
        packs.append(pack)
    return packs


_SIZES = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), max_size=60)


@given(sizes=_SIZES, budget=st.integers(50, 200), lookahead=st.integers(1, 20))
def test_each_row_is_in_one_pack_and_no_side_of_a_pack_exceeds_the_budget(
    sizes, budget, lookahead
):
    packs = packs_of(sizes, budget=budget, lookahead=lookahead)
    assert sorted(piece.number for pack in packs for piece in pack) == list(range(len(sizes)))
    for pack in packs:
        assert sum(piece.sizes[0] for piece in pack) <= budget
        assert sum(piece.sizes[1] for piece in pack) <= budget


@given(sizes=_SIZES, budget=st.integers(50, 200), lookahead=st.integers(1, 20))
def test_a_row_is_put_off_by_one_pack_at_most_once_it_is_the_next(sizes, budget, lookahead):
    packs = packs_of(sizes, budget=budget, lookahead=lookahead)
    taken: set[int] = set()
    for pack in packs:
        assert pack[0].number == min(set(range(len(sizes))) - taken)
        taken |= {piece.number for piece in pack}


def test_without_lookahead_the_order_is_kept():
    rng = np.random.default_rng(1)
    sizes = [(int(size), 0) for size in rng.integers(1, 50, 300)]
    packs = packs_of(sizes, budget=100, lookahead=1)
    assert [piece.number for pack in packs for piece in pack] == list(range(300))


def test_speech_sized_rows_fill_97_percent_of_packs_also_where_they_are_small():
    rng = np.random.default_rng(1)
    seconds = np.minimum(rng.lognormal(1.5, 0.6, 5_000), 30)
    lengths = seconds * 12.5 + rng.integers(25, 60, 5_000) + rng.poisson(60, 5_000)
    sizes = [(int(length), 0) for length in lengths]
    for budget in (2_048, 4_096, 16_384):
        packs = packs_of(sizes, budget=budget, lookahead=64)[:-1]
        used = sum(piece.sizes[0] for pack in packs for piece in pack)
        assert used / (budget * len(packs)) >= 0.97


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), number=st.integers(1, 12))
def test_splitting_loses_no_row_and_stops_at_single_rows(lengths, number):
    packs = [[(place, row) for row in range(length)] for place, length in enumerate(lengths)]
    split = split_to([list(pack) for pack in packs], number)
    assert sorted(row for pack in split for row in pack) == sorted(chain(*packs))
    assert len(split) == max(len(packs), min(number, sum(lengths)))
