"""Predictions as a file: what comes back, and one sentence for each way to spoil it."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.errors import ShardError
from sllm_data.evaluation.lines import write_lines
from sllm_data.evaluation.predictions import (
    Prediction,
    check_known,
    read_predictions,
)
from tests.evaluation.eval_rows import answer

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=5))
def test_text_comes_back_to_the_character(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("predictions") / "p.jsonl"
    answers = [
        answer(said, sample_id=str(k), reference=reference, transcript=heard)
        for k, (said, reference, heard) in enumerate(texts)
    ]
    assert write_lines(path, answers) == len(answers)
    assert read_predictions(path) == answers


def test_five_fields_are_enough_to_score_another_system(tmp_path):
    fields = {"sample_id": "a", "side": "cascade", "task": "intent", "reference": "r"}
    path = _written(tmp_path, fields | {"prediction": "p", "unknown": 1})
    assert read_predictions(path) == [Prediction(**fields, prediction="p")]


def _written(folder: Path, *lines: object) -> Path:
    path = folder / "p.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def _sentence(path: Path) -> str:
    with pytest.raises(ShardError) as caught:
        read_predictions(path)
    return str(caught.value)


ROW = asdict(answer())


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{", "line 2: must be the JSON of one prediction"),
        (b"[]", "line 2: must be the JSON of one prediction"),
        (b"\xff\xfe", "line 2: must be the JSON of one prediction"),
        (b"x" * (1 << 20), "line 2: a line must be shorter than 1048576 bytes"),
        (json.dumps(ROW | {"prediction": None}).encode(), "prediction: Input should be"),
        (json.dumps(ROW | {"side": "Speech!"}).encode(), "side must be a name of a-z"),
        (json.dumps(ROW | {"sample_id": ""}).encode(), "sample_id must not be empty"),
        (json.dumps(ROW | {"nll": 1.0}).encode(), "nll and nll_tokens must stand together"),
        (json.dumps({"side": "speech"}).encode(), "sample_id: Field required"),
        (b'{"nll": NaN}', "line 2: must be the JSON of one prediction"),
        (json.dumps(ROW | {"nll": 1e308, "nll_tokens": 1}).encode(), "nll must be finite and at"),
        (json.dumps(ROW | {"nll": 1, "nll_tokens": 10**400}).encode(), "nll_tokens must be from"),
        (json.dumps(ROW | {"num_tokens": -1}).encode(), "num_tokens must be from 0 to"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, told):
    path = _written(tmp_path, asdict(answer(sample_id="other")))
    with path.open("ab") as file:
        file.write(line + b"\n")
    assert told in _sentence(path)


def test_a_loss_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="nll must be finite"):
        answer(nll=float("nan"), nll_tokens=3)


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = _written(tmp_path, asdict(answer()))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_predictions(path) == [answer()]


def test_blank_lines_are_passed_over(tmp_path):
    path = _written(tmp_path, asdict(answer()))
    path.write_text(f"\n{path.read_text()}  \n")
    assert read_predictions(path) == [answer()]


def test_a_sample_that_stands_twice_is_named_with_both_lines(tmp_path):
    told = _sentence(_written(tmp_path, ROW, ROW))
    assert "line 2: each sample must stand once for each side" in told
    assert "stands on line 1 already" in told


def test_a_sample_that_one_side_lacks_is_named(tmp_path):
    lines = [answer(), answer(side="text"), answer(sample_id="1")]
    told = _sentence(_written(tmp_path, *map(asdict, lines)))
    assert "side text lacks 1, which side speech has; sides have speech 2, text 1 lines" in told


@pytest.mark.parametrize("field", ["reference", "task", "split", "eval_group", "task_params"])
def test_sides_that_answer_another_row_are_refused(tmp_path, field):
    other = replace(answer(side="text"), **{field: "else"})
    told = _sentence(_written(tmp_path, ROW, asdict(other)))
    assert f"sample 0: its sides must have the same {field}" in told


def test_a_file_that_is_not_there_and_one_without_lines_are_told(tmp_path):
    assert "can't be read: No such file" in _sentence(tmp_path / "none.jsonl")
    assert "holds none" in _sentence(_written(tmp_path))


def test_samples_that_the_dataset_does_not_have_are_told():
    answers = [answer(sample_id="known"), answer(sample_id="foreign")]
    with pytest.raises(ShardError, match="1 of them are not in it, the first is 'foreign'"):
        check_known(Path("p.jsonl"), answers, {"known"}, dataset=Path("data"))
    check_known(Path("p.jsonl"), answers, {"known", "foreign"}, dataset=Path("data"))
