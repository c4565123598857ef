"""Where a clip may be cut: pieces that are a word each, of text and of audio.

The text that the backbone was shown may differ from the transcript that was aligned: digits for
number words, restored punctuation. A cut is made only between two words that both have, so a
piece is mostly one word, and more where the two differ.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise

from sllm_data.records import AlignedWord
from sllm_data.words import words, written_words

_SENTENCE_ENDS = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f", "\u061f", "\u0964")
_CLOSING = "\"')]\u00bb\u201d\u2019\u300d"


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """The least that is heard or read as a whole."""

    text: str
    """As the backbone was shown it, with the white space behind it."""
    num_words: int
    """Of the aligned transcript."""
    start_sample: int
    """Where the clip is cut in front of it: amid the pause between two words."""
    end_sample: int
    """Where it is cut behind it."""
    pause_samples: int
    """Of the pause in front of it."""

    @property
    def num_samples(self) -> int:
        """From cut to cut."""
        return self.end_sample - self.start_sample

    @property
    def ends_sentence(self) -> bool:
        """Whether its text ends with the mark of a sentence's end."""
        return self.text.rstrip().rstrip(_CLOSING).endswith(_SENTENCE_ENDS)


def pieces_of(aligned: Sequence[AlignedWord], shown: str, num_samples: int) -> list[Piece]:
    """Cuts a clip into pieces; all texts together are `shown`, all samples the clip.

    Args:
        aligned: The words of the transcript, at least one.
        shown: The transcript as the backbone was shown it.
        num_samples: Of the clip.
    """
    written = _with_sound(written_words(shown))
    cuts = [(0, 0), *_common_borders(aligned, written), (len(aligned), len(written))]
    starts = [_cut(aligned, at, num_samples) for at, _ in cuts]
    return [
        Piece(
            text="".join(written[begin_text:end_text]),
            num_words=end - begin,
            start_sample=starts[number],
            end_sample=starts[number + 1],
            pause_samples=_pause(aligned, begin),
        )
        for number, ((begin, begin_text), (end, end_text)) in enumerate(pairwise(cuts))
    ]


def _with_sound(written: Sequence[str]) -> list[str]:
    """Puts each mark that stands alone to the word before it."""
    joined: list[str] = []
    for word in written:
        if joined and not (words(word) and words(joined[-1])):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _common_borders(
    aligned: Sequence[AlignedWord], written: Sequence[str]
) -> Iterator[tuple[int, int]]:
    """Yields where both texts have a border between two words that they share."""
    spoken = ["".join(words(word.text)) for word in aligned]
    shown = ["".join(words(word)) for word in written]
    if spoken == shown:
        yield from ((number, number) for number in range(1, len(spoken)))
        return
    for block in SequenceMatcher(None, spoken, shown, autojunk=False).get_matching_blocks():
        yield from ((block.a + k, block.b + k) for k in range(1, block.size))


def _cut(aligned: Sequence[AlignedWord], at: int, num_samples: int) -> int:
    if at == 0:
        return 0
    if at == len(aligned):
        return num_samples
    before = aligned[at - 1]
    return (before.start_sample + before.num_samples + aligned[at].start_sample) // 2


def _pause(aligned: Sequence[AlignedWord], at: int) -> int:
    if at == 0:
        return aligned[0].start_sample
    before = aligned[at - 1]
    return aligned[at].start_sample - before.start_sample - before.num_samples
