"""When each word of an utterance is said."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignedWord:
    """A word of a transcript and the samples [start, start + num) in which it is said."""

    text: str
    """As the transcript has it, with the white space behind it: all words of an utterance
    together are its transcript. A dash or another mark without a sound belongs to the word
    before it. In scripts without spaces, a word is one character."""
    start_sample: int
    """At the clip's own rate."""
    num_samples: int
    """At least 1."""
    confidence: float | None
    """In (0, 1], higher is surer; what it means depends on the backend. None where an imported
    alignment says nothing."""
