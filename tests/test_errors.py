"""A sentence is one printable line of a bounded length, whatever it quotes."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import MAX_SENTENCE, ConfigError, CorpusError, one_line

anything = st.text(st.characters(codec=None)) | st.text(max_size=5).map(lambda text: text * 1_000)


@given(text=anything, at_most=st.integers(40, 200))
def test_any_text_becomes_one_printable_bounded_line(text, at_most):
    line = one_line(text, at_most=at_most)
    assert line.isprintable()
    assert len(line) <= at_most
    assert one_line(line, at_most=at_most) == line


@given(text=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=40))
def test_a_line_that_is_one_already_stays(text):
    assert one_line(text, at_most=40) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("half \ud800", r"half \ud800"),
        ("a\u2028b", r"a\u2028b"),
        ("Größe 狐 🦊", "Größe 狐 🦊"),
    ],
)
def test_what_can_not_be_printed_is_shown_by_its_code(text, line):
    assert one_line(text, at_most=80) == line


def test_of_a_long_sentence_the_place_and_the_remedy_are_left():
    said = str(CorpusError(f"table.tsv: found {'x' * 10_000}; get it again"))
    assert len(said) == MAX_SENTENCE
    assert said.startswith("table.tsv: found xxx")
    assert said.endswith("xxx; get it again")


def test_an_error_crosses_to_another_process():
    error = ConfigError("run.yaml: a\nb")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert str(copy) == str(error)
