"""A text as the units that an error rate counts: words, or characters where no spaces are.

`raw` changes nothing but white space. `normalised` is Whisper's own normaliser: for English
with number words as digits and one spelling; for all others without casing and punctuation.
Both sides of a comparison go through the same one.
"""

from sllm_data.prompting.preparation import prepare
from sllm_data.words import is_unspaced, words


def is_written_without_spaces(text: str) -> bool:
    """Tells whether most of a text is in a script that puts no spaces between words."""
    folded = words(text)
    return 2 * sum(map(is_unspaced, folded)) > len(folded)


def raw(text: str, *, characters: bool) -> list[str]:
    """Cuts a text at white space, or into its characters without white space."""
    return list("".join(text.split())) if characters else text.split()


def normalised(text: str, *, language: str, characters: bool) -> list[str]:
    """Cuts a text that was normalised.

    Args:
        text: Any text.
        language: Code or locale; English has rules of its own.
        characters: Whether units are characters.
    """
    shown = prepare(text, how="whisper", language=language)
    # the normaliser reads numbers, and gives up on one of thousands of digits
    return raw(shown, characters=characters) if shown else words(text)
