from hypothesis import given
from hypothesis import strategies as st

from sllm_data.words import words, written_words

LETTERS = st.text(alphabet=st.sampled_from("ab \t'-,.中の。ไทยé1\u0301"), max_size=30)


@given(LETTERS | st.text(max_size=20))
def test_the_words_together_are_the_transcript(transcript):
    assert "".join(written_words(transcript)) == transcript


@given(LETTERS | st.text(max_size=20))
def test_no_word_begins_with_white_space_but_the_first(transcript):
    assert not any(word[0].isspace() for word in written_words(transcript)[1:])


def test_words_keep_their_marks_and_the_space_behind_them():
    assert list(written_words(' "Well," she said -- no.')) == [
        ' "Well," ',
        "she ",
        "said ",
        "-- ",
        "no.",
    ]


def test_scripts_without_spaces_are_cut_into_characters():
    assert list(written_words("我去OK了。")) == ["我", "去", "OK", "了。"]


def test_a_vowel_sign_stays_with_its_consonant():
    assert list(written_words("ที่นี่")) == ["ที่", "นี่"]


def test_a_dash_has_no_key_and_a_word_is_folded():
    assert ["".join(words(word)) for word in written_words("-- Don\u2019t!")] == ["", "dont"]
