"""What is frozen: three groups, nothing that training has, whole, and for any other program."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import soundfile
from datasets import load_dataset

from sllm_data.benchmark import Wanted, build_benchmark, read_benchmark
from sllm_data.errors import OutputError, RejectedError, ShardError
from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.shards import TABLES, write_part
from sllm_data.steps import Progress
from sllm_data.validation.opening import Options
from sllm_data.validation.runner import validate
from tests.benchmark.conftest import WANTED


def _samples(root: Path) -> list[dict]:
    return [
        row
        for path in sorted((root / "samples").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _build(root: Path, output: Path, wanted: Wanted = WANTED, **options):
    return build_benchmark(
        root,
        output,
        wanted=wanted,
        scoring=options.pop("scoring", EvaluationConfig()),
        progress=Progress(None),
        **options,
    )


def _with_rows(root: Path, output: Path, change) -> Path:
    """A training set beside it: the rows of `root` after a change, with their audio."""
    for table in ("samples", "audio"):
        for path in sorted((root / table).glob("*.parquet")):
            rows = pq.read_table(path).to_pylist()
            if table == "samples":
                rows = [row for row in map(change, rows) if row is not None]
            write_part(output, f"{table}/{path.name}", rows, table=TABLES[table], identity="")
    return output


def test_it_has_all_groups_and_at_most_so_many_rows_of_each_task(frozen):
    cells = frozen.description.cells
    assert set(cells) == {"train", "held_out_instruction", "held_out_task"}
    assert all(0 < rows <= 4 for tasks in cells.values() for rows in tasks.values())
    assert set(cells["held_out_task"]) == {"who", "what", "opposite"}
    assert frozen.description.rows == sum(sum(tasks.values()) for tasks in cells.values())


def test_no_training_row_has_anything_of_it(dataset, frozen):
    report = validate(dataset, Options(level=3, jobs=1, against=(frozen.root,)))
    assert not [
        found for found in report.outcomes if found.rule.name.startswith("against") and found.count
    ]
    trained = [row for row in _samples(dataset) if row["split"] == "train"]
    asked = list(frozen.rows.values())
    assert trained
    for column in ("transcript",):
        assert not {row[column] for row in trained} & {row[column] for row in asked}


def test_the_same_dataset_gives_the_same_benchmark(dataset, frozen, tmp_path):
    again = _build(dataset, tmp_path / "benchmark")
    assert again.files == frozen.description.files


def test_rows_are_as_they_were_but_for_their_part(dataset, frozen):
    before = {row["sample_id"]: row for row in _samples(dataset)}
    for row in _samples(frozen.root):
        was = before[row["sample_id"]]
        assert row["audio_refs"] == [{**ref, "audio_part": 0} for ref in was["audio_refs"]]
        assert {**row, "audio_refs": None} == {**was, "audio_refs": None}


def test_another_program_finds_speech_and_wording_of_each_question(frozen):
    heard, read = (_lines(frozen.root / f"questions{kind}.jsonl") for kind in ("", ".text"))
    assert [q["sample_id"] for q in heard] == [q["sample_id"] for q in read] == list(frozen.rows)
    for question in heard:
        row = frozen.rows[question["sample_id"]]
        contents = [part for turn in question["messages"] for part in turn["content"]]
        assert [part["audio"] for part in contents if part["type"] == "audio"] == [
            question["audio"]
        ]
        assert row["transcript"] not in json.dumps(question)
        assert soundfile.info(frozen.root / question["audio"]).duration > 0
    for question in read:
        row = frozen.rows[question["sample_id"]]
        assert row["transcript_prepared"] in question["messages"][-1]["content"]
        assert question["messages"][-1]["role"] == "user"


def test_the_datasets_library_plays_it(frozen):
    audio = load_dataset(str(frozen.root), "audio", split="test")
    samples = load_dataset(str(frozen.root), "samples", split="test")
    assert len(samples) == len(frozen.rows)
    assert len(audio[0]["audio"].get_all_samples().data[0]) == audio[0]["num_samples"]


def test_it_is_a_dataset_that_keeps_the_contract(frozen):
    report = validate(frozen.root, Options(level=3, jobs=1))
    assert [o.rule.name for o in report.outcomes if o.weight == "error" and o.count] == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda row: row | {"split": "train", "eval_group": "train"}, "clip"),
        (
            lambda row: (
                row | {"split": "train", "eval_group": "train", "instruction_id": "x", "task": "y"}
                if row["eval_group"] == "train" and row["split"] == "train"
                else None
            ),
            None,
        ),
    ],
)
def test_what_another_training_set_has_is_left_out(dataset, tmp_path, changed, reason):
    other = _with_rows(dataset, tmp_path / "other", changed)
    if reason is None:
        assert _build(dataset, tmp_path / "b", against=[other]).left_out == {}
        return
    with pytest.raises(RejectedError, match="a training row has the clip"):
        _build(dataset, tmp_path / "b", against=[other])


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("speakers", "speaker"),
        ("transcript", "transcript"),
        ("instruction_id", "wording"),
        ("task", "task"),
    ],
)
def test_one_row_in_common_takes_its_likes_out(dataset, frozen, tmp_path, field, reason):
    group = {"wording": "held_out_instruction", "task": "held_out_task"}.get(reason, "train")
    taken = next(row for row in _samples(frozen.root) if row["eval_group"] == group)

    def change(row: dict) -> dict | None:
        if row["split"] != "train":
            return None
        return row | {field: taken[field], "source": taken["source"]}

    other = _with_rows(dataset, tmp_path / "other", change)
    made = _build(dataset, tmp_path / "b", against=[other])
    assert made.left_out.keys() == {reason}
    left = _samples(tmp_path / "b")
    hidden = (lambda row: row["transcript"].lower()) if field == "transcript" else None
    of = hidden or (lambda row: str(row[field]))
    assert of(taken) not in {of(row) for row in left if row["eval_group"] == group}


def test_validate_finds_each_training_row_that_met_it(dataset, frozen, tmp_path):
    wording, task = (
        next(row["sample_id"] for row in _samples(frozen.root) if row["eval_group"] == group)
        for group in ("held_out_instruction", "held_out_task")
    )

    def change(row: dict) -> dict | None:
        if row["sample_id"] in (wording, task) or row["split"] == "train":
            return row | {"split": "train", "eval_group": "train"}
        return None

    other = _with_rows(dataset, tmp_path / "leaky", change)
    report = validate(other, Options(level=3, jobs=1, against=(frozen.root,)))
    found = {
        outcome.rule.name.removeprefix("against_"): {finding.row for finding in outcome.findings}
        for outcome in report.outcomes
        if outcome.rule.name.startswith("against_")
    }
    both = {wording, task}
    assert {name: rows & both for name, rows in found.items()} == {
        "clip": both,
        "speaker": both,
        "transcript": both,
        "wording": {wording},
        "task": {task},
    }
    assert not report.passed


def test_whose_speech_it_is_stands_beside_it_whatever_they_are_called(dataset, frozen, tmp_path):
    asked = set(frozen.rows)

    def change(row: dict) -> dict | None:
        terms = {"licence": "CC | BY\n# <b>", "attribution": "the voices"}
        return row | {"source": row["source"] | terms} if row["sample_id"] in asked else None

    made = _build(_with_rows(dataset, tmp_path / "terms", change), tmp_path / "b")
    card = (tmp_path / "b/README.md").read_text()
    assert f"| CC \\| BY # &lt;b&gt; | {made.rows:,} |" in card
    attribution = (tmp_path / "b/ATTRIBUTION").read_text()
    assert "attribution: the voices" in attribution
    assert f"{made.rows:,} rows, {made.clips:,} clips" in attribution


def test_rows_about_a_part_of_a_clip_or_an_unknown_speaker_are_left_out(dataset, frozen, tmp_path):
    shorter, louder, unknown = (row["sample_id"] for row in _samples(frozen.root)[:3])

    def change(row: dict) -> dict:
        (heard,) = [s for t in row["messages"] for s in t["content"] if s["type"] == "audio"]
        heard["num_samples"] -= row["sample_id"] == shorter
        heard["gain_db"] = 6.0 if row["sample_id"] == louder else heard["gain_db"]
        if row["sample_id"] == unknown:
            row["speakers"] = [row["speakers"][0] | {"id": None}]
        return row

    changed = _with_rows(dataset, tmp_path / "changed", change)
    made = _build(changed, tmp_path / "b")
    assert made.left_out == {"form": 2, "unknown_speaker": 1}
    asked = {row["sample_id"] for row in _samples(tmp_path / "b")}
    assert not asked & {shorter, louder, unknown}


def test_a_task_without_a_row_in_one_of_its_groups_is_refused(dataset, frozen, tmp_path):
    cells = frozen.description.cells  # built with at_least=0, which lets it be
    lacking = min(cells["train"].keys() - cells["held_out_instruction"].keys())
    with pytest.raises(RejectedError, match=f"{lacking} has 0 in held-out instruction"):
        _build(dataset, tmp_path / "b", replace(WANTED, at_least=1))


def test_too_little_speech_names_the_tasks_that_lack_rows(dataset, tmp_path):
    with pytest.raises(RejectedError, match=r"must have 500 rows .* has \d+ in .*; and \d+ more"):
        _build(dataset, tmp_path / "b", replace(WANTED, per_task=500, at_least=500))
    assert not (tmp_path / "b").exists()


def test_no_more_rows_are_demanded_than_are_asked(dataset, tmp_path):
    wanted = replace(WANTED, per_task=1, at_least=10, tasks=("topic", "who"))
    made = _build(dataset, tmp_path / "b", wanted)
    assert [list(tasks.values()) for tasks in made.cells.values()] == [[1], [1], [1]]


def test_a_folder_in_a_dataset_is_no_target(dataset, tmp_path):
    with pytest.raises(OutputError, match="must lie outside of the dataset"):
        _build(dataset, dataset / "benchmark")
    assert not (dataset / "benchmark").exists()


def test_a_group_without_a_row_is_refused(dataset, tmp_path):
    with pytest.raises(RejectedError, match="the group held-out task must have rows"):
        _build(dataset, tmp_path / "b", replace(WANTED, tasks=("topic", "where")))


def test_only_some_tasks(dataset, tmp_path):
    made = _build(dataset, tmp_path / "b", replace(WANTED, tasks=("topic", "who")))
    assert Counter(task for tasks in made.cells.values() for task in tasks) == {
        "topic": 2,
        "who": 1,
    }


def test_a_split_without_rows_an_unknown_task_and_a_folder_in_the_way_are_refused(
    dataset, frozen, tmp_path
):
    trained = _with_rows(
        dataset, tmp_path / "trained", lambda row: row if row["split"] == "train" else None
    )
    with pytest.raises(ShardError, match="must hold rows of the split test, has none"):
        _build(trained, tmp_path / "b")
    with pytest.raises(ShardError, match="questions of the task 'tpoic', has none; it has topic"):
        _build(dataset, tmp_path / "b", replace(WANTED, tasks=("topic", "tpoic")))
    with pytest.raises(OutputError, match="must not exist or be an empty folder"):
        _build(dataset, frozen.root)


def test_scoring_is_frozen_with_it(dataset, tmp_path):
    scoring = EvaluationConfig.model_validate(
        {"limits": {"topic.en-testbed.01": {"max_words": 1}, "unused": {"max_words": 2}}}
    )
    _build(dataset, tmp_path / "b", scoring=scoring)
    found = read_benchmark(tmp_path / "b").description.scoring
    assert set(found.tasks) == {
        task
        for tasks in read_benchmark(tmp_path / "b").description.cells.values()
        for task in tasks
    }
    assert set(found.limits) == {row["instruction_id"] for row in _samples(tmp_path / "b")}
    assert all(each == scoring.limits_of(name) for name, each in found.limits.items())
    assert None in found.limits.values()  # frozen too: a later package may say otherwise


def test_every_file_that_was_changed_or_is_gone_is_refused(frozen, tmp_path):
    copy = tmp_path / "b"
    shutil.copytree(frozen.root, copy)
    assert read_benchmark(copy).sha256 == frozen.sha256
    for file in frozen.description.files:
        path = copy / file
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        with pytest.raises(ShardError, match=f"{file}: must be the file that was frozen"):
            read_benchmark(copy)
        path.write_bytes(content)
    path.unlink()
    with pytest.raises(ShardError, match="found: No such file"):
        read_benchmark(copy)


def test_a_benchmark_that_names_a_file_outside_itself_is_refused(frozen, tmp_path):
    document = json.loads((frozen.root / "benchmark.json").read_text())
    document["files"] = {"../secret": "0" * 64}
    (tmp_path / "benchmark.json").write_text(json.dumps(document))
    with pytest.raises(ShardError, match="found: no file of the folder"):
        read_benchmark(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "can't be read"),
        ("{", "must be JSON"),
        ("[]", "must be what `sllm-data benchmark build` wrote"),
        ('{"benchmark_version": 99}', "has version 99"),
    ],
)
def test_a_folder_that_is_no_benchmark_is_refused(tmp_path, text, message):
    if text is not None:
        (tmp_path / "benchmark.json").write_text(text)
    with pytest.raises(ShardError, match=message):
        read_benchmark(tmp_path)
