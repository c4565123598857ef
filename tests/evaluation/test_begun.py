"""An evaluation that was stopped asks for what is missing alone, and finds the same to the bit."""

import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from sllm_data.cli_evaluate import evaluate as command
from sllm_data.evaluation.asking import Asking
from sllm_data.evaluation.begun import BEGUN, answers_begun
from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.evaluation.evaluating import evaluate
from sllm_data.evaluation.predictions import read_predictions
from sllm_data.files import LockedError, output_lock
from tests.evaluation.eval_models import write_model

CONFIG = EvaluationConfig()


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("run") / "model", trained)


@pytest.fixture(scope="module")
def asking(dataset):
    """Rows that ask about the same clips, in packs of a few."""
    return Asking(dataset=dataset, sides=("speech", "cascade"), budget=300, max_tokens=12)


@pytest.fixture(scope="module")
def straight(model, asking, tmp_path_factory):
    """The folder of an evaluation that nothing stopped."""
    output = tmp_path_factory.mktemp("straight") / "out"
    evaluate(model, asking, output, config=CONFIG)
    return output


def evaluate_and_die(model, asking, output, rows):
    """Evaluates, and is killed as soon as so many rows are done."""

    def kill(done, _total):
        if done >= rows:
            os.kill(os.getpid(), signal.SIGKILL)

    evaluate(model, asking, output, config=CONFIG, watch=kill)


@pytest.fixture(scope="module")
def killed(model, asking, tmp_path_factory):
    """The folder of one that was killed in its midst."""
    output = tmp_path_factory.mktemp("killed") / "out"
    process = multiprocessing.get_context("spawn").Process(
        target=evaluate_and_die, args=(model, asking, output, 8)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert {path.name for path in output.iterdir()} == {".lock", BEGUN}
    return output


@pytest.fixture
def stopped(killed, tmp_path):
    """A copy of it."""
    return shutil.copytree(killed, tmp_path / "out")


def _answered(output):
    """Answers that are whole."""
    lines = (output / BEGUN).read_bytes().split(b"\n")[1:-1]
    return sum(len(json.loads(line)["predictions"]) for line in lines)


def _scores(output):
    found = json.loads((output / "evaluation.json").read_text())
    assert found.pop("latency")  # by the clock
    return found


def _assert_same(output, straight):
    names = [{path.name for path in each.iterdir()} for each in (output, straight)]
    assert names[0] == names[1]
    answers = [(each / "predictions.jsonl").read_bytes() for each in (output, straight)]
    assert answers[0] == answers[1]
    assert _scores(output) == _scores(straight)


def test_killed_in_its_midst_it_goes_on_by_the_command_and_finds_the_same_to_the_bit(
    model, dataset, stopped, straight
):
    num = _answered(stopped)
    assert 16 <= num < 40
    app = typer.Typer()
    app.command()(command)
    options = ("--sides", "speech,cascade", "--budget", "300", "--max-tokens", "12")

    said = CliRunner().invoke(app, [str(model), str(dataset), *options, "--out", str(stopped)])

    assert said.exit_code == 0, said.exception
    assert f"{num} answers were given before, and are not asked for again" in said.stderr
    _assert_same(stopped, straight)


def test_a_line_that_was_cut_is_asked_for_again(model, asking, stopped, straight):
    path, num, said = stopped / BEGUN, _answered(stopped), []
    path.write_bytes(path.read_bytes()[:-100])
    kept = _answered(stopped)
    assert 0 < kept < num

    evaluate(model, asking, stopped, config=CONFIG, say=said.append)

    assert said == [f"{kept} answers were given before, and are not asked for again"]
    _assert_same(stopped, straight)


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"7", b'{"predictions": [], "written_down": []}', b"\xff\x00"]
)
def test_a_line_of_another_form_ends_what_is_known(stopped, line):
    path, said = stopped / BEGUN, []
    whole = path.read_bytes()
    whole = whole[: whole.rindex(b"\n") + 1]
    path.write_bytes(whole + line + b"\n")
    facts = json.loads(whole.split(b"\n")[0])

    answers_begun(path, facts, say=said.append)

    assert said == [f"{_answered(stopped)} answers were given before, and are not asked for again"]
    assert path.read_bytes() == whole


def test_what_was_answered_is_taken_as_it_stands_and_no_model_is_asked(model, asking, stopped):
    path, num = stopped / BEGUN, _answered(stopped)
    head, *lines = map(json.loads, path.read_text().splitlines())
    for line in lines:
        for row in line["predictions"]:
            row["prediction"] = "as it stands"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in (head, *lines)))

    evaluate(model, asking, stopped, config=CONFIG)

    found = read_predictions(stopped / "predictions.jsonl")
    assert sum(each.prediction == "as it stands" for each in found) == num


def test_answers_to_something_else_are_dropped_and_told(
    asking, dataset, new_trained, stopped, tmp_path
):
    num, said = _answered(stopped), []
    model = write_model(tmp_path / "model", new_trained("full"))
    shutil.copytree(dataset, tmp_path / "fewer")
    for table in ("samples", "audio"):
        (tmp_path / "fewer" / table / "part-00001.parquet").unlink()
    other = replace(
        asking,
        dataset=tmp_path / "fewer",
        split="train",
        limit=1,
        sides=("speech",),
        budget=100,
        max_tokens=3,
    )

    evaluate(model, other, stopped, config=CONFIG, say=said.append)

    (sentence,) = said
    assert f"{num} answers that were begun with are dropped" in sentence
    for change in ("model.1: ", "dataset: ", "split: 'test' -> 'train'", "limit: None -> 1"):
        assert change in sentence
    for change in ("sides: ", "budget: 300 -> 100", "max_tokens: 12 -> 3"):
        assert change in sentence
    assert len(read_predictions(stopped / "predictions.jsonl")) == 1


def test_two_at_once_do_not_write_one_folder(model, asking, tmp_path):
    with output_lock(tmp_path), pytest.raises(LockedError, match="another run is writing"):
        evaluate(model, asking, tmp_path, config=CONFIG)
