"""Tensors that are made once and kept, up to an amount of memory."""

from collections.abc import Callable, Hashable

from torch import Tensor


class Kept:
    """What was made, by what it was made from.

    What came first stays, and what comes after the memory is full is made anew each time: each
    epoch asks for everything once, and whatever made room for the newest would be gone whenever
    it is asked for.

    Args:
        most_bytes: Of all tensors together, on the device where they were made.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.num_bytes = 0
        self._kept: dict[Hashable, Tensor] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """Returns what is kept under a key, or what `make` gives, which is kept where it fits."""
        found = self._kept.get(key)
        if found is None:
            found = make()
            size = found.numel() * found.element_size()
            if self.num_bytes + size <= self.most_bytes:
                self._kept[key] = found
                self.num_bytes += size
        return found


def gibibytes(size: float) -> int:
    """Returns bytes.

    >>> gibibytes(0.5)
    536870912
    """
    return int(size * 2**30)
