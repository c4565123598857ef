"""Which rows a layout holds, and what is said of those that it doesn't."""

import json
import re
from pathlib import Path

import pytest
from made_datasets import heard, text

from sllm_data.errors import ConfigError, ShardError
from sllm_data.exporting import FORMATS, Selection, plan_export
from tests.exporting.shapes import SHAPES, plain_row

_ALL = set(FORMATS)
_ANYTHING = {"huggingface", "webdataset"}
_CHATS = {"ms-swift", "llama-factory", "nemo"}
HELD = {
    "one clip": _ALL,
    "several clips": _ANYTHING | _CHATS | {"desta"},
    "several clips together": _ANYTHING | _CHATS | {"desta", "salmonn"},
    "one stretch": _ALL - {"desta"},
    "interleaved": _ANYTHING | _CHATS | {"lhotse-shar"},
    "several turns": _ANYTHING | _CHATS | {"lhotse-shar"},
    "system": _ALL - {"salmonn", "ultravox"},
    "text only": _ANYTHING | _CHATS,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_held_where_the_layout_has_room_and_read_back(shape, dataset, export):
    root = dataset(change=SHAPES[shape])
    held = set()
    for name in FORMATS:
        try:
            plan_export(root, name, Selection())
        except ConfigError:
            continue
        held.add(name)
        export(root, name)
    assert held == HELD[shape]


PAGE = Path(__file__).parents[2] / "docs/exports.md"


def test_the_page_says_which_shapes_each_layout_holds():
    page = PAGE.read_text(encoding="utf-8")
    lines = re.findall(r"^\| `([a-z-]+)` \| ((?:yes|no).+) \|$", page, re.MULTILINE)
    told = {name: cells.split(" | ") for name, cells in lines}
    assert list(told) == list(FORMATS)
    shapes = ("several clips", "interleaved", "several turns", "system", "text only")
    for name, cells in told.items():
        held = [cell.startswith("yes") for cell in cells[: len(shapes)]]
        assert held == [name in HELD[shape] for shape in shapes], name


def _cut_off(row):
    row["finish_reason"] = "length"


def _untrained(row):
    row["messages"][1]["content"][0]["supervised"] = False


def _partly_trained(row):
    row["messages"][1]["content"].append(text(" fog"))


def _asked_with_loss(row):
    row["messages"][0]["content"][0]["supervised"] = True


def _answered_in_speech(row):
    row["messages"][1]["content"].append(heard(100))


def _two_questions(row):
    row["messages"].insert(0, {"role": "user", "content": [text("Hello.")]})


def _marked(row):
    row["messages"][0]["content"][0]["text"] = "Say <audio>, <|audio|>, <SpeechHere>, <|AUDIO|>. "


def _told_in_speech(row):
    row["messages"].insert(0, {"role": "system", "content": [heard(100)]})


SAYS = {  # what those that know questions and answers say of rows that are no such thing
    _cut_off: "an answer that was cut off",
    _untrained: "an answer without loss",
    _partly_trained: "an answer with loss on a part of it",
    _asked_with_loss: "loss on a question",
    _answered_in_speech: "speech in an answer",
    _two_questions: "turns that are not question and answer by turns",
    _told_in_speech: "speech in a system turn",
    _marked: "text that holds ",
}


@pytest.mark.parametrize("change", SAYS, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", sorted(_ALL - _ANYTHING - {"lhotse-shar"}))
def test_a_row_that_would_be_trained_otherwise_is_refused(change, name, dataset):
    if change is _untrained and name == "ms-swift":
        return  # which can say so
    with pytest.raises(ConfigError, match=SAYS[change]):
        plan_export(dataset(change=change), name, Selection())


def test_an_answer_that_was_cut_off_has_no_text_in_a_cut(dataset, export):
    folder = export(dataset(change=_cut_off), "lhotse-shar")
    cut = json.loads((folder / "shar/cuts.000000.jsonl").read_text())
    assert cut["custom"]["finish_reason"] == "length"
    assert "context" not in cut["custom"]
    assert all("text" not in each for each in cut["supervisions"])


def test_salmonn_is_given_no_row_that_it_would_cut(dataset):
    def spoken(times):
        row = plain_row(f"s{times}")
        row["messages"][0]["content"] = [text("Sum it up. "), *[heard(16_000)] * times]
        return row

    plan = plan_export(dataset(spoken(27), spoken(28)), "salmonn", Selection(), skip=True)
    assert [row.sample_id for row in plan.held()] == ["s27"]  # 27 s and 26 silences of 0.1 s
    assert {reason: left.rows for reason, left in plan.left_out.items()} == {
        "more than 30 s of speech": 1
    }


def test_ms_swift_is_told_which_answer_has_no_loss(dataset, export):
    def change(row):
        SHAPES["several turns"](row)
        _untrained(row)

    line = (export(dataset(change=change), "ms-swift") / "train.jsonl").read_text()
    assert '"content": "rain", "loss": false}' in line
    assert line.count('"loss"') == 1


@pytest.mark.parametrize("name", ["webdataset", "lhotse-shar"])
def test_an_id_that_a_tar_would_split_is_refused(name, dataset):
    with pytest.raises(ConfigError, match="a sample_id with a dot or a slash in it"):
        plan_export(dataset(plain_row("a.b")), name, Selection())


def test_a_change_of_level_has_no_word_in_a_cut(dataset):
    def louder(row):
        row["messages"][0]["content"][1]["gain_db"] = 6.0

    with pytest.raises(ConfigError, match="lhotse-shar can't hold a change of level"):
        plan_export(dataset(change=louder), "lhotse-shar", Selection())


def test_a_refusal_counts_names_the_first_and_says_what_to_do(dataset):
    rows = [plain_row(f"s{number}") for number in range(5)]
    SHAPES["interleaved"](rows[2])
    SHAPES["interleaved"](rows[4])
    SHAPES["text only"](rows[3])
    with pytest.raises(ConfigError) as refused:
        plan_export(dataset(*rows), "ultravox", Selection())
    assert str(refused.value) == (
        "ultravox can't hold speech and text by turns: 2 of 5 rows, the first is s2, and 1 more "
        "kinds of rows; choose another --format, choose rows with --kind or --task, or leave such "
        "rows out with --on-unsupported skip"
    )
    assert plan_export(dataset(*rows), "ultravox", Selection(kinds=("instruct",)), skip=True)


def test_rows_are_chosen_as_the_trainer_does_and_by_task_kind_and_number(dataset):
    rows = [plain_row(f"s{number}") for number in range(6)]
    rows[1]["eval_group"] = "held_out_task"
    rows[2]["split"] = "test"
    rows[3]["task"] = "summary"
    rows[4]["kind"] = "interleaved"
    root = dataset(*rows)

    def chosen(**selection):
        return [
            row.sample_id for row in plan_export(root, "ms-swift", Selection(**selection)).held()
        ]

    assert chosen() == ["s0", "s3", "s4", "s5"]
    assert chosen(eval_group="all") == ["s0", "s1", "s3", "s4", "s5"]
    assert chosen(split="test") == ["s2"]
    assert chosen(tasks=("summary",)) == ["s3"]
    assert chosen(kinds=("instruct",)) == ["s0", "s3", "s5"]
    assert chosen(limit=2) == ["s0", "s3"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row.update(split="test"), "must have rows of split train, eval group train"),
        (SHAPES["text only"], "salmonn can't hold any row of .*: no speech"),
    ],
)
def test_nothing_to_export_is_a_mistake(change, says, dataset):
    with pytest.raises(ConfigError, match=says):
        plan_export(dataset(change=change), "salmonn", Selection(), skip=True)


def test_a_layout_that_is_none_is_a_mistake(dataset):
    with pytest.raises(
        ConfigError, match=r"--format must be one of huggingface, .* got 'parquet'"
    ):
        plan_export(dataset(), "parquet", Selection())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row["messages"][0]["content"].append(heard(9, clip=1)), "one of 1 clips"),
        (lambda row: row["messages"][0]["content"].append(heard(17_000)), "of 16000 samples"),
        (lambda row: row["messages"][0]["content"].append(heard(0)), "of 16000 samples, got 0"),
        (
            lambda row: row["audio_refs"][0].update(audio_id="made/1/x/c"),
            "c must be in audio/part",
        ),
        (lambda row: row["audio_refs"][0].update(audio_part=7), "must be in audio/part-00007"),
        (lambda row: row["messages"][0]["content"][0].update(type="units"), "must be text or aud"),
    ],
)
def test_a_row_that_names_what_is_not_there_is_an_error_of_the_dataset(change, says, dataset):
    with pytest.raises(ShardError, match=f"sample s0: .*{says}.*sllm-data validate"):
        plan_export(dataset(change=change), "huggingface", Selection())


def test_a_folder_without_samples_is_no_dataset(tmp_path):
    with pytest.raises(ShardError, match="must be a dataset with samples/"):
        plan_export(tmp_path, "nemo", Selection())
