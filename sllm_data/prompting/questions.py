"""What the backbone wrote for a wording to ask about: a question, or a statement.

A question comes from a model, so it is checked like anything from outside: one line of text,
of a bearable length. It is put into a wording as it is, never read as Jinja2.
"""

import re

MAX_CHARACTERS = 300

_QUESTION_MARKS = ("?", "\uff1f", "\u061f", "\u037e")  # Latin, full-width, Arabic, Greek
_LABEL = re.compile(
    r"^\s*(?:\W{0,3}\b(?:question|statement|frage|aussage)\b\W{0,3}[:\-]\W{0,3}|\d{1,2}[.)]\s+)",
    re.IGNORECASE,
)
_QUOTES = {
    '"': '"',
    "\u201c": "\u201d",
    "\u201e": "\u201c",
    "\u00ab": "\u00bb",
    "\u300c": "\u300d",
}


class UnusableQuestionError(Exception):
    """Says in one line what was expected and what was found."""


def question_in(answer: str, *, kind: str) -> str:
    """Returns the question or statement in an answer, without label and quotation marks.

    Args:
        answer: As the backbone gave it.
        kind: question or statement.

    Raises:
        UnusableQuestionError: It is no single line of text, is too long, or does not end as its
            kind does.

    >>> question_in('Question: "Who sings?"', kind="question")
    'Who sings?'
    """
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    if len(lines) != 1:
        raise UnusableQuestionError(f"the {kind} must be one line, has {len(lines)}")
    text = _unquoted(_LABEL.sub("", lines[0]).strip())
    if not 0 < len(text) <= MAX_CHARACTERS:
        raise UnusableQuestionError(
            f"the {kind} must have 1 to {MAX_CHARACTERS} characters, has {len(text)}"
        )
    if not text.isprintable():
        raise UnusableQuestionError(f"the {kind} must be printable text, got {text!r:.80}")
    if not any(character.isalnum() for character in text):
        raise UnusableQuestionError(f"the {kind} must hold a letter or a digit, got {text!r:.80}")
    if text.endswith(_QUESTION_MARKS) != (kind == "question"):
        rule = "end" if kind == "question" else "not end"
        raise UnusableQuestionError(
            f"the {kind} must {rule} in a question mark, got {text[-80:]!r}"
        )
    return text


def _unquoted(text: str) -> str:
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        return text[1:-1].strip()
    return text
