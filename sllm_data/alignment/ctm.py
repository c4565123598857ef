"""NIST's CTM: one word a line, with its recording, channel, start and length in seconds.

    84-121123-0000 1 0.49 0.40 go 0.98

The confidence, in [0, 1], may be missing or `NA`; further columns are not read. Lines that
begin with `;;` are comments.
"""

from sllm_data.alignment.timing import ForeignWord, Timing

ENDING = ".ctm"

_NEEDED = 5
_AUDIO_ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".sph")


def ctm_word(line: str) -> tuple[str, ForeignWord] | None:
    """Reads one line; returns the recording and the word, None for a comment.

    Raises:
        ValueError: The line has another form.
    """
    fields = line.split()
    if not fields or fields[0].startswith(";;"):
        return None
    if len(fields) < _NEEDED:
        raise ValueError(f"must have recording, channel, start, length, word, has {len(fields)}")
    recording, _, start, length, word, *more = fields
    for ending in _AUDIO_ENDINGS:
        recording = recording.removesuffix(ending)
    start_s = float(start)
    confidence = float(more[0]) if more and more[0] != "NA" else None
    if confidence is not None and not 0 <= confidence <= 1:
        raise ValueError(f"must have a confidence in [0, 1], has {confidence:g}")
    return recording, ForeignWord(word, Timing(start_s, start_s + float(length), confidence))
