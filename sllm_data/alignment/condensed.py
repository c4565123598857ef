"""The condensed alignments of LibriSpeech: one line an utterance, all words and their ends.

    84-121123-0000 ",GO,,DO,YOU,HEAR," "0.490,0.890,1.270,1.380,1.490,1.890,2.09"

An empty word is silence; a word begins where the one before it ends.
"""

import re
from collections.abc import Iterator

from sllm_data.alignment.timing import ForeignWord, Timing

ENDING = ".alignment.txt"

_LINE = re.compile(r'(\S+) "([^"]*)" "([^"]*)"')


def condensed_words(line: str) -> tuple[str, list[ForeignWord]]:
    """Reads one line; returns the utterance's id and its words.

    Raises:
        ValueError: The line has another form.
    """
    found = _LINE.fullmatch(line.strip())
    if not found:
        raise ValueError('must be an id, "WORDS" and "ENDS" in quotation marks')
    words, ends = found[2].split(","), found[3].split(",")
    if len(words) != len(ends):
        raise ValueError(f"must have an end for each word, has {len(words)} and {len(ends)}")
    return found[1], list(_timed(words, ends))


def _timed(words: list[str], ends: list[str]) -> Iterator[ForeignWord]:
    start_s = 0.0
    for word, end in zip(words, ends, strict=True):
        end_s = float(end)
        if word:
            yield ForeignWord(word, Timing(start_s, end_s))
        start_s = end_s
