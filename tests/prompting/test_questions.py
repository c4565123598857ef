"""What a backbone writes for a wording to ask about is one line of text, or it is refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.prompting.questions import MAX_CHARACTERS, UnusableQuestionError, question_in


@pytest.mark.parametrize(
    ("answer", "kind", "found"),
    [
        ("Who sings?", "question", "Who sings?"),
        ("\n  Question: Who sings?  \n\n", "question", "Who sings?"),
        ('"Who sings?"', "question", "Who sings?"),
        ("1. „Wer singt?“", "question", "Wer singt?"),
        ("**Frage:** Wer singt?", "question", "Wer singt?"),
        ("谁在唱歌\uff1f", "question", "谁在唱歌\uff1f"),
        ("Statement - Nobody sings.", "statement", "Nobody sings."),
        ("Question time is over.", "statement", "Question time is over."),
    ],
)
def test_labels_and_quotation_marks_are_taken_off(answer, kind, found):
    assert question_in(answer, kind=kind) == found


@pytest.mark.parametrize(
    ("answer", "kind", "fault"),
    [
        ("", "question", "must be one line, has 0"),
        ("Here it is:\nWho sings?", "question", "must be one line, has 2"),
        ("I can't say.", "question", "must end in a question mark"),
        ("Who sings?", "statement", "must not end in a question mark"),
        ("?!?", "question", "must hold a letter or a digit"),
        ("Who\x1b[31m sings?", "question", "must be printable"),
        ("Who \ue000 sings?", "question", "must be printable"),
        ("a" * 300 + "?", "question", "must have 1 to 300 characters, has 301"),
        ("Question: ", "question", "must have 1 to 300 characters, has 0"),
    ],
)
def test_what_is_no_question_is_told(answer, kind, fault):
    with pytest.raises(UnusableQuestionError, match=fault):
        question_in(answer, kind=kind)


@given(st.text(max_size=400), st.sampled_from(["question", "statement"]))
def test_what_comes_out_is_one_printable_line(answer, kind):
    found = None
    with suppress(UnusableQuestionError):
        found = question_in(answer, kind=kind)
    assert found is None or (found.isprintable() and 0 < len(found) <= MAX_CHARACTERS)
    assert found is None or found == found.strip()
