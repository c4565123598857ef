"""Cells, groups, pairs and their intervals."""

import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sllm_data.evaluation.bootstrap import drawn_sums, estimate
from sllm_data.evaluation.config import BootstrapConfig
from sllm_data.evaluation.predictions import Prediction
from sllm_data.evaluation.report import as_json, as_text, shown
from sllm_data.evaluation.tables import EVAL_GROUPS, Report, tabulate
from tests.evaluation.eval_rows import CONFIG, SENTENCE, answer

REFERENCES = {
    "summary": "about anna: sold lamps",
    "transcription": SENTENCE,
    "sentiment": "positive",
    "translation": "ul mi ko da sel ta",
}


def _rows(num: int = 12, *, wrong: dict[str, int], **fields: object) -> list[Prediction]:
    """On each side the first rows are copies of the transcript; the others are right."""
    tasks = list(REFERENCES)
    return [
        answer(
            SENTENCE if number < copies else REFERENCES[tasks[number % 4]],
            sample_id=f"{number:03}",
            side=side,
            task=tasks[number % 4],
            reference=REFERENCES[tasks[number % 4]],
            response_language="und",
            **fields,
        )
        for side, copies in wrong.items()
        for number in range(num)
    ]


def _report(rows: list[Prediction]) -> Report:
    return tabulate(rows, CONFIG)


def test_a_group_is_the_mean_of_its_tasks_and_not_of_its_rows():
    rows = [
        *(answer(sample_id=str(k), task="who", reference="x", prediction="x") for k in range(9)),
        answer("y", sample_id="9", task="what", reference="x"),
    ]
    (group, *_) = _report(rows).groups
    assert (group.tasks, group.rows, group.score.value) == (2, 10, pytest.approx(1 / 2))


def test_following_and_anchors_are_shares_of_rows():
    (group, *_) = _report(_rows(wrong={"speech": 4})).groups
    assert group.anchor.value == pytest.approx(3 / 9)  # three of the four; transcription may copy
    assert group.anchor.rows == 9
    assert group.following.value == pytest.approx(9 / 12)


def test_all_three_groups_are_there_also_without_a_row():
    report = _report(_rows(wrong={"speech": 4}))
    assert [group.eval_group for group in report.groups] == list(EVAL_GROUPS)
    assert report.groups[1].rows == 0
    assert report.groups[1].score.value is None
    assert re.search(r"held-out task +\| speech \| +0 \| +0 \| +\u2013 \|", as_text(report))


def test_nothing_that_is_printed_is_not_a_number():
    rows = _rows(wrong={"speech": 12, "text": 0, "backbone": 4})
    empty = [replace(row, prediction="", reference="") for row in rows]
    for report in (_report(rows), _report(empty), _report(rows[:1])):
        text = json.dumps(as_json(report), allow_nan=False) + as_text(report)
        assert "nan" not in text.lower()
        assert "inf" not in text.lower().replace("informal", "")


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_figures_don_t_depend_on_the_order_of_the_lines(seed):
    rows = _rows(8, wrong={"speech": 4, "text": 2})
    mixed = random.Random(seed).sample(rows, len(rows))
    assert _report(mixed) == _report(rows)


def test_figures_of_a_task_don_t_depend_on_other_tasks():
    rows = _rows(wrong={"speech": 4})
    alone = [row for row in rows if row.task == "summary"]
    found = [cell for cell in _report(rows).cells if cell.task == "summary"]
    assert found == list(_report(alone).cells)


def test_ratios_are_drawn_in_pairs():
    rows = _rows(40, wrong={"speech": 20, "text": 20})
    pair = next(pair for pair in _report(rows).pairs if pair.task is None)
    assert pair.score_ratio.value == 1
    assert (pair.score_ratio.low, pair.score_ratio.high) == (1, 1)


def test_forgetting_is_the_text_side_over_the_backbone():
    rows = _rows(wrong={"speech": 12, "text": 6, "backbone": 0})
    found = [pair for pair in _report(rows).pairs if pair.eval_group == "train"]
    pairs = {(pair.side, pair.other): pair for pair in found if pair.task is None}
    assert list(pairs) == [("speech", "text"), ("text", "backbone"), ("speech", "backbone")]
    assert pairs["text", "backbone"].following_ratio.value == pytest.approx(1 - 4 / 12)
    assert pairs["speech", "backbone"].following_ratio.value == pytest.approx(3 / 12)


def test_a_ratio_to_nothing_is_no_figure():
    rows = _rows(4, wrong={"speech": 0, "text": 4})
    pair = next(pair for pair in _report(rows).pairs if pair.task == "sentiment")
    assert pair.score_ratio.value is None
    assert shown(pair.score_ratio) == "\u2013"


def test_the_gap_of_losses_is_in_nats_a_token():
    rows = [
        replace(row, nll=6.0 if row.side == "speech" else 2.0, nll_tokens=4)
        for row in _rows(wrong={"speech": 0, "text": 0})
    ]
    pair = _report(rows).pairs[0]
    assert pair.nll_gap.value == pytest.approx(1.0)
    assert _report(_rows(wrong={"speech": 0, "text": 0})).pairs[0].nll_gap.value is None


def test_parameters_of_a_task_get_cells_of_their_own():
    rows = [
        answer(
            "ja" if to == "de" else "si",
            sample_id=f"{to}{number}",
            task="translation",
            reference="ja",
            task_params=f'{{"to":"{to}"}}',
        )
        for to in ("de", "es")
        for number in range(2)
    ]
    cells = {cell.task_params: cell.scores["exact_match"].value for cell in _report(rows).cells}
    assert cells == {None: 0.5, '{"to":"de"}': 1, '{"to":"es"}': 0}


def test_splits_are_not_mixed():
    rows = _rows(8, wrong={"speech": 0}) + [
        replace(row, sample_id=f"v{row.sample_id}", split="validation", prediction="wrong")
        for row in _rows(8, wrong={"speech": 0})
    ]
    groups = [group for group in _report(rows).groups if group.eval_group == "train"]
    assert [(g.split, g.rows) for g in groups] == [("test", 8), ("validation", 8)]
    assert groups[0].score.value == 1
    assert (groups[1].score.value or 0) < 0.5


def test_sides_of_your_own_are_scored_too():
    report = _report(_rows(8, wrong={"cascade": 0, "speech": 4}))
    assert list(report.models) == ["speech", "cascade"]
    assert next((pair.side, pair.other) for pair in report.pairs) == ("speech", "cascade")


def test_broken_rules_are_counted_by_name():
    cells = [cell for cell in _report(_rows(wrong={"speech": 4})).cells if cell.task == "summary"]
    assert cells[0].broken_rules == {"copied_transcript": 1}


def test_an_interval_holds_the_share_of_draws_that_was_asked_for():
    rng = np.random.default_rng(0)
    config = BootstrapConfig(resamples=300, confidence=0.9)
    inside = 0
    for trial in range(200):
        values = (rng.random(60) < 0.4).astype(float)
        draws = drawn_sums(np.stack([values, np.ones(60)], axis=1), config, str(trial))
        found = estimate(0.4, list(draws[:, 0] / draws[:, 1]), config, rows=60)
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 0.4 <= found.high
    assert 0.83 <= inside / 200 <= 0.97


def test_draws_depend_on_seed_and_name_alone():
    counts = np.arange(40.0).reshape(20, 2)
    first, again, other, reseeded = (
        drawn_sums(counts, BootstrapConfig(resamples=100, seed=seed), name)
        for seed, name in ((0, "a"), (0, "a"), (0, "b"), (1, "a"))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, reseeded)


def test_a_large_cell_is_drawn_in_blocks():
    counts = np.ones((30_000, 1))
    sums = drawn_sums(counts, BootstrapConfig(resamples=100), "large")
    assert sums.shape == (100, 1)
    assert set(sums[:, 0]) == {30_000.0}


def test_one_row_has_no_interval():
    found = _report([answer()]).cells[0].scores["word_accuracy"]
    assert (found.value, found.low, found.high, found.rows) == (1, None, None, 1)


def test_a_score_that_few_draws_define_has_no_interval():
    config = BootstrapConfig(resamples=100)
    assert estimate(0.5, [0.5] * 40 + [None] * 60, config, rows=9).low is None
    assert estimate(0.5, [0.5] * 60 + [None] * 40, config, rows=9).low == 0.5
