"""Two numbers about a response: how much of it copies the transcript, how much is a loop."""

import re
from collections import defaultdict
from dataclasses import dataclass
from operator import eq

from rapidfuzz.distance import LCSseq

MAX_PERIOD = 64
"""The longest loop that is looked for, in words."""
MIN_REPEATS = 3
"""Fewer repeats are a figure of speech."""

_CHARACTER_LOOP = re.compile(r"(\S{1,6}?)(?: ?\1){15,}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loop:
    """The stretch of a response that repeats itself most."""

    share: float
    """In [0, 1]: the part of the response that it covers."""
    unit: str
    """What is repeated; empty without a loop."""


def copy_rate(response: list[str], transcript: list[str]) -> float | None:
    """Returns 2L / (R + T): L words in common and in order, of R and T words.

    It is 1 only where the response is the transcript, and falls with every word that was
    added, left out or changed. None where the transcript has no words.

    >>> copy_rate(["a", "b"], ["a", "b", "c", "d"])
    0.6666666666666666
    """
    if not transcript:
        return None
    if not response:
        return 0.0
    return 2 * float(LCSseq.similarity(response, transcript)) / (len(response) + len(transcript))


def find_loop(text: str, folded: list[str], *, min_words: int) -> Loop:
    """Returns the loop that covers most of the response.

    Loops are looked for among words (3 or more repeats of up to 64 words, at least
    `min_words` in all), and among characters (16 or more repeats of up to 6 characters, for
    what is not made of words, such as `hahaha...` or `......`).

    Args:
        text: The response.
        folded: Its words.
        min_words: The shortest run of words that counts.
    """
    by_words = _word_loop(folded, min_words)
    by_characters = _character_loop(text)
    return max(by_words, by_characters, key=lambda loop: loop.share)


def _word_loop(folded: list[str], min_words: int) -> Loop:
    """Finds the longest stretch in which each word equals the one a period earlier.

    1. A loop of period p >= 3 repeats its 3-grams at distance p: so only distances between
       equal 3-grams, and 1 and 2, are tried. Ordinary text has few of them.
    2. For each, the longest run of `word[i] == word[i - p]` plus p is the covered stretch.
    Cost: O(words) for 1, O(words) for each period tried.
    """
    best, start, best_period = 0, 0, 0
    for period in sorted(_periods(folded)):
        matches = bytes(map(eq, folded[period:], folded))
        run = max(map(len, matches.split(b"\x00")))
        covered = run + period
        if covered >= max(MIN_REPEATS * period, min_words) and covered > best:
            best, best_period = covered, period
            start = matches.index(b"\x01" * run)
    share = best / len(folded) if best else 0.0
    return Loop(share=share, unit=" ".join(folded[start : start + best_period]))


def _periods(folded: list[str]) -> set[int]:
    """Returns the distances at which a loop may repeat."""
    periods = {1, 2}
    places: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, gram in enumerate(zip(folded, folded[1:], folded[2:], strict=False)):
        earlier = places[gram]
        for before in reversed(earlier):
            if place - before > MAX_PERIOD:
                break
            periods.add(place - before)
        earlier.append(place)
    return {period for period in periods if period * MIN_REPEATS <= len(folded)}


def _character_loop(text: str) -> Loop:
    single_spaced = " ".join(text.split())
    longest = max(_CHARACTER_LOOP.finditer(single_spaced), key=_length, default=None)
    if longest is None:
        return Loop(share=0.0, unit="")
    return Loop(share=_length(longest) / len(single_spaced), unit=longest.group(1))


def _length(match: re.Match[str]) -> int:
    return match.end() - match.start()
