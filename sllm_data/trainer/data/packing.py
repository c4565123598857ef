"""Which rows make a pack: next fit, with a look at the rows behind where the next one doesn't.

    budget 10   4 5 3 2 6 ...    4 5 fit, 3 does not, and nothing behind it does: [4 5]
                3 2 6 7 5 ...    3 2 fit, 6 does not, the longest that does is 5: [3 2 5]
                6 7 ...

The order stays that of the shuffle but for the rows that fill up. The row that did not fit is
the first of the next pack, so none is put off for ever. Both sides of a row must fit: what is
left of the budget is counted for each.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar


class Sized(Protocol):
    """A row that can be packed."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Positions of the side that hears, and of its twin; 0 where there is no twin."""
        ...


_Row = TypeVar("_Row", bound=Sized)


def take_pack(pool: list[_Row], *, refill: Callable[[], None], budget: int) -> list[_Row]:
    """Takes the rows of the next pack out of the pool; none are left where it is empty.

    Args:
        pool: The rows to come, in order; each fits an empty pack.
        refill: Puts further rows behind those in the pool, as long as there are any.
        budget: Positions of a pack, of each of the two sides.
    """
    taken: list[_Row] = []
    left = budget, budget
    while True:
        refill()
        place = 0
        if not pool or not _fits(pool[0], left):
            fitting = [place for place, row in enumerate(pool) if _fits(row, left)]
            if not fitting:
                return taken
            place = max(fitting, key=lambda each: pool[each].sizes)
        row = pool.pop(place)
        taken.append(row)
        left = left[0] - row.sizes[0], left[1] - row.sizes[1]


def _fits(row: Sized, left: tuple[int, int]) -> bool:
    return row.sizes[0] <= left[0] and row.sizes[1] <= left[1]


_Item = TypeVar("_Item")


def in_packs(
    items: Iterable[_Item], *, size_of: Callable[[_Item], int], budget: int
) -> Iterator[list[_Item]]:
    """Yields items in their order, as many at once as a budget holds; a larger one alone."""
    pack: list[_Item] = []
    used = 0
    for item in items:
        size = size_of(item)
        if pack and used + size > budget:
            yield pack
            pack, used = [], 0
        pack.append(item)
        used += size
    if pack:
        yield pack


def split_to(packs: list[list[_Row]], number: int) -> list[list[_Row]]:
    """Splits packs until there are so many, or each has one row: the last round of a pass."""
    while len(packs) < number:
        longest = max(range(len(packs)), key=lambda place: len(packs[place]))
        rows = packs[longest]
        if len(rows) == 1:
            break
        half = len(rows) // 2
        packs[longest : longest + 1] = [rows[:half], rows[half:]]
    return packs
