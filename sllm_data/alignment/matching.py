"""Fits words that another program timed to those of the transcript."""

from collections.abc import Sequence

from sllm_data.alignment.timing import ForeignWord, NotAlignedError, Timing
from sllm_data.records import Reason
from sllm_data.words import words

_UNKNOWN = frozenset({"<unk>", "<unknown>", "[unk]"})
_SILENCE = frozenset({"", "sil", "sp", "spn", "<sil>", "<eps>", "<s>", "</s>", "<p:>", "[noise]"})


def fit(written: Sequence[str], foreign: Sequence[ForeignWord]) -> list[Timing | None]:
    """Returns when each word sounds, None where it has no letters or digits.

    Casing, punctuation and accents' coding don't matter. A word may stand there in pieces
    (`well`, `known` for `well-known`), and `<unk>` stands for any one word.

    Raises:
        NotAlignedError: The words are others than those of the transcript.
    """
    pieces = [each for each in foreign if each.text.strip().lower() not in _SILENCE]
    times: list[Timing | None] = []
    position = 0
    for word in written:
        key = "".join(words(word))
        if not key:
            times.append(None)
            continue
        taken = _taken(key, pieces, position)
        if not taken:
            there = pieces[position].text if position < len(pieces) else "the end"
            raise NotAlignedError(
                Reason.OTHER_WORDS,
                f"word {len(times) + 1} must be {word.strip()!r}, found {there!r}",
            )
        own = [piece.timing for piece in pieces[position : position + taken]]
        known = [timing.confidence for timing in own if timing.confidence is not None]
        times.append(Timing(own[0].start_s, own[-1].end_s, min(known) if known else None))
        position += taken
    if position < len(pieces):
        raise NotAlignedError(
            Reason.OTHER_WORDS,
            f"the words must end with the transcript, {pieces[position].text!r} comes behind it",
        )
    return times


def _taken(key: str, pieces: Sequence[ForeignWord], position: int) -> int:
    """Returns how many of the next pieces spell a word; 0 where they don't."""
    spelt = ""
    for number, piece in enumerate(pieces[position:], start=1):
        if number == 1 and piece.text.strip().lower() in _UNKNOWN:
            return 1
        spelt += "".join(words(piece.text))
        if spelt == key:
            return number
        if not key.startswith(spelt):
            return 0
    return 0
