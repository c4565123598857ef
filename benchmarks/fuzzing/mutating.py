"""Bytes in, damaged bytes out: what a fuzzer does to an input that it has.

An input is changed one to eight times, in ways that bytes go wrong (flipped bits, lost ends,
lengths that lie) and in ways that people and programs write them wrong (tokens of the format
in the wrong place, two files in one, one thing a thousand times). Nothing here knows a
format: its words come as `tokens`.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Hot = Literal["anywhere", "head", "tail"]

TOKENS = (
    *(b"", b"\x00", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n", b"\t", b" ", b'"', b"'", b"\\"),
    *(b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf"),  # no UTF-8
    *("é", "狐", "🦊", "\u2028", "\u0085", "\u202e", "\ufeff", "\u0000", "\u200b", "\u0130"),
    *("-1", "0", "1e999", "NaN", "inf", "٣", "9" * 20, "9" * 400, "9" * 5_000, "0x" + "f" * 4_400),
    *("../", "/etc/passwd", "~nobody/x", "%s%n", "{}", "\x1b[31m", "true", "null", "no"),
)
"""What makes trouble in any format; as bytes, or as text that becomes UTF-8."""

_MOST_CHANGES = (1, 1, 1, 2, 2, 3, 5, 8)
_HOT_SHARE = 0.7
_HALF = 0.5
_HOT_BYTES = 256
_INTEGERS = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, 2**63 - 1)
_SIZES = (1, 2, 4, 4, 8)
_MOST_REPEATS = 4_000


@dataclass(frozen=True, kw_only=True)
class Mutator:
    """Ways to damage the inputs of one format."""

    tokens: Sequence[bytes | str] = ()
    """Words of the format; the tokens of all formats come on top."""
    hot: Hot = "anywhere"
    """Where most of the meaning stands: a header at the head, a footer at the tail."""
    hot_bytes: int = _HOT_BYTES
    max_bytes: int = 1 << 14

    def __post_init__(self) -> None:
        words = [*self.tokens, *self.tokens, *TOKENS]
        object.__setattr__(
            self, "_words", [w if isinstance(w, bytes) else w.encode() for w in words]
        )

    def mutate(self, rng: random.Random, seed: bytes, other: bytes) -> bytes:
        """Returns a changed `seed`, at most `max_bytes` long; `other` may lend parts."""
        content = bytearray(seed)
        for _ in range(rng.choice(_MOST_CHANGES)):
            change = rng.choice(_CHANGES)
            change(self, rng, content, other)
            del content[self.max_bytes :]
        return bytes(content)

    def place(self, rng: random.Random, content: bytearray) -> int:
        """Draws a position from 0 to the length, mostly where it matters."""
        size = len(content)
        hot = min(size, self.hot_bytes)
        if self.hot == "anywhere" or rng.random() > _HOT_SHARE:
            return rng.randint(0, size)
        return rng.randint(0, hot) if self.hot == "head" else rng.randint(size - hot, size)

    def word(self, rng: random.Random) -> bytes:
        """Draws a token."""
        words: list[bytes] = self._words  # type: ignore[attr-defined] # set above, frozen
        return rng.choice(words)


def _stretch(rng: random.Random, at: int, size: int) -> slice:
    length = min(size - at, int(2 ** rng.uniform(0, 10)))
    return slice(at, at + length)


def _flip_bit(how: Mutator, rng: random.Random, content: bytearray, _other: bytes) -> None:
    at = how.place(rng, content)
    if at < len(content):
        content[at] ^= 1 << rng.randrange(8)


def _set_byte(how: Mutator, rng: random.Random, content: bytearray, _other: bytes) -> None:
    at = how.place(rng, content)
    if at < len(content):
        content[at] = rng.choice((0, 0xFF, 0x80, 0x7F, 0x0A, rng.randrange(256)))


def _set_integer(how: Mutator, rng: random.Random, content: bytearray, _other: bytes) -> None:
    """Overwrites a field of 1 to 8 bytes, or moves what it holds by a little."""
    at, size = how.place(rng, content), rng.choice(_SIZES)
    field = content[at : at + size]
    order: Literal["little", "big"] = rng.choice(("little", "big"))
    value = int.from_bytes(field, order) + rng.randint(-16, 16)
    if rng.random() < _HALF:
        value = rng.choice((*_INTEGERS, len(content), len(content) - at))
    content[at : at + len(field)] = (value % (1 << 8 * len(field))).to_bytes(len(field), order)


def _cut_off(how: Mutator, rng: random.Random, content: bytearray, _other: bytes) -> None:
    del content[how.place(rng, content) :]


def _delete(how: Mutator, rng: random.Random, content: bytearray, _other: bytes) -> None:
    at = how.place(rng, content)
    del content[_stretch(rng, at, len(content))]


def _duplicate(how: Mutator, rng: random.Random, content: bytearray, _other: bytes) -> None:
    at = how.place(rng, content)
    content[at:at] = content[_stretch(rng, at, len(content))]


def _move(how: Mutator, rng: random.Random, content: bytearray, _other: bytes) -> None:
    stretch = _stretch(rng, how.place(rng, content), len(content))
    moved = bytes(content[stretch])
    del content[stretch]
    at = how.place(rng, content)
    content[at:at] = moved


def _repeat(how: Mutator, rng: random.Random, content: bytearray, _other: bytes) -> None:
    """One thing a thousand times: nesting, long lines, large tables."""
    at = how.place(rng, content)
    many = int(2 ** rng.uniform(1, 12))
    stretch = how.word(rng) if rng.random() < _HALF else content[_stretch(rng, at, len(content))]
    room = max(0, how.max_bytes - len(content))
    content[at:at] = (bytes(stretch) * min(many, _MOST_REPEATS))[:room]


def _insert_word(how: Mutator, rng: random.Random, content: bytearray, _other: bytes) -> None:
    at = how.place(rng, content)
    content[at:at] = how.word(rng)


def _put_word(how: Mutator, rng: random.Random, content: bytearray, _other: bytes) -> None:
    at, word = how.place(rng, content), how.word(rng)
    content[at : at + len(word)] = word


def _replace_word(how: Mutator, rng: random.Random, content: bytearray, _other: bytes) -> None:
    """Puts a token in the place of a whole word of letters and digits."""
    at = how.place(rng, content)
    start = stop = at
    while start > 0 and chr(content[start - 1]).isalnum():
        start -= 1
    while stop < len(content) and chr(content[stop]).isalnum():
        stop += 1
    content[start:stop] = how.word(rng)


def _splice(how: Mutator, rng: random.Random, content: bytearray, other: bytes) -> None:
    """The beginning of one input and the end of another."""
    at = how.place(rng, content)
    content[at:] = other[rng.randint(0, len(other)) :]


def _lend(how: Mutator, rng: random.Random, content: bytearray, other: bytes) -> None:
    at = how.place(rng, content)
    content[at:at] = other[_stretch(rng, rng.randint(0, len(other)), len(other))]


_Change = Callable[[Mutator, random.Random, bytearray, bytes], None]
_CHANGES: tuple[_Change, ...] = (
    *(_flip_bit, _flip_bit, _set_byte, _set_integer, _cut_off, _delete, _duplicate, _move),
    *(_repeat, _insert_word, _insert_word, _put_word, _replace_word, _replace_word),
    *(_splice, _lend),
)
