from hypothesis import given
from hypothesis import strategies as st

from sllm_data.words import is_list, size_in_letters, size_in_words, words


def test_casing_punctuation_and_apostrophes_do_not_matter():
    assert words("Don\u2019t GO, it's  \u201clate\u201d!") == words("dont go its late")


def test_vowel_signs_stay_on_their_letters():
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert words("தமிழ் மொழி") == ["தமிழ்", "மொழி"]


def test_scripts_without_spaces_come_as_characters():
    assert words("你好吗。OK5") == ["你", "好", "吗", "ok5"]
    assert words("首相のほう") == list("首相のほう")
    assert words("한국어 문장") == ["한국어", "문장"]


def test_all_forms_of_turkish_i_are_one_letter():
    assert words("IŞIK İki") == words("ışık iki")


def test_composed_decomposed_and_full_width_forms_are_equal():
    assert words("cafe\u0301 ＡＢＣ") == words("CAFÉ abc")


def test_a_character_counts_as_half_a_word_and_two_letters():
    assert size_in_words(["hello", "你", "好"]) == 2.0
    assert size_in_letters(["hello", "42", "你", "好"]) == 9


def test_keywords_are_a_list_and_sentences_are_not():
    assert is_list("Here are the keywords of it:\n- Paris\n- early spring\n- Louvre\n- the Seine")
    assert is_list("首相 表情 柔和 婚家")
    assert is_list("人工智能、机器学习、数据")
    assert not is_list("The majority always claims to be pacifist, but it is not.")
    assert not is_list("Paris, Louvre")
    assert not is_list("")


@given(st.text())
def test_folding_twice_changes_nothing(text):
    once = words(text)
    assert words(" ".join(once)) == once or any(not character.isascii() for character in text)


@given(st.text())
def test_no_word_is_empty_or_holds_white_space(text):
    assert all(word and not any(map(str.isspace, word)) for word in words(text))
    assert is_list(text) in {True, False}
