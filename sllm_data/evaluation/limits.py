"""Length and form that a wording asks for: at most 15 words, one sentence, three to five items.

They can be checked by counting, so no judge is needed for them. Those of the shipped pools stand
here by the id of the wording; a file of scoring adds those of other pools.
"""

import re

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sllm_data.evaluation.labels import items_in
from sllm_data.evaluation.units import is_written_without_spaces
from sllm_data.words import words

_END = re.compile(r"(\w*)[.!?\u2026\u3002\uff01\uff1f]+[\"'\u201d\u2019)\]]*(?=\s|$)")
_SHORT_FORMS = frozenset(
    {"mr", "mrs", "ms", "dr", "st", "prof", "jr", "sr", "vs", "etc"}
    | {"hr", "fr", "nr", "bzw", "usw", "ca", "bspw", "ggf", "inkl", "evtl"}
)


class Limits(BaseModel):
    """What can be counted of an answer; None where it does not matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_words: int | None = Field(None, ge=1, description="At most so many words.")
    max_sentences: int | None = Field(None, ge=1, description="At most so many sentences.")
    min_items: int | None = Field(None, ge=1, description="A list of at least so many items.")
    max_items: int | None = Field(None, ge=1, description="A list of at most so many items.")
    is_question: bool = Field(default=False, description="The answer ends in a question.")

    @model_validator(mode="after")
    def _limits_something(self) -> "Limits":
        if self == Limits.model_construct():
            raise ValueError("must name a limit")
        if self.min_items and self.max_items and self.min_items > self.max_items:
            raise ValueError("min_items must not be above max_items")
        return self

    def are_kept(self, text: str) -> bool | None:
        """Whether an answer keeps to them; None in scripts without spaces, which have no words.

        >>> Limits(max_words=3).are_kept("The late ferry."), Limits(max_items=1).are_kept("a, b")
        (True, False)
        """
        if is_written_without_spaces(text):
            return None
        num_items = len(items_in(text))
        return (
            bool(words(text))
            and (self.max_words is None or len(words(text)) <= self.max_words)
            and (self.max_sentences is None or num_sentences(text) <= self.max_sentences)
            and (self.min_items is None or num_items >= self.min_items)
            and (self.max_items is None or num_items <= self.max_items)
            and (not self.is_question or text.rstrip().rstrip("\"'\u201d\u2019").endswith("?"))
        )


def num_sentences(text: str) -> int:
    """Counts sentences by their ends; short forms (Mr., z.B.) and single letters end none.

    >>> num_sentences("Mr. Hale waits. Why? Nobody knows")
    3
    """
    ends = [
        found
        for found in _END.finditer(text.strip())
        if not found[0].startswith(f"{found[1]}.")
        or (
            found[1].lower() not in _SHORT_FORMS
            and not (len(found[1]) == 1 and found[1].isalpha())
        )
    ]
    is_open = not ends or bool(words(text.strip()[ends[-1].end() :]))
    return len(ends) + is_open


def _words(most: int) -> Limits:
    return Limits(max_words=most)


def _sentences(most: int) -> Limits:
    return Limits(max_sentences=most)


LIMITS: dict[str, Limits] = {
    "continuation.de.01": _words(49),
    "continuation.de.02": _sentences(2),
    "continuation.de.04": _words(40),
    "continuation.en.01": _words(49),
    "continuation.en.02": _sentences(2),
    "continuation.en.04": _sentences(1),
    "continuation.en.05": _words(40),
    "continuation.en.08": _sentences(3),
    "continuation.en.09": _words(45),
    "emotional_continuation.de.01": _sentences(3),
    "emotional_continuation.en.01": _sentences(3),
    "emotional_reply.de.03": _sentences(2),
    "emotional_reply.en.03": _sentences(2),
    "intent.de.02": _sentences(1),
    "intent.en.02": _sentences(1),
    "intent.en.09": _words(40),
    "keywords.de.03": Limits(max_items=5),
    "keywords.en.03": Limits(max_items=5),
    "keywords.en.09": Limits(max_items=6),
    "keywords.en.10": Limits(min_items=3, max_items=5),
    "question_answering.de.03": _sentences(1),
    "question_answering.en.04": _sentences(1),
    "reply.de.02": _sentences(2),
    "reply.en.02": _sentences(2),
    "reply.en.07": Limits(is_question=True),
    "rewriting.de.03": _sentences(3),
    "rewriting.en.03": _sentences(3),
    "sentiment.de.04": _words(30),
    "sentiment.en.04": _words(30),
    "summary.de.01": _sentences(1),
    "summary.de.02": _words(15),
    "summary.de.05": _words(8),
    "summary.en.01": _sentences(1),
    "summary.en.02": _words(15),
    "summary.en.08": _words(8),
    "title.de.03": _words(6),
    "title.en.03": _words(6),
}
"""Of the wordings of the shipped pools whose limit can be counted, by their ids."""
