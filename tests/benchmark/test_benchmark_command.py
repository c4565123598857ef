"""The commands as a user types them, a judge among them."""

import json

import pytest
import yaml
from pydantic import TypeAdapter
from typer.testing import CliRunner

from sllm_data.benchmark import read_benchmark
from sllm_data.benchmark.answers import read_answers
from sllm_data.benchmark.judging import judged, load_judge, wording_of
from sllm_data.cli import app
from sllm_data.errors import ConfigError, OutputError, ShardError
from sllm_data.evaluation.predictions import read_predictions
from sllm_data.generation import BackboneConfig
from sllm_data.steps import Progress
from tests.evaluation.eval_models import untaught, write_model

JUDGE = {"backbone": {"engine": "scripted", "function": "tests.benchmark.judges:by_length"}}


def _run(*arguments):
    return CliRunner().invoke(app, ["benchmark", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def small(dataset, tmp_path_factory):
    """Three questions, one of each group."""
    root = tmp_path_factory.mktemp("small") / "b"
    options = ("--tasks", "topic, who", "--per-task", 1, "--at-least", 1, "--json")
    assert _run("build", dataset, root, *options).exit_code == 0
    return read_benchmark(root)


def _write(path, lines):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _answer(sample_id, prediction):
    return {"sample_id": sample_id, "prediction": prediction}


def _right(benchmark):
    return [_answer(sample_id, row["response"]) for sample_id, row in benchmark.rows.items()]


def _written_judge(folder):
    path = folder / "judge.yaml"
    path.write_text(yaml.safe_dump(JUDGE))
    return path


def test_build_from_a_run_document_makes_the_dataset_first(world, tmp_path):
    document = {
        "seed": 1,
        "output": str(tmp_path / "dataset"),
        "recipe": "testbed",
        "corpora": [{"kind": "librispeech", "path": str(world)}],
        "backbone": {"engine": "scripted"},
        "draw": {"multi_task_share": 1.0, "multi_task_count": 6},
        "filters": {"copied": False},
        "runner": {"kind": "serial"},
    }
    run_yaml = tmp_path / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(document))
    done = _run("build", run_yaml, tmp_path / "b", "--per-task", 3, "--at-least", 0, "--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["source"]["name"] == "dataset"
    assert (tmp_path / "b/questions.jsonl").read_text().count("\n") == said["rows"]


def test_a_folder_in_the_way_is_refused_before_a_dataset_is_made(world, tmp_path):
    document = {
        "seed": 1,
        "output": str(tmp_path / "dataset"),
        "corpora": [{"kind": "librispeech", "path": str(world)}],
        "backbone": {"engine": "scripted"},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "b").mkdir()
    (tmp_path / "b/notes").touch()
    with pytest.raises(OutputError, match="must not exist or be an empty folder"):
        _run("build", tmp_path / "run.yaml", tmp_path / "b")
    with pytest.raises(OutputError, match="must lie outside of the dataset"):
        _run("build", tmp_path / "run.yaml", tmp_path / "dataset/b")
    assert not (tmp_path / "dataset").exists()


def test_tasks_may_stand_with_spaces(small):
    cells = small.description.cells
    assert [list(tasks) for tasks in cells.values()] == [["topic"], ["topic"], ["who"]]


def test_score_prints_a_table_and_writes_pages(small, tmp_path):
    answers = _write(tmp_path / "ears.jsonl", _right(small))
    done = _run("score", answers, "--benchmark", small.root, "--out", tmp_path / "scores")
    assert done.exit_code == 0
    assert "| ears" in done.stdout
    assert "seen instruction" in done.stdout
    assert done.stdout.endswith(f"benchmark: b, SHA-256 {small.sha256}\n")
    assert (tmp_path / "scores/ears/index.html").exists()
    done = _run("score", answers, answers, "--benchmark", small.root, "--json")
    assert len(json.loads(done.stdout)["systems"]) == 2
    assert json.loads(done.stdout)["benchmark_sha256"] == small.sha256


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder of the shipped encoder and backbone; what joins them is random."""
    return write_model(tmp_path_factory.mktemp("run") / "model", untaught("frozen"))


def test_a_model_of_this_package_answers_a_benchmark_and_is_scored(small, model, tmp_path):
    options = ("--sides", "speech,backbone", "--max-tokens", 16, "--out", tmp_path / "answers")
    asked = ["evaluate", *map(str, (model, small.root, *options))]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0
    answers = tmp_path / "answers/predictions.jsonl"
    found = read_predictions(answers)
    assert {each.sample_id for each in found} == set(small.rows)
    assert all(each.reference == small.rows[each.sample_id]["response"] for each in found)
    done = _run("score", answers, "--benchmark", small.root)
    assert done.exit_code == 0
    assert "| model " in done.stdout
    assert "| backbone " in done.stdout


@pytest.fixture(scope="module")
def judged_files(small, tmp_path_factory):
    """Two files of one name, rated by a judge; the folder of the scores."""
    folder = tmp_path_factory.mktemp("judged")
    said = ("fog", "fog and rain", "all of it was said by nobody")
    both = [
        _write(folder / name / "ears.jsonl", [*map(_answer, small.rows, answers)])
        for name, answers in (("a", said), ("b", ["late"] * 3))
    ]
    judge = ("--judge", _written_judge(folder), "--out", folder / "scores")
    done = _run("score", *both, "--benchmark", small.root, *judge, "--examples", 0)
    assert done.exit_code == 0
    return folder / "scores"


def test_a_judge_rates_each_answer(judged_files):
    rated = read_predictions(judged_files / "ears.judged.jsonl")
    assert sorted(each.judge_score or 0 for each in rated) == [0, 3, 5]
    document = json.loads((judged_files / "ears/evaluation.json").read_text())
    assert "judge" in json.dumps(document["cells"])


def _judge(**changed):
    document = JUDGE["backbone"] | changed
    return TypeAdapter(BackboneConfig).validate_python(document)


@pytest.mark.parametrize(
    ("judge", "change", "expected"),
    [
        (_judge(), {"judge_score": 2}, 2),
        (_judge(restarts=7), {"judge_score": 2}, 2),
        (_judge(system="Be strict."), {"judge_score": 2}, 5),
        (_judge(), {"judge_score": 2, "judge": ""}, 5),
        (_judge(), {"judge_score": 2, "judge": "another@0"}, 5),
        (_judge(), {"judge_score": 2, "prediction": "fog and rain"}, 3),
        (_judge(), {"judge_score": None}, 5),
    ],
    ids=["this", "operational", "strict", "nobody", "another", "edited", "not understood"],
)
def test_only_what_this_judge_said_of_this_answer_is_believed(
    judged_files, small, tmp_path, judge, change, expected
):
    lines = (judged_files / "ears-2.judged.jsonl").read_text().splitlines()
    path = _write(tmp_path / "ears.jsonl", [json.loads(line) | change for line in lines])
    again = judged(read_answers(path, small), small, judge, Progress(None))
    assert {each.judge_score for each in again} == {expected}


def test_files_of_one_name_keep_their_own_ratings(judged_files):
    rated = read_predictions(judged_files / "ears-2.judged.jsonl")
    assert {(each.prediction, each.judge_score) for each in rated} == {("late", 5)}


def test_a_missing_answer_is_wrong_where_the_command_says_so(small, tmp_path):
    path = _write(tmp_path / "ears.jsonl", _right(small)[1:])
    with pytest.raises(ShardError, match=r"lacks 1, .*as wrong with --missing wrong"):
        _run("score", path, "--benchmark", small.root)
    done = _run("score", path, "--benchmark", small.root, "--missing", "wrong", "--json")
    (system,) = json.loads(done.stdout)["systems"]
    assert sum(line["empty"] for line in system["scores"]) == 1


def test_an_empty_answer_is_a_one_and_no_judge_is_asked(small, tmp_path):
    path = _write(tmp_path / "ears.jsonl", [_answer(each, " ") for each in small.rows])
    empty = read_answers(path, small)
    config = {"engine": "scripted", "function": "no_such_module:f"}
    judge = TypeAdapter(BackboneConfig).validate_python(config)
    assert {each.judge_score for each in judged(empty, small, judge, Progress(None))} == {1}


def test_what_the_judge_is_told_to_be_asked_is_the_wording_alone(frozen):
    for row in frozen.rows.values():
        wording = wording_of(row)
        assert wording
        assert row["transcript_prepared"] not in wording


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "backbone"),
        ({"backbone": {"engine": "scripted", "speed": 3}}, "speed"),
        ({"backbone": {"engine": "oracle"}}, "oracle"),
    ],
)
def test_a_judge_that_can_t_be_one_is_refused(tmp_path, document, message):
    path = tmp_path / "judge.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=message):
        load_judge(path)


def test_ratings_need_a_place(small, tmp_path):
    path, judge = _write(tmp_path / "ears.jsonl", _right(small)), _written_judge(tmp_path)
    with pytest.raises(ConfigError, match="--judge must be given with --out"):
        _run("score", path, "--benchmark", small.root, "--judge", judge)
