"""A model and a dataset become predictions."""

import io
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from sllm_data.errors import ConfigError, ShardError
from sllm_data.evaluation.asking import Asking, ask
from sllm_data.evaluation.backbone import as_backbone
from sllm_data.shards import TABLES, write_part

SIDES = ("speech", "text", "backbone")


@pytest.fixture(scope="module")
def asking(dataset):
    return Asking(dataset=dataset, sides=SIDES, max_tokens=24)


@pytest.fixture(scope="module")
def found(trained, asking):
    return ask(trained, asking, name="tiny")[0]


def test_every_row_is_asked_on_every_side(found):
    asked = [(each.sample_id, each.side) for each in found]
    assert len(asked) == 20 * 3
    assert asked == sorted(asked, key=lambda each: (each[0], SIDES.index(each[1])))


def test_a_prediction_carries_what_the_row_says(found):
    one = next(each for each in found if each.task == "who")
    assert one.eval_group == "held_out_task"
    assert one.instruction_id == "who.en-testbed.01"
    assert one.reference
    assert one.reference in one.transcript
    assert one.model == "tiny"


def test_the_backbone_reads_and_answers_right(found):
    """The shipped backbone answers these tasks without a mistake."""
    answers = [each for each in found if each.side == "backbone"]
    right = sum(each.prediction == each.reference for each in answers)
    assert right >= 19
    assert {each.model for each in answers} == {"backbone"}


def test_the_loss_is_that_of_the_reference_on_each_side(found):
    def mean(side):
        return np.mean([each.nll / each.nll_tokens for each in found if each.side == side])

    assert mean("backbone") < mean("text") < 0.1 < mean("speech")


def test_how_rows_are_packed_does_not_matter(trained, asking, found):
    again, *_ = ask(trained, replace(asking, budget=1, limit=1, sides=("speech", "text")), name="")
    known = {(each.sample_id, each.side): each for each in found}
    for each in again:
        other = known[each.sample_id, each.side]
        assert each.prediction == other.prediction
        assert each.nll == pytest.approx(other.nll, rel=1e-4)


def test_an_answer_that_reaches_the_limit_is_cut_off(trained, asking):
    answers, *_ = ask(trained, replace(asking, max_tokens=2, sides=("backbone",)), name="")
    assert {each.finish_reason for each in answers if each.task == "transcription"} == {"length"}
    assert all((each.num_tokens or 0) <= 2 for each in answers)


@pytest.mark.parametrize("mode", ["frozen", "full"])
def test_the_backbone_is_the_llm_before_the_training(new_trained, asking, found, mode):
    moved = new_trained(mode)
    weights = [value.clone() for value in moved.model.llm.parameters()]
    answers, *_ = ask(moved, replace(asking, limit=2, sides=("text", "backbone")), name="")
    known = {each.sample_id: each.prediction for each in found if each.side == "backbone"}
    backbone = {each.sample_id: each for each in answers if each.side == "backbone"}
    text = {each.sample_id: each for each in answers if each.side == "text"}
    assert all(each.prediction == known[each.sample_id] for each in backbone.values())
    same = all(text[key].nll == pytest.approx(backbone[key].nll) for key in text)
    assert same == (mode == "frozen")
    assert all(
        torch.equal(*each) for each in zip(weights, moved.model.llm.parameters(), strict=True)
    )


def test_a_model_is_itself_again_after_an_error(new_trained):
    moved = new_trained("full").model
    llm = moved.llm
    with pytest.raises(KeyError), as_backbone(moved):
        raise KeyError
    assert moved.llm is llm


@pytest.fixture
def damaged(dataset, tmp_path):
    """The dataset with a clip that is no audio and one that ends too early."""
    root = tmp_path / "damaged"
    shutil.copytree(dataset, root)
    path = root / "audio/part-00000.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[0]["audio"]["bytes"] = b"no audio"
    short = io.BytesIO()
    soundfile.write(short, np.zeros(900, np.int16), 22_050, format="WAV")
    rows[1]["audio"]["bytes"] = short.getvalue()
    write_part(root, "audio/part-00000.parquet", rows, table=TABLES["audio"], identity="i")
    return root


def test_rows_that_can_t_be_heard_are_named_and_left_out_on_every_side(trained, asking, damaged):
    seen = []
    answers, skipped, *_ = ask(
        trained,
        replace(asking, dataset=damaged, max_tokens=1, sides=("speech", "text")),
        name="",
        watch=lambda done, total: seen.append((done, total)),
    )
    assert len(answers) == 10 * 2
    assert len(skipped) == 10
    reasons = " ".join(each.reason for each in skipped)
    assert "libsndfile says" in reasons
    assert "900 decode" in reasons or "900 samples" in reasons or "found span" in reasons
    assert seen[-1] == (20, 20)


def test_a_dataset_of_which_nothing_can_be_asked_is_told(trained, asking, damaged):
    rows = pq.read_table(damaged / "audio/part-00000.parquet").to_pylist()
    for part in (0, 1):
        broken = [row | {"audio": {"bytes": b"", "path": ""}} for row in rows]
        file = f"audio/part-{part:05}.parquet"
        write_part(damaged, file, broken, table=TABLES["audio"], identity="i")
    with pytest.raises(ShardError, match="must hold a row that can be asked, none of 20 can"):
        ask(trained, replace(asking, dataset=damaged), name="")


@pytest.mark.parametrize(
    "fields",
    [
        {"split": "dev"},
        {"sides": ()},
        {"sides": ("speech", "speech")},
        {"sides": ("loud",)},
    ],
)
def test_what_can_t_be_asked_for_is_told(dataset, fields):
    with pytest.raises(ConfigError, match=r"must be (one|some) of"):
        Asking(dataset=dataset, **fields)
