"""Limits that wordings name: what is counted, and that the shipped pools and the table agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.evaluation.following import judge
from sllm_data.evaluation.limits import LIMITS, Limits, num_sentences
from sllm_data.evaluation.measures import METRICS
from sllm_data.evaluation.predictions import Prediction
from sllm_data.files import shipped_folder
from sllm_data.prompting.pools import load_pools


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 1),
        ("ferry", 1),
        ("The ferry is late.", 1),
        ("The ferry is late", 1),
        ("Mr. Hale and Dr. A. Bell wait, e.g. here.", 1),
        ("It is late! Why? Nobody knows...", 3),
        ('He said "wait." She left.', 2),
        ("At 3.5 miles. Then on", 2),
        ("Das gilt z.B. heute, bzw. morgen. Und dann?", 2),
    ],
)
def test_sentences_are_counted_by_their_ends(text, number):
    assert num_sentences(text) == number


@pytest.mark.parametrize(
    ("limits", "kept", "broken"),
    [
        (Limits(max_words=3), "the late ferry", "the very late ferry"),
        (Limits(max_sentences=1), "It was late, and cold.", "It was late. It was cold."),
        (Limits(min_items=2, max_items=3), "1. fog\n2. ferry", "fog"),
        (Limits(max_items=3), "fog, ferry, late", "fog, ferry, late, cold"),
        (Limits(is_question=True), 'And then he asked "why?"', "And then."),
    ],
)
def test_answers_keep_to_limits_or_not(limits, kept, broken):
    assert limits.are_kept(kept) is True
    assert limits.are_kept(broken) is False


def test_an_empty_answer_keeps_to_none_and_scripts_without_words_have_none():
    assert Limits(max_words=3).are_kept(" \n") is False
    assert Limits(max_words=3).are_kept("渡轮因为大雾晚点了") is None


@given(st.lists(st.sampled_from(["fog", "ferry", "late"]), min_size=1), st.integers(1, 9))
def test_a_longer_limit_is_kept_wherever_a_shorter_one_is(words, most):
    text = " ".join(words)
    assert Limits(max_words=most).are_kept(text) is (len(words) <= most)
    assert not Limits(max_words=most).are_kept(text) or Limits(max_words=most + 1).are_kept(text)


@pytest.mark.parametrize("fields", [{}, {"max_words": 0}, {"min_items": 3, "max_items": 2}])
def test_limits_that_limit_nothing_or_contradict_themselves_are_refused(fields):
    with pytest.raises(ValidationError):
        Limits(**fields)


def test_every_limit_of_the_table_is_one_of_a_shipped_wording():
    pools = load_pools((shipped_folder("instruction_pools"),))
    tagged = {
        wording.id for pool in pools for wording in pool.instructions if "limit" in wording.tags
    }
    assert set(LIMITS) <= tagged


def _row(instruction_id: str, answer: str, **fields) -> Prediction:
    return Prediction(
        sample_id="a",
        side="speech",
        task="title",
        reference="Fog",
        prediction=answer,
        instruction_id=instruction_id,
        **fields,
    )


def test_the_metric_counts_rows_whose_wording_has_a_limit():
    config = EvaluationConfig.model_validate({"limits": {"mine.01": {"max_words": 1}}})

    def counts(instruction_id: str, answer: str):
        return METRICS["limits"].counts(judge(_row(instruction_id, answer), config), config)

    assert counts("title.en.03", "A ferry in the fog") == (1.0, 1.0)
    assert counts("title.en.03", "A ferry that is late in the fog") == (0.0, 1.0)
    assert counts("title.en.01", "A ferry that is late in the fog") is None
    assert counts("mine.01", "two words") == (0.0, 1.0)


def test_null_takes_the_limit_of_a_shipped_wording_off():
    shipped = next(iter(LIMITS))
    config = EvaluationConfig.model_validate({"limits": {shipped: None}})
    assert config.limits_of(shipped) is None
    assert EvaluationConfig().limits_of(shipped) == LIMITS[shipped]


def test_a_judge_counts_from_nothing_to_all():
    config = EvaluationConfig()

    def counts(score):
        return METRICS["judge"].counts(judge(_row("x", "y", judge_score=score), config), config)

    assert (counts(1), counts(5), counts(None)) == ((0.0, 1.0), (1.0, 1.0), None)
    with pytest.raises(ValueError, match="judge_score must be from 1 to 5"):
        _row("x", "y", judge_score=6)
