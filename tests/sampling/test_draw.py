"""Draws know nothing of order or of other rows, keep to the weights, and grow by addition."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.sampling import (
    DrawConfig,
    TaskConfig,
    base_language,
    draw_params,
    draw_tasks,
    is_eligible,
    num_tasks_for,
    pick,
    pick_weighted,
)
from sllm_data.sampling.draw import num_words

names = st.text("abcdefgh", min_size=1, max_size=3)
weightings = st.dictionaries(names, st.floats(0.01, 100), min_size=1, max_size=6)
ids = st.text(max_size=8)


@given(weightings, ids, st.integers(1, 8), st.randoms())
def test_a_draw_is_the_same_in_whatever_order_the_tasks_stand(weights, audio_id, number, chance):
    shuffled = list(weights.items())
    chance.shuffle(shuffled)
    one = draw_tasks(weights, seed=1, audio_id=audio_id, count=number)
    assert draw_tasks(dict(shuffled), seed=1, audio_id=audio_id, count=number) == one


@given(weightings, ids, st.integers(1, 8))
def test_a_draw_has_distinct_tasks_and_as_many_as_there_can_be(weights, audio_id, number):
    drawn = draw_tasks(weights, seed=1, audio_id=audio_id, count=number)
    assert len(set(drawn)) == len(drawn) == min(number, len(weights))
    assert set(drawn) <= set(weights)


@given(weightings, ids, st.integers(1, 6), names, st.floats(0.01, 100))
def test_a_new_task_never_changes_the_choice_among_the_old_ones(
    weights, audio_id, number, name, weight
):
    old = {task: share for task, share in weights.items() if task != name}
    before = draw_tasks(old, seed=1, audio_id=audio_id, count=len(old))
    after = draw_tasks({**old, name: weight}, seed=1, audio_id=audio_id, count=number)
    kept = [task for task in after if task != name]
    assert kept == list(before[: len(kept)])


def test_a_task_of_weight_0_is_never_drawn():
    for i in range(200):
        assert draw_tasks({"a": 0.0, "b": 1e-9}, seed=1, audio_id=str(i), count=2) == ("b",)


def test_shares_follow_the_weights():
    weights = {"a": 1.0, "b": 2.0, "c": 5.0, "d": 0.5}
    size = 20_000
    drawn = Counter(
        draw_tasks(weights, seed=3, audio_id=f"c/1/en/{i}", count=1)[0] for i in range(size)
    )
    for name, weight in weights.items():
        share = weight / sum(weights.values())
        assert abs(drawn[name] - size * share) < 4 * (size * share * (1 - share)) ** 0.5


def test_the_second_task_follows_the_weights_of_what_is_left():
    weights = {"a": 6.0, "b": 3.0, "c": 1.0}
    pairs = Counter(draw_tasks(weights, seed=3, audio_id=str(i), count=2) for i in range(20_000))
    after_a = {name: pairs["a", name] for name in "bc"}
    share = after_a["b"] / sum(after_a.values())
    assert abs(share - 0.75) < 0.015


def test_another_seed_draws_otherwise():
    weights = {"a": 1.0, "b": 1.0}
    draws = [
        [draw_tasks(weights, seed=seed, audio_id=str(i), count=1) for i in range(64)]
        for seed in (1, 2)
    ]
    assert draws[0] != draws[1]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_chosen_share_of_utterances_gets_several_tasks(share):
    config = DrawConfig(multi_task_share=share, multi_task_count=3)
    numbers = Counter(num_tasks_for(config, seed=1, audio_id=str(i)) for i in range(20_000))
    assert set(numbers) <= {1, 3}
    assert abs(numbers[3] / 20_000 - share) < 0.013


@given(st.lists(st.integers(), min_size=1, max_size=9), ids)
def test_a_pick_is_one_of_the_choices(choices, identity):
    assert pick(choices, seed=1, stage="s", identity=(identity,)) in choices


def test_picks_are_uniform():
    picked = Counter(pick("abcd", seed=1, stage="s", identity=(str(i),)) for i in range(20_000))
    assert all(abs(picked[letter] - 5_000) < 250 for letter in "abcd")


@given(weightings, ids, st.randoms())
def test_a_weighted_pick_is_the_same_in_whatever_order_the_names_stand(weights, identity, chance):
    shuffled = list(weights.items())
    chance.shuffle(shuffled)
    one = pick_weighted(weights, seed=1, stage="s", identity=(identity,))
    assert pick_weighted(dict(shuffled), seed=1, stage="s", identity=(identity,)) == one


def test_weighted_picks_follow_the_shares():
    shares = {"a": 3.0, "b": 1.0, "none": 0.0}
    picked = Counter(
        pick_weighted(shares, seed=1, stage="s", identity=(str(i),)) for i in range(20_000)
    )
    assert set(picked) == {"a", "b"}
    assert abs(picked["a"] - 15_000) < 250


def test_shares_that_round_to_less_than_their_sum_still_pick_the_last():
    tiny = dict.fromkeys("abc", 5e-324)  # a share of a share of these is nothing at all
    picked = {pick_weighted(tiny, seed=1, stage="s", identity=(str(i),)) for i in range(50)}
    assert picked == set(tiny)


@pytest.mark.parametrize(
    ("task", "language", "split", "eligible"),
    [
        ({}, "en", "train", True),
        ({"weight": 0}, "en", "train", False),
        ({"held_out": True}, "en", "train", False),
        ({"held_out": True}, "en", "test", True),
        ({"held_out": True}, "en", "validation", True),
        ({"languages": ["de"]}, "en", "train", False),
        ({"languages": ["zh"]}, "zh-CN", "train", True),
        ({"languages": ["zh-TW"]}, "zh-CN", "train", True),
        ({"to": ["en"]}, "en", "train", False),
        ({"to": ["en-GB"]}, "EN-us", "train", False),
        ({"to": ["en", "de"]}, "en", "train", True),
        ({"min_words": 3}, "en", "train", False),
        ({"min_words": 2}, "en", "train", True),
    ],
)
def test_eligibility(task, language, split, eligible):
    found = is_eligible(TaskConfig(**task), language=language, transcript="two words", split=split)
    assert found is eligible


@pytest.mark.parametrize(
    ("transcript", "language", "words"),
    [
        ("one  two\tthree", "en", 3),
        ("", "en", 0),
        ("早上好", "zh-CN", 2),
        ("早 上 好 吗", "zh-TW", 2),
        ("สวัสดี", "th", 3),
        ("안녕 하세요", "ko", 2),
    ],
)
def test_words_are_counted_in_scripts_with_and_without_spaces(transcript, language, words):
    assert num_words(transcript, language) == words


@given(st.sampled_from(["en", "de", "zh-CN", "fr", "ZH"]), ids)
def test_an_utterance_is_never_translated_into_its_own_language(language, audio_id):
    task = TaskConfig(to=("de", "en", "es", "fr", "zh-TW"))
    params = draw_params(task, seed=1, audio_id=audio_id, name="translation", language=language)
    assert base_language(params["to"]) != base_language(language)


def test_every_other_language_is_drawn():
    task = TaskConfig(to=("de", "en", "zh"))
    drawn = {
        draw_params(task, seed=1, audio_id=str(i), name="t", language="en")["to"]
        for i in range(100)
    }
    assert drawn == {"de", "zh"}


def test_a_task_without_parameters_draws_none():
    assert draw_params(TaskConfig(), seed=1, audio_id="a", name="t", language="en") == {}
