import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.filtering.measures import copy_rate, find_loop
from sllm_data.words import words

SENTENCE = "The next day, the boy met the old man at noon."
WORDS = st.lists(st.sampled_from("abcdefg"), max_size=60)


def rate(response: str, transcript: str) -> float | None:
    return copy_rate(words(response), words(transcript))


def share(text: str, *, min_words: int = 12) -> float:
    return find_loop(text, words(text), min_words=min_words).share


@pytest.mark.parametrize(
    "transcript",
    [
        SENTENCE,
        "贝弗利大教堂是位于英国的一座教堂。",
        "มันจะเกิดขึ้นในวันอังคาร",
        "وما أمرنا إلا واحدة",
        "bir",
    ],
)
def test_the_transcript_itself_has_rate_one_whatever_its_casing_and_marks(transcript):
    assert rate(transcript, transcript) == 1.0
    assert rate(f"\u201c{transcript.upper()}\u201d!!", transcript) == 1.0


def test_an_unrelated_answer_has_a_rate_near_zero():
    assert rate("Positive sentiment prevails here.", SENTENCE) == 0.0
    assert rate("态度中立", "贝弗利大教堂是位于英国的一座教堂。") == 0.0


def test_a_transcript_with_a_preamble_is_still_a_copy():
    assert rate(f"Sure, the text says: {SENTENCE}", SENTENCE) > 0.8


def test_a_long_answer_that_quotes_the_transcript_is_no_copy():
    answer = (
        f"'{SENTENCE}' " + "tells of a meeting between two people who know each other well. " * 4
    )
    assert rate(answer, SENTENCE) < 0.4


def test_keywords_are_no_copy_even_in_order():
    assert rate("boy, old man, noon", SENTENCE) < 0.6


def test_a_transcript_without_words_has_no_rate():
    assert rate("anything", "...") is None
    assert rate("", SENTENCE) == 0.0


@given(WORDS, WORDS)
def test_the_rate_is_a_share_and_symmetric(response, transcript):
    forward, backward = copy_rate(response, transcript), copy_rate(transcript, response)
    if response and transcript:
        assert forward == backward
        assert 0 <= forward <= 1
        assert (forward == 1) == (response == transcript)


@pytest.mark.parametrize(
    "text",
    [
        "the " * 20,
        "I am going to the shop. " * 6,
        "the, the. The! " * 8,
        "哈哈" * 30,
        "我不知道。" * 10,
        "ไม่รู้" * 12,
        "ha" * 40,
        "!" * 60,
        "- " * 40,
        "no,no," * 20,
    ],
)
def test_nothing_but_a_loop_is_found_as_one(text):
    assert share(text) > 0.9


def test_a_loop_at_the_end_is_measured_by_its_share():
    text = f"{SENTENCE} {'and so on ' * 10}"
    loop = find_loop(text, words(text), min_words=12)
    assert loop.share == pytest.approx(30 / 41)
    assert loop.unit == "and so on"


def test_a_loop_of_a_whole_sentence_is_found():
    sentence = "Well, the committee decided that the matter would be settled at a later meeting."
    assert share(f"{sentence} {sentence} {sentence}") == 1.0


def test_emphasis_and_songs_are_no_loops():
    assert share("No, no, no, that is very, very, very good.") == 0.0
    assert (
        share("Row, row, row your boat gently down the stream. Merrily, merrily, merrily.") == 0.0
    )
    assert share("ha ha ha") == 0.0


def test_lists_and_tables_are_no_loops():
    assert share("1. the boy\n2. the man\n3. the noon\n4. the day\n5. the rest\n6. the end") == 0.0
    assert share("| word | count |\n|---|---|\n| boy | 1 |\n| man | 1 |") < 0.3


@given(
    st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=20),
    st.integers(min_value=3, max_value=9),
    WORDS,
)
def test_a_planted_loop_is_found_whole(unit, repeats, rest):
    text = " ".join([*rest, *unit * repeats])
    found = find_loop(text, text.split(), min_words=2)
    assert found.share >= len(unit) * repeats / len(text.split())
    assert found.share <= 1


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=80))
def test_words_that_never_recur_are_no_loop(numbers):
    text = " ".join(f"w{number}x" for number in numbers)
    assert share(text, min_words=2) == 0.0


@given(st.text())
def test_a_share_is_a_share_for_any_text(text):
    assert 0 <= share(text, min_words=2) <= 1
