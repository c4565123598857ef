"""Labels and keywords in free text: what an answer names."""

import re
from collections.abc import Sequence

from sllm_data.words import words

_BORDER = re.compile(r"[,;|\n\u2022\u00b7\u060c\u3001\uff0c\uff1b]+")
_NUMBER = re.compile(r"^\s*(?:\(?\d{1,2}[.):]|[-*+])\s+")


def label_in(text: str, labels: Sequence[str]) -> str | None:
    """Returns the one label that a text names; None where it names none, or several.

    A longer label hides a shorter one inside it.

    >>> label_in("It sounds very positive!", ["positive", "very positive"])
    'very positive'
    >>> label_in("Neither positive nor negative.", ["positive", "negative"]) is None
    True
    """
    left = words(text)
    found: set[str] = set()
    for label in sorted(labels, key=lambda each: -len(words(each))):
        wanted = words(label)
        for start in range(len(left) - len(wanted) + 1):
            if wanted and left[start : start + len(wanted)] == wanted:
                found.add(label)
                left[start : start + len(wanted)] = [""] * len(wanted)
    return found.pop() if len(found) == 1 else None


def keywords_in(text: str) -> frozenset[str]:
    r"""Returns the items of a list, each folded; a number or a bullet before one is taken off.

    >>> sorted(keywords_in("1. The Ferry\n2. fog, fog"))
    ['fog', 'the ferry']
    """
    return frozenset(items_in(text))


def items_in(text: str) -> list[str]:
    """Returns the items of a list in order, each folded, also those that stand there twice."""
    items = (" ".join(words(_NUMBER.sub("", item))) for item in _BORDER.split(text))
    return [item for item in items if item]


def f1(found: frozenset[str], wanted: frozenset[str]) -> float:
    """Returns 2 |found and wanted| / (|found| + |wanted|); 0 where both are empty."""
    total = len(found) + len(wanted)
    return 2 * len(found & wanted) / total if total else 0.0
