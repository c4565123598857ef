"""What most trainers know: a system text, then questions with speech in them and their answers.

A row that is anything else, or says something that a layout has no words for, is not held: the
reason is one of a few short phrases, so that rows can be counted by it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sllm_data.exporting.rows import Heard, Row, Text, Turn

Place = Callable[[Heard], str]
"""Puts what is heard where the layout wants it and says how it is called there."""


class UnheldError(Exception):
    """A layout has no room for a row; the text says what it has no room for."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer."""

    asked: tuple[Text | Heard, ...]
    answer: str
    is_trained: bool
    """Whether the answer has a loss."""

    @property
    def heard(self) -> tuple[Heard, ...]:
        """The stretches in the question."""
        return tuple(span for span in self.asked if isinstance(span, Heard))


@dataclass(frozen=True, slots=True)
class Conversation:
    """A row as most trainers see it."""

    system: str
    """Empty where there is none."""
    exchanges: tuple[Exchange, ...]


def conversation_of(row: Row, *, untrained: bool = False) -> Conversation:
    """Returns a row as questions and answers.

    Args:
        row: To be written in a layout that gives every answer a loss to its very end.
        untrained: Whether the layout can say that an answer has none.

    Raises:
        UnheldError: The row is no such conversation.
    """
    turns = list(row.turns)
    system = ""
    if turns and turns[0].role == "system":
        if any(isinstance(span, Heard) for span in turns[0].content):
            raise UnheldError("speech in a system turn")
        system = turns.pop(0).text
    roles = [turn.role for turn in turns]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise UnheldError("turns that are not question and answer by turns")
    if row.columns["finish_reason"] == "length":
        # its trainer would teach that answers end there
        raise UnheldError("an answer that was cut off")
    pairs = zip(turns[::2], turns[1::2], strict=True)
    exchanges = tuple(_exchange(question, answer) for question, answer in pairs)
    if not untrained and not all(exchange.is_trained for exchange in exchanges):
        raise UnheldError("an answer without loss")
    return Conversation(system, exchanges)


def _exchange(question: Turn, answer: Turn) -> Exchange:
    if any(isinstance(span, Text) and span.supervised for span in question.content):
        raise UnheldError("loss on a question")
    if any(isinstance(span, Heard) for span in answer.content):
        raise UnheldError("speech in an answer")
    trained = {span.supervised for span in answer.content if isinstance(span, Text) and span.text}
    if len(trained) > 1:
        raise UnheldError("an answer with loss on a part of it")
    return Exchange(question.content, answer.text, trained == {True})


def single(row: Row, *, system: bool) -> tuple[str, Exchange]:
    """Returns the system text, where there may be one, and the one exchange of a row.

    Raises:
        UnheldError: The row is more than that.
    """
    conversation = conversation_of(row)
    if len(conversation.exchanges) > 1:
        raise UnheldError("several turns")
    if conversation.system and not system:
        raise UnheldError("a system turn")
    return conversation.system, conversation.exchanges[0]


def one_stretch(exchange: Exchange) -> Heard:
    """Returns the one stretch of speech in a question.

    Raises:
        UnheldError: There is none, or more than one.
    """
    if not exchange.heard:
        raise UnheldError("no speech")
    if len(exchange.heard) > 1:
        raise UnheldError(severals(exchange.heard))
    return exchange.heard[0]


def severals(heard: Sequence[Heard]) -> str:
    """Returns what several stretches are: of several clips, or of one that is cut."""
    clips = {each.clip for each in heard}
    return "several clips" if len(clips) > 1 else "speech and text by turns"


def instruction_beside(exchange: Exchange) -> tuple[str, bool]:
    """Returns the text beside the one stretch of speech, and whether it comes first.

    Raises:
        UnheldError: The text has parts on both sides; or it goes on with what a stretch began,
            so that a layout that puts it in front would turn the two round.
    """
    heard = one_stretch(exchange)
    at = exchange.asked.index(heard)
    before = "".join(span.text for span in exchange.asked[:at] if isinstance(span, Text))
    after = "".join(span.text for span in exchange.asked[at + 1 :] if isinstance(span, Text))
    if before.strip() and after.strip():
        raise UnheldError("text on both sides of the speech")
    if after.strip() and not heard.is_whole:
        raise UnheldError("speech and text by turns")
    return (after or before).strip(), not after.strip()


def with_marks(spans: Iterable[Text | Heard], mark: str, *, reserved: Sequence[str] = ()) -> str:
    """Returns text with a mark where something is heard.

    Args:
        spans: In their order.
        mark: Stands for speech.
        reserved: What else text must not hold, besides the mark.

    Raises:
        UnheldError: The text holds a mark of its own, which would be taken for speech.
    """
    return "".join(
        mark if isinstance(span, Heard) else unmarked(span.text, (mark, *reserved))
        for span in spans
    )


def unmarked(text: str, reserved: Sequence[str]) -> str:
    """Returns a text that holds no mark.

    Raises:
        UnheldError: It does.
    """
    for mark in reserved:
        if mark in text:
            raise UnheldError(f"text that holds {mark}")
    return text


def are_adjacent(spans: Sequence[Text | Heard]) -> bool:
    """Whether all that is heard stands together, with no text in between."""
    places = [k for k, span in enumerate(spans) if isinstance(span, Heard)]
    return all(
        all(not span.text for span in spans[a + 1 : b] if isinstance(span, Text))
        for a, b in pairwise(places)
    )
