"""`sllm-data evaluate`: from a trained model to a page, and again from what was saved."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from sllm_data.cli_evaluate import evaluate
from sllm_data.errors import ConfigError, ModelError, ShardError
from sllm_data.evaluation.predictions import read_predictions
from sllm_data.evaluation.probing.counterfactuals import CHANGES
from sllm_data.shards import TABLES, write_part
from tests.evaluation.eval_models import write_model


def _run(*arguments: object):
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("run") / "model", trained)


@pytest.fixture(scope="module")
def evaluated(model, dataset, tmp_path_factory):
    """A folder of one row of each task, and what was printed."""
    texts = tmp_path_factory.mktemp("texts") / "texts.txt"
    texts.write_text("Anna sold a lamp.\nA\nThe ferry left the harbour late.\n")
    options = ("--limit", 1, "--max-tokens", 12, "--diagnose", 1, "--texts", texts)
    options = ("--sides", "speech,text,backbone", *options)
    said = _run(model, dataset, *options)
    assert said.exit_code == 0, said.exception
    return model / "evaluation", said.stdout


def test_a_model_and_a_dataset_become_a_folder(evaluated):
    folder, said = evaluated
    names = {path.name for path in folder.iterdir()}
    assert {"predictions.jsonl", "evaluation.json", "index.html", "scores.png"} <= names
    assert {"attention.png", "counterfactuals.png"} <= names
    assert "| test: held-out task" in said
    assert f"page: {folder / 'index.html'}" in said
    assert len(read_predictions(folder / "predictions.jsonl")) == 5 * 3
    assert (folder / "index.html").read_text().count("<audio controls") == 5


def test_what_was_saved_gives_the_same_figures(evaluated, dataset, tmp_path):
    folder, _ = evaluated
    saved = folder / "predictions.jsonl"
    said = _run("model", dataset, "--from", saved, "--out", tmp_path, "--json")
    assert said.exit_code == 0, said.exception
    first = json.loads((folder / "evaluation.json").read_text())
    again = json.loads(said.stdout)
    assert {name: first[name] for name in again} == again
    assert (tmp_path / "index.html").read_text().count("<audio controls") == 5


def test_forced_losses_that_were_saved_give_the_same_figures(evaluated, tmp_path):
    folder, _ = evaluated
    said = _run("--from", folder / "predictions.jsonl", "--out", tmp_path)
    assert said.exit_code == 0, said.exception
    first, again = (json.loads((at / "evaluation.json").read_text()) for at in (folder, tmp_path))
    assert again["retention"] == first["retention"]
    assert again["retention"]["texts"] >= 2
    assert set(again["diagnostics"]["losses"]) == CHANGES.keys() - {"other speech"}  # one clip
    assert again["diagnostics"] == first["diagnostics"]
    gaps = [pair["nll_gap"]["value"] for pair in first["pairs"] if pair["other"] == "text"]
    assert gaps == [pair["nll_gap"]["value"] for pair in again["pairs"] if pair["other"] == "text"]
    assert any(gaps)
    pictures = [(at / "counterfactuals.png").read_bytes() for at in (folder, tmp_path)]
    assert pictures[0] == pictures[1]


def test_intervals_of_forced_losses_are_drawn_again_as_the_scoring_says(evaluated, tmp_path):
    folder, _ = evaluated
    scoring = tmp_path / "scoring.yaml"
    scoring.write_text("bootstrap: {confidence: 0.5}")
    _run("--from", folder / "predictions.jsonl", "--out", tmp_path, "--scoring", scoring)
    first, again = (
        json.loads((at / "evaluation.json").read_text())["diagnostics"]["losses"]["silence"]
        for at in (folder, tmp_path)
    )
    assert again["value"] == first["value"]
    assert first["low"] < again["low"] < again["high"] < first["high"]


def test_what_an_evaluation_before_measured_does_not_stay(evaluated, model, dataset, tmp_path):
    folder = tmp_path / "evaluation"
    shutil.copytree(evaluated[0], folder)
    options = ("--sides", "speech", "--limit", 1, "--max-tokens", 1, "--out", folder)
    assert _run(model, dataset, *options).exit_code == 0
    measured = {"counterfactuals.jsonl", "attention.jsonl", "states.safetensors"}
    assert not (measured | {"retention.jsonl"}) & {path.name for path in folder.iterdir()}


def test_forced_losses_of_other_predictions_are_told(evaluated, tmp_path):
    for name in ("predictions.jsonl", "counterfactuals.jsonl"):
        shutil.copy(evaluated[0] / name, tmp_path)
    answers = tmp_path / "predictions.jsonl"
    answers.write_text(answers.read_text().replace("who000", "xxx000"))
    said = _run("--from", answers)
    assert isinstance(said.exception, ShardError)
    assert "must be of a row of the predictions beside it, 'who000" in str(said.exception)


def test_predictions_are_enough_without_model_and_dataset(evaluated, tmp_path):
    saved = tmp_path / "p.jsonl"
    shutil.copy(evaluated[0] / "predictions.jsonl", saved)
    shutil.copy(evaluated[0] / "counterfactuals.jsonl", tmp_path)  # not of answers in `p`
    said = _run("--from", saved)
    assert said.exit_code == 0, said.exception
    assert "<audio" not in (tmp_path / "rescored/index.html").read_text()
    assert "diagnostics" not in json.loads((tmp_path / "rescored/evaluation.json").read_text())
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"p.jsonl", "counterfactuals.jsonl", "rescored"}


def test_another_scoring_asks_nobody_again(evaluated, tmp_path):
    scoring = tmp_path / "scoring.yaml"
    scoring.write_text("tasks: {who: {metrics: [chrf], main: chrf}}")
    saved = evaluated[0] / "predictions.jsonl"
    said = _run("--from", saved, "--out", tmp_path, "--scoring", scoring, "--json")
    cells = [cell for cell in json.loads(said.stdout)["cells"] if cell["task"] == "who"]
    assert {cell["main"] for cell in cells} == {"chrf"}


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ((), ConfigError, "must be given a MODEL and a DATASET"),
        (("{empty}", "{dataset}"), ModelError, "must be what `sllm-data train` wrote"),
        (("{model}", "{empty}"), ShardError, "must be a dataset"),
        (("{model}", "{dataset}", "--sides", "loud"), ConfigError, "sides must be some of"),
        (("{model}", "{dataset}", "--split", "validation"), ShardError, "rows of the split"),
        (("--from", "{empty}/none"), ShardError, "must be a file of predictions"),
        (("--scoring", "{empty}/none"), ConfigError, "can't be read"),
    ],
)
def test_a_mistake_is_one_sentence(model, dataset, tmp_path, arguments, error, told):
    places = {"empty": tmp_path, "model": model, "dataset": dataset}
    said = _run(*(word.format(**places) for word in arguments))
    assert isinstance(said.exception, error)
    assert told in str(said.exception)


def test_rows_that_can_t_be_heard_are_told_and_stand_on_the_page(model, dataset, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(dataset, root)
    file = "audio/part-00000.parquet"
    rows = pq.read_table(root / file).to_pylist()
    rows = [row | {"audio": {"bytes": b"", "path": ""}} for row in rows]
    write_part(root, file, rows, table=TABLES["audio"], identity="i")
    file = "samples/part-00000.parquet"
    rows = pq.read_table(root / file).to_pylist()
    for row in rows:
        row["generator"]["chat_template_sha256"] = "0123456789abcdef"
    write_part(root, file, rows, table=TABLES["samples"], identity="i")
    options = ("--sides", "speech", "--max-tokens", 1, "--diagnose", 1, "--out", tmp_path / "out")
    said = _run(model, root, *options)
    assert said.exit_code == 0, said.exception
    assert "10 rows were left out on every side; the first: keyw" in said.stderr
    facts = json.loads((tmp_path / "out/evaluation.json").read_text())["facts"]
    assert facts["rows left out"].startswith("10: keyw")
    assert "libsndfile says" in facts["rows left out"]
    assert "another than that by which rows were answered: 0123456789ab" in facts["chat template"]


def test_answers_are_kept_where_the_model_can_not_be_looked_into(model, dataset, tmp_path):
    root = tmp_path / "told"
    shutil.copytree(dataset, root)
    file = "samples/part-00000.parquet"
    rows = pq.read_table(root / file).to_pylist()
    rows = [row | {"transcript_prepared": ""} for row in rows]
    write_part(root, file, rows, table=TABLES["samples"], identity="i")
    options = ("--sides", "speech", "--max-tokens", 1, "--limit", 1, "--diagnose", 1)
    said = _run(model, root, *options, "--out", tmp_path / "out")
    assert isinstance(said.exception, ShardError)
    assert "diagnostics need rows of one question" in str(said.exception)

    answers = tmp_path / "out/predictions.jsonl"
    assert answers.read_text().count("\n") == 5
    scored = _run("--from", answers, "--out", tmp_path / "scored")
    assert scored.exit_code == 0, scored.exception


def test_predictions_of_another_dataset_are_told(evaluated, dataset, tmp_path):
    lines = (evaluated[0] / "predictions.jsonl").read_text().replace("who000", "xxx000")
    saved = tmp_path / "p.jsonl"
    saved.write_text(lines)
    said = _run("model", dataset, "--from", saved)
    assert isinstance(said.exception, ShardError)
    assert "1 of them are not in it" in str(said.exception)
