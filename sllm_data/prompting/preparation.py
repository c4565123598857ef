"""The transcript as the backbone is shown it: as read, lower case, normalised, or restored.

LibriSpeech is upper case without punctuation, and text LLMs answer such text worse. Restoring
casing and punctuation takes a generation of its own (the pass `restore`), which is not made
here; here its result is checked word by word, so that the backbone can't rewrite what was said.
"""

import unicodedata
import warnings
from collections.abc import Callable, Iterator
from functools import cache

from rapidfuzz.distance import Levenshtein

from sllm_data.errors import ConfigError

PREPARATIONS = ("as_read", "lower", "whisper", "restored")

_DOTLESS_I_LANGUAGES = frozenset({"tr", "az"})
_TURKISH_LOWER = str.maketrans({"I": "\u0131", "\u0130": "i"})
_APOSTROPHES = frozenset("'\u2018\u2019\u02bc\u00b4`")
_QUOTES = (
    "\"'`*_\u201c\u2018\u201e\u00ab\u300c\u300e",
    "\"'`*_\u201d\u2019\u201c\u00bb\u300d\u300f",
)
_UNSPACED_NAMES = ("CJK ", "HIRAGANA ", "KATAKANA ", "THAI ", "LAO ", "MYANMAR ", "KHMER ")


def prepare(transcript: str, *, how: str, language: str) -> str:
    """Returns the transcript in another form, without outer white space.

    Args:
        transcript: As the corpus has it.
        how: as_read (nothing else is done), lower, or whisper (the text normaliser that
            Whisper was scored with: English has its own, with digits for number words).
        language: Code or locale of the transcript; Turkish and Azerbaijani have their own
            lower case of I.

    Returns:
        May be empty, where a normaliser leaves nothing or gives up: the caller rejects such a
        row.

    Raises:
        ConfigError: `how` is unknown, or `restored`, which is not made here.
    """
    match how:
        case "as_read":
            return transcript.strip()
        case "lower":
            return _lower(transcript, language).strip()
        case "whisper":
            normalise = _whisper_normaliser(english=_primary(language) == "en")
            try:
                return normalise(_lower(transcript, language)).strip()
            except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError):
                return ""  # it reads numbers, and can't read one of 5,000 digits
        case "restored":
            raise ConfigError(
                "how must be as_read, lower or whisper here, got 'restored': restored "
                "transcripts are made by the pass `restore` and checked by check_restored"
            )
        case _:
            raise ConfigError(f"how must be one of {PREPARATIONS}, got {how!r}")


def check_restored(
    original: str, restored: str, *, language: str, max_changed_words: int = 0
) -> str | None:
    """Returns the restored transcript where it says the same words, else None.

    Quotes around it, a line before it and a label in front of it are taken off. Only casing,
    spacing and punctuation may be new: no other word, symbol or control character.

    Args:
        original: As the corpus has it.
        restored: What the backbone wrote.
        language: Code or locale of the transcript.
        max_changed_words: Words that may be added, left out or replaced; characters in
            scripts without spaces.

    Returns:
        The transcript on one line; None where words were changed or there are none.
    """
    wanted = _words(original, language)
    if not wanted:
        return None
    for candidate in _candidates(original, restored):
        found = _words(candidate, language)
        if found and found == wanted and _adds_only_punctuation(original, candidate):
            return candidate
    if max_changed_words:
        for candidate in _candidates(original, restored):
            changed = Levenshtein.distance(wanted, _words(candidate, language))
            if changed <= max_changed_words and _adds_only_punctuation(original, candidate):
                return candidate
    return None


def _lower(text: str, language: str) -> str:
    if _primary(language) in _DOTLESS_I_LANGUAGES:
        text = text.replace("I\u0307", "i").translate(_TURKISH_LOWER)
    return text.lower()


def _primary(language: str) -> str:
    return language.replace("_", "-").partition("-")[0].lower()


@cache
def _whisper_normaliser(*, english: bool) -> Callable[[str], str]:
    # Its modules have an invalid escape that Python warns of when it first compiles them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from whisper_normalizer.basic import BasicTextNormalizer  # noqa: PLC0415 - see above
        from whisper_normalizer.english import EnglishTextNormalizer  # noqa: PLC0415
    # Without preserve_marks, Hindi, Tamil and Thai lose their vowel signs.
    chosen: Callable[[str], str] = (
        EnglishTextNormalizer() if english else BasicTextNormalizer(preserve_marks=True)
    )
    return chosen


def _words(text: str, language: str) -> list[str]:
    """Returns the words without casing and punctuation; single characters in CJK and Thai."""
    folded = _lower(unicodedata.normalize("NFKC", text), language).casefold()
    return "".join(map(_fold, folded)).split()


def _fold(character: str) -> str:
    if character.isalnum():
        name = "" if character.isascii() else unicodedata.name(character, "")
        return f" {character} " if name.startswith(_UNSPACED_NAMES) else character
    category = unicodedata.category(character)
    if category[0] == "M":
        return character
    return "" if character in _APOSTROPHES or category == "Cf" else " "


def _candidates(original: str, restored: str) -> Iterator[str]:
    """Yields what of the answer may be the transcript, the whole of it first."""
    lines = [line for line in restored.split("\n") if line.strip()]
    readings = [
        restored,
        "\n".join(lines[1:]),
        *lines,
        *(line.partition(":")[2] for line in lines),
    ]
    for reading in readings:
        yield _unwrapped(" ".join(reading.split()), original.strip())


def _unwrapped(text: str, original: str) -> str:
    """Takes off pairs of quotes and emphasis that the original does not have."""
    openings, closings = _QUOTES
    while (
        len(text) > 1
        and text[0] in openings
        and text[-1] in closings
        and not original.startswith(text[0])
    ):
        text = text[1:-1].strip()
    return text


def _adds_only_punctuation(original: str, restored: str) -> bool:
    """Tells whether all that is new are letters, which the words vouch for, and marks."""
    known = set(original)
    return all(
        character in known or character.isspace() or unicodedata.category(character)[0] in "LMNP"
        for character in restored
    )
