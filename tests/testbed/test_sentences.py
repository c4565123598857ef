import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.testbed.sentences import LANGUAGES, num_sentences, sentences


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_are_distinct_cased_punctuated_and_of_4_to_14_words(language):
    drawn = sentences(language, num_sentences(language) // 2, seed=3)
    assert len(set(drawn)) == len(drawn)
    assert {len(text.split()) for text in drawn} <= set(range(4, 15))
    assert all(text[0].isupper() and text[-1] in ".!?" for text in drawn)
    assert not any(character in text for text in drawn for character in '{}\t\n"')


def test_the_grammar_has_thousands_of_sentences():
    assert num_sentences("en") > 5_000
    assert num_sentences("de") > 1_500


@given(st.integers(0, 50), st.integers(0, 50), st.integers(), st.sampled_from(LANGUAGES))
def test_the_first_sentences_of_a_longer_draw_are_the_shorter_draw(few, more, seed, language):
    longer = sentences(language, few + more, seed=seed)
    assert longer[:few] == sentences(language, few, seed=seed)


def test_another_seed_gives_other_sentences():
    assert sentences("en", 20, seed=1) != sentences("en", 20, seed=2)


def test_an_unknown_language_is_named():
    with pytest.raises(ValueError, match="language must be one of en, de, got 'fr'"):
        sentences("fr", 1, seed=1)


def test_more_sentences_than_the_grammar_has_are_refused():
    with pytest.raises(ValueError, match="count must be at most"):
        sentences("de", num_sentences("de"), seed=1)
