"""The pieces of a transcript that can be timed: words, or characters where none are spaced."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from sllm_data.words import is_unspaced, words


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a transcript."""

    text: str
    """With the white space behind it; all units together are the transcript."""

    @property
    def key(self) -> str:
        """Its letters and digits, folded, for comparing; empty for a dash or another mark."""
        return "".join(words(self.text))


def units_of(transcript: str) -> list[Unit]:
    """Cuts a transcript into its words.

    >>> [unit.text for unit in units_of("Well -- yes,  I do.")]
    ['Well ', '-- ', 'yes,  ', 'I ', 'do.']
    >>> [unit.text for unit in units_of("中共。OK go")]
    ['中', '共。', 'OK ', 'go']
    """
    starts = [0, *_starts(transcript), len(transcript)]
    return [Unit(transcript[start:end]) for start, end in pairwise(starts)]


def _starts(transcript: str) -> Iterator[int]:
    """Yields where units begin, but for the first."""
    has_begun = False  # white space at the very beginning belongs to the first word
    for position, character in enumerate(transcript):
        before = transcript[position - 1] if position else ""
        if character.isspace():
            continue
        if not has_begun:
            has_begun = True
        elif (
            before.isspace() or _is_sign(character) or (_is_sign(before) and _is_letter(character))
        ):
            yield position


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LN"


def _is_sign(character: str) -> bool:
    """Tells whether a character of a script without spaces is a unit by itself."""
    return _is_letter(character) and is_unspaced(character)
