import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.filtering.judge import parse_judge


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("4", 4),
        (" **5** \n", 5),
        ("4.", 4),
        ("4/5", 4),
        ("3 out of 5", 3),
        ("4.0/5", 4),
        ("Score: 2", 2),
        ("The score is 3, since 2 words are missing.", 3),
        ('{"score": 1, "why": "9 errors"}', 1),
        ("**Rating:** 4/5\nIt answers all 3 questions.", 4),
        ("First I thought score: 2. Final score: 5", 5),
        ("Bewertung: 3", 3),
        ("I would give it a 2 because it is off topic.", 2),
    ],
)
def test_clear_scores_are_read(text, score):
    assert parse_judge(text) == score


@pytest.mark.parametrize(
    "text",
    ["", "good", "0", "6", "45", "3 or 4", "3.5", "Score: 3.5", "4.5/5", "2-3", "score: 40%"],
)
def test_unclear_scores_are_not_guessed_at(text):
    assert parse_judge(text) is None


@given(st.text())
def test_a_score_is_one_to_five_or_nothing(text):
    assert parse_judge(text) in {None, 1, 2, 3, 4, 5}
