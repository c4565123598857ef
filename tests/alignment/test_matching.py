import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.alignment.matching import fit
from sllm_data.alignment.timing import ForeignWord, NotAlignedError, Timing
from sllm_data.records import Reason
from sllm_data.words import written_words

WORDS = st.lists(st.sampled_from(["go", "don't", "well-known", "É", "10"]), min_size=1, max_size=8)


def timed(*texts: str) -> list[ForeignWord]:
    return [ForeignWord(text, Timing(k, k + 1.0)) for k, text in enumerate(texts)]


@given(WORDS, st.booleans())
def test_words_fit_whatever_their_case_and_marks(texts, upper):
    foreign = timed(*(text.upper() if upper else text.lower() for text in texts))
    fitted = fit(written_words(", ".join(texts) + "!"), foreign)
    assert [t.start_s for t in fitted if t] == list(range(len(texts)))


def test_a_mark_has_no_time():
    fitted = fit(written_words("go -- on"), timed("go", "on"))
    assert [t and t.start_s for t in fitted] == [0.0, None, 1.0]


def test_silences_are_no_words():
    fitted = fit(written_words("go on"), timed("<eps>", "go", "sil", "on", ""))
    assert [t and t.start_s for t in fitted] == [1.0, 3.0]


def test_a_word_may_come_in_pieces_and_is_as_sure_as_the_least_of_them():
    foreign = [
        ForeignWord("well", Timing(0.0, 1.0, 0.9)),
        ForeignWord("known", Timing(1.0, 2.0, 0.5)),
    ]
    assert fit(written_words("Well-known."), foreign) == [Timing(0.0, 2.0, 0.5)]


def test_unknown_stands_for_one_word():
    fitted = fit(written_words("go Xyzzy now"), timed("go", "<unk>", "now"))
    assert [t and t.start_s for t in fitted] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("foreign", "detail"),
    [
        (("go",), "word 2 must be 'on', found 'the end'"),
        (("go", "away"), "word 2 must be 'on', found 'away'"),
        (("go", "on", "now"), "'now' comes behind it"),
        (("going", "on"), "word 1 must be 'Go', found 'going'"),
    ],
)
def test_other_words_are_told(foreign, detail):
    with pytest.raises(NotAlignedError, match=detail) as caught:
        fit(written_words("Go on"), timed(*foreign))
    assert caught.value.reason is Reason.OTHER_WORDS
