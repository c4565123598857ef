"""What forced texts cost, as files: what comes back, and a sentence for each way to spoil one."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from sllm_data.errors import ShardError
from sllm_data.evaluation.config import BootstrapConfig
from sllm_data.evaluation.forced import (
    AS_IT_IS,
    BACKBONE,
    COUNTERFACTUALS,
    RETENTION,
    TRAINED,
    ForcedLoss,
    added_losses,
    read_forced,
    retention_of,
)
from sllm_data.evaluation.lines import write_lines

CONFIG = BootstrapConfig(resamples=100)


def _loss(row: str, condition: str, nll: float, nll_tokens: int = 4) -> ForcedLoss:
    return ForcedLoss(row=row, condition=condition, nll=nll, nll_tokens=nll_tokens)


LOSSES = [
    _loss("a", AS_IT_IS, 1 / 3),
    _loss("a", "silence", 4.1),
    _loss("b", AS_IT_IS, 2.0, 12),
    _loss("b", "silence", 7.5, 12),
    _loss("b", "other speech", 6.0, 12),
]


def _read(folder: Path, *losses: ForcedLoss, name: str = COUNTERFACTUALS) -> list[ForcedLoss]:
    write_lines(folder / name, losses)
    return read_forced(folder / name)


def test_losses_come_back_to_the_bit(tmp_path):
    assert _read(tmp_path, *LOSSES) == LOSSES


def test_a_change_adds_what_its_rows_cost_more_over_their_tokens():
    added = added_losses(LOSSES, CONFIG)
    assert list(added) == [AS_IT_IS, "silence", "other speech"]
    assert added[AS_IT_IS].value == pytest.approx((1 / 3 + 2) / 16)
    assert added["silence"].value == pytest.approx((4.1 + 7.5 - 1 / 3 - 2) / 16)
    assert added["other speech"].value == pytest.approx((6 - 2) / 12)
    assert [each.rows for each in added.values()] == [2, 2, 1]


def test_what_a_training_cost_is_the_trained_model_less_the_backbone():
    nats = {"1": (8.0, 4.0), "3": (6.0, 5.0)}
    losses = [
        _loss(row, condition, nll)
        for row, both in nats.items()
        for condition, nll in zip((TRAINED, BACKBONE), both, strict=True)
    ]
    found = retention_of(losses, CONFIG)
    assert found is not None
    assert (found.texts, found.tokens) == (2, 8)
    assert (found.trained.value, found.backbone.value) == (14 / 8, 9 / 8)
    assert found.added.value == pytest.approx(5 / 8)


def test_nothing_measured_is_no_figure():
    assert added_losses((), CONFIG) == {}
    assert retention_of((), CONFIG) is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 6: must be the JSON of one loss"),
        (json.dumps({"row": "a"}), "condition: Field required"),
        (json.dumps(asdict(LOSSES[0]) | {"nll": "1"}), "nll: Input should be a valid number"),
        (json.dumps(asdict(LOSSES[0]) | {"nll_tokens": 0}), "nll_tokens must be 1 or more, got 0"),
        (json.dumps(asdict(LOSSES[0])), "line 6: each row must stand once for each condition, a"),
        (json.dumps(asdict(_loss("c", "silence", 1))), "row c must have the condition 'as it is'"),
    ],
)
def test_a_broken_file_is_told_in_one_sentence(tmp_path, line, told):
    write_lines(tmp_path / COUNTERFACTUALS, LOSSES)
    with (tmp_path / COUNTERFACTUALS).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ShardError) as caught:
        read_forced(tmp_path / COUNTERFACTUALS)
    assert told in str(caught.value)


def test_a_text_that_one_model_did_not_read_is_told(tmp_path):
    with pytest.raises(
        ShardError, match="row 2 must have the condition 'backbone', has 'trained'"
    ):
        _read(tmp_path, _loss("2", TRAINED, 1.0), name=RETENTION)


def test_an_empty_file_is_told(tmp_path):
    with pytest.raises(ShardError, match="must hold losses, holds none"):
        _read(tmp_path)
