"""Two versions of a text as one, word by word: what went `[-so-]`, what came `{+so+}`.

Scripts that are written without spaces are compared by character.
"""

import re

from rapidfuzz.distance import Indel

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|\s+|.", re.DOTALL)
_CONTEXT = 8  # words and spaces that are shown on each side of a change
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def marked(old: str, new: str) -> str:
    """Returns both texts as one line; long stretches that are equal are shortened.

    >>> marked("the quick fox", "the slow fox")
    'the [-quick-]{+slow+} fox'
    """
    before, after = _WORD.findall(old), _WORD.findall(new)
    pieces: list[str] = []
    went: list[str] = []
    came: list[str] = []
    codes = Indel.opcodes(before, after)
    for place, code in enumerate(codes):
        last = place == len(codes) - 1
        words = before[code.src_start : code.src_end]
        # a space between two changes is no ground to tell them apart
        if code.tag != "equal" or (went + came and not last and "".join(words).isspace()):
            went += words
            came += after[code.dest_start : code.dest_end]
            continue
        pieces += [_change(went, came), _shortened(words, first=place == 0, last=last)]
        went, came = [], []
    return visible("".join([*pieces, _change(went, came)]))


def _change(went: list[str], came: list[str]) -> str:
    minus = f"[-{''.join(went)}-]" if went else ""
    return minus + (f"{{+{''.join(came)}+}}" if came else "")


def _shortened(words: list[str], *, first: bool, last: bool) -> str:
    head = [] if first else words[:_CONTEXT]
    tail = [] if last else words[-_CONTEXT:]
    if (first and last) or len(head) + len(tail) >= len(words):
        return "".join(words)
    return f"{''.join(head)}…{''.join(tail)}"


def visible(text: str) -> str:
    r"""Returns a text that can't move the cursor: control characters are written out.

    >>> visible("a\nb\x1b[2J")
    'a\\nb\\x1b[2J'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
