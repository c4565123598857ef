"""Answers of any system: checked against the questions, and scored by group."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sllm_data.benchmark import score
from sllm_data.benchmark.answers import read_answers
from sllm_data.benchmark.scoring import as_json, as_table, write_scores
from sllm_data.errors import ShardError


def _write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _right(frozen, **fields):
    return [
        {"sample_id": sample_id, "prediction": row["response"]} | fields
        for sample_id, row in frozen.rows.items()
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Writes lines to a file of their own."""

    def write(lines):
        return _write(tmp_path_factory.mktemp("answers") / "mine.jsonl", lines)

    return write


def test_right_answers_score_one_in_every_group(frozen, written):
    found = score(written(_right(frozen)), frozen)
    assert [line.eval_group for line in found.lines] == [
        "train",
        "held_out_instruction",
        "held_out_task",
    ]
    for line in found.lines:
        assert line.speech.value == pytest.approx(1.0)
        assert (line.text, line.ratio, line.empty, line.system) == (None, None, 0, "mine")


def test_the_ratio_is_that_of_speech_to_text(frozen, written):
    half = [
        line | ({"prediction": "nothing of it"} if place % 2 else {})
        for place, line in enumerate(_right(frozen, model="ears"))
    ]
    lines = score(written(half + _right(frozen, side="text", model="ears")), frozen).lines
    assert {line.system for line in lines} == {"ears"}
    for line in lines:
        assert line.text.value == pytest.approx(1.0)
        assert line.ratio.value == pytest.approx(line.speech.value)
        assert line.ratio.low <= line.ratio.value <= line.ratio.high


def test_the_transcript_as_an_answer_is_told(frozen, written):
    copied = [
        {"sample_id": sample_id, "prediction": row["transcript"]}
        for sample_id, row in frozen.rows.items()
    ]
    lines = score(written(copied), frozen).lines
    assert all(line.anchor.value > 0.9 for line in lines)


def test_several_systems_of_one_file_stand_apart(frozen, written):
    lines = [
        line
        for side in ("speech", "text", "cascade", "backbone", "mine_too")
        for line in _right(frozen, side=side, model="" if side == "mine_too" else side)
    ]
    found = score(written(lines), frozen)
    assert {
        (line.system, line.speech is None, line.text is None, line.ratio is None)
        for line in found.lines
    } == {
        ("speech", False, False, False),
        ("cascade", False, False, False),
        ("backbone", True, False, True),
        ("mine_too", False, True, True),
    }
    table = as_table([found])
    assert all(name in table for name in ("seen instruction", "held-out task", "mine_too"))


def test_empty_answers_and_missing_ones_are_wrong_and_counted(frozen, written):
    lines = _right(frozen)
    lines[0]["prediction"] = " \n"
    gone = lines.pop()["sample_id"]
    path = written(lines)
    with pytest.raises(ShardError, match=rf"lacks 1, the first is {gone}"):
        score(path, frozen)
    found = score(path, frozen, missing="wrong").lines
    assert sum(line.empty for line in found) == 2
    assert min(line.speech.value for line in found) < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines + lines[:1], r"line \d+: each sample must stand once"),
        (
            lambda lines: [*lines, {"sample_id": "f" * 32, "prediction": ""}],
            "is none of them; name the benchmark",
        ),
        (lambda lines: [{"sample_id": lines[0]["sample_id"]}], "line 1: .* prediction"),
        (
            lambda lines: [lines[0] | {"reference": "another"}],
            "line 1: reference must be that of the benchmark",
        ),
        (lambda lines: [lines[0] | {"side": "Speech 1"}], "line 1: side must be a name"),
        (lambda lines: [lines[0] | {"nll": 1.0}], "nll and nll_tokens must stand together"),
        (lambda lines: [lines[0] | {"finish_reason": "tired"}], "line 1: .*finish_reason"),
        (lambda _: [], "must hold answers to"),
    ],
)
def test_answers_that_do_not_fit_are_refused_by_line(frozen, written, change, message):
    with pytest.raises(ShardError, match=message):
        score(written(change(_right(frozen))), frozen)


def test_a_line_longer_than_a_megabyte_is_refused(frozen, tmp_path):
    path = _write(tmp_path / "long.jsonl", [{"sample_id": "a", "prediction": "x" * 2**20}])
    with pytest.raises(ShardError, match=r"long.jsonl, line 1: a line must be shorter than"):
        score(path, frozen)


def test_answers_in_another_language_are_counted_by_group(frozen, written):
    said = "Die Fähre kam heute morgen wegen des dichten Nebels leider viel zu spät im Hafen an."
    found = score(written([line | {"prediction": said} for line in _right(frozen)]), frozen)
    assert all(0 < line.wrong_language <= line.rows for line in found.lines)
    (last, *_) = (cells.rsplit("|", 2)[1] for cells in as_table([found]).splitlines()[2:])
    assert int(last) == found.lines[0].wrong_language


def test_a_broken_line_and_a_lost_file_are_refused(frozen, tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"sample_id": "a", "pred')
    with pytest.raises(ShardError, match=r"broken.jsonl, line 1: must be the JSON"):
        score(path, frozen)
    with pytest.raises(ShardError, match="can't be read: No such file"):
        score(tmp_path / "none.jsonl", frozen)


@given(data=st.data())
def test_the_order_of_lines_and_what_stands_beside_makes_no_difference(frozen, written, data):
    lines = [line | {"note": place} for place, line in enumerate(_right(frozen))]
    shuffled = data.draw(st.permutations(lines))
    assert read_answers(written(shuffled), frozen) == read_answers(written(lines), frozen)


def test_json_and_pages_say_the_same(frozen, written, tmp_path):
    found = [score(written(_right(frozen)), frozen)] * 2
    files = write_scores(found, frozen, tmp_path, num_examples=1)
    document = json.loads((tmp_path / "scores.json").read_text())
    assert document == json.loads(json.dumps(as_json(found, frozen)))
    assert document["systems"][0]["scores"][0]["speech"]["value"] == pytest.approx(1.0)
    assert {path.parent.name for path in files if path.name == "index.html"} == {
        "mine",
        "mine-2",
    }
