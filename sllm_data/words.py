"""Text as a list of comparable words, in any script.

Casing, punctuation, symbols and accents' coding are gone; scripts that put no spaces between
words (Han, kana, Thai, Lao, Burmese, Khmer) come as single characters. Meant for comparing
and counting, never for showing.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

_APOSTROPHES = frozenset("'\u2018\u2019\u02bc\u00b4`")
_DOTLESS_I = 0x131
_COMBINING_DOT_ABOVE = 0x307
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


_ITEM_BORDER = re.compile(r"[,;:|\n\u2022\u00b7\u060c\u3001\uff0c\uff1b]+")
_MIN_ITEMS = 3
_MAX_WORDS_PER_ITEM = 3


def is_unspaced(word: str) -> bool:
    """Tells whether a word of `words` is a character of a script without spaces."""
    code = ord(word[0])
    return code >= _UNSPACED[0][0] and any(low <= code <= high for low, high in _UNSPACED)


class _Folding(dict[int, str]):
    """What each code point becomes; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        category = unicodedata.category(character)
        if code == _DOTLESS_I:
            # Turkish I and \u0130 lower to different letters than casefold makes of them;
            # for comparing, all of them are one letter.
            folded = "i"
        elif character in _APOSTROPHES or category == "Cf" or code == _COMBINING_DOT_ABOVE:
            folded = ""
        elif category[0] not in "LMN":
            folded = " "
        elif is_unspaced(character):
            folded = f" {character} "
        else:
            folded = character
        self[code] = folded
        return folded


_FOLDING = _Folding()


def words(text: str) -> list[str]:
    """Returns the text's words, folded.

    >>> words("Don't go: it's 5 o'clock!")
    ['dont', 'go', 'its', '5', 'oclock']
    >>> words("中共。OK")
    ['中', '共', 'ok']
    """
    return unicodedata.normalize("NFKC", text).casefold().translate(_FOLDING).split()


def written_words(text: str) -> list[str]:
    """Cuts a text into its words as they are written, each with the white space behind it.

    All of them together are the text. In scripts without spaces a word is one character; a dash
    or another mark that stands alone is one, too.

    >>> written_words("Well -- yes,  I do.")
    ['Well ', '-- ', 'yes,  ', 'I ', 'do.']
    >>> written_words("中共。OK go")
    ['中', '共。', 'OK ', 'go']
    """
    starts = [0, *_starts(text), len(text)]
    return [text[start:end] for start, end in pairwise(starts)]


def _starts(text: str) -> Iterator[int]:
    """Yields where words begin, but for the first."""
    has_begun = False  # white space at the very beginning belongs to the first word
    for position, character in enumerate(text):
        before = text[position - 1] if position else ""
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
    """Tells whether a character of a script without spaces is a word by itself."""
    return _is_letter(character) and is_unspaced(character)


def size_in_words(folded: list[str]) -> float:
    """Returns the number of words, where a character without spaces counts as half a one."""
    return sum(0.5 if is_unspaced(word) else 1.0 for word in folded)


def size_in_letters(folded: list[str]) -> int:
    """Returns the number of letters, where a character without spaces counts as two."""
    return sum(2 if is_unspaced(word) else len(word) for word in folded if word[0].isalpha())


def is_list(text: str) -> bool:
    """Tells whether most of a text is a list of three or more short items, as keywords are.

    >>> is_list("Paris, Louvre, Versailles"), is_list("Well, no, I would not go with him.")
    (True, False)
    """
    items = [item for part in _ITEM_BORDER.split(text) for item in _items(part)]
    short = [item for item in items if size_in_words(item) <= _MAX_WORDS_PER_ITEM]
    return len(short) >= _MIN_ITEMS and 2 * sum(map(len, short)) >= sum(map(len, items))


def _items(part: str) -> list[list[str]]:
    """Splits at spaces too where the script has no other use for them."""
    folded = words(part)
    if folded and is_unspaced(folded[0]):
        return [item for chunk in part.split() if (item := words(chunk))]
    return [folded] if folded else []
