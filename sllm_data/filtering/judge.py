"""Reading the score out of what a judge wrote. The judge's prompt is prompting's."""

import re

_LABELLED = re.compile(
    r"\b(?:score|rating|grade|verdict|note|bewertung|punktzahl)\b\W{0,6}(?:(?:is|of)\b\W{0,4})?"
    r"([1-5])(?![\d%]|[.,]\d)",
    re.IGNORECASE,
)
_OUT_OF_FIVE = re.compile(r"(?<![\d.,])([1-5])(?:[.,]0)?\s*(?:/|out of)\s*5(?![\d.,]\d|\d)")
_LONE_NUMBER = re.compile(r"(?<![\d.,/-])\d+(?:[.,]\d+)?(?![\d/-]|[.,]\d)")
_SCORES = frozenset("12345")


def parse_judge(text: str) -> int | None:
    """Returns the score from 1 to 5 that a judge gave, or None where it is not clear.

    In this order: the last labelled score (`Score: 4`, `{"score": 4}`), the last `4/5` or
    `4 out of 5`, or the only number in the text. Fractions, and several numbers without a
    label, are not guessed at.

    >>> parse_judge("**4**"), parse_judge("Score: 2. It has 3 faults."), parse_judge("3 or 4")
    (4, 2, None)
    """
    for pattern in (_LABELLED, _OUT_OF_FIVE):
        scores = pattern.findall(text)
        if scores:
            return int(scores[-1])
    numbers = _LONE_NUMBER.findall(text)
    return int(numbers[0]) if len(numbers) == 1 and numbers[0] in _SCORES else None
