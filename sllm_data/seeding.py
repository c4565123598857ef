"""All chance in the package: pure functions of (run seed, stage, identity of the row).

There is no generator that is advanced from row to row, so a row comes out the same
whatever the order, the number of workers, or a restart in between.
"""

import hashlib
import random


def _digest(parts: tuple[str | int, ...], size: int) -> bytes:
    # lengths, not a separator: what a part's own text holds can't move its border
    text = "".join(f"{len(part)}:{part}" for part in map(str, parts))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def hash128(*parts: str | int) -> str:
    """Returns 32 hexadecimal digits that identify the parts, in their order.

    >>> hash128("a", 1) == hash128("a", 1), hash128("a", 1) == hash128("a1")
    (True, False)
    """
    return _digest(parts, 16).hex()


def uniform(seed: int, stage: str, *identity: str | int) -> float:
    """Returns a number in (0, 1), uniform over identities, fixed for one of them.

    >>> 0 < uniform(1, "split", "speaker-7") < 1
    True
    """
    return _fraction(_digest((seed, stage, *identity), 8))


def _fraction(digest: bytes) -> float:
    # 52 bits: with more, the sum rounds and the largest would come out as 1
    return ((int.from_bytes(digest) >> 12) + 0.5) / 2**52


def seed_for(seed: int, stage: str, *identity: str | int) -> int:
    """Returns a seed in [0, 2**31) for a consumer that has its own generator.

    31 bits are what every engine and server accepts as a signed 32-bit field.
    """
    return int.from_bytes(_digest((seed, stage, *identity), 8)) >> 33


def rng_for(seed: int, stage: str, *identity: str | int) -> random.Random:
    """Returns a fresh generator for one row at one stage.

    >>> rng_for(1, "interleave", "x").random() == rng_for(1, "interleave", "x").random()
    True
    """
    return random.Random(_digest((seed, stage, *identity), 16))  # noqa: S311 - not secret
