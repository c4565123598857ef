"""`train` and `infer` on the line: what they print, and one sentence for a mistake."""

import json
import sys

import pytest
import torch
import yaml
from transformers import AutoModel
from typer.testing import CliRunner

from sllm_data.cli import app, main
from sllm_data.testbed.assets import shipped
from sllm_data.trainer.trained import load_trained


@pytest.fixture
def train_yaml(document, tmp_path):
    path = tmp_path / "train.yaml"
    stages = [{"steps": 1, "learning_rates": {"connector": 0.001, "llm": 0}}]
    path.write_text(yaml.safe_dump(document(tmp_path / "out", stages=stages)))
    return path


@pytest.fixture(scope="session")
def clip(world):
    return next(iter(sorted((world.parent / "LibriSpeech").rglob("*.flac"))))


def _said(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_train_says_what_it_did_and_then_that_it_was_done(train_yaml):
    first = _said("train", train_yaml)
    again = _said("train", train_yaml)
    report = json.loads(_said("train", train_yaml, "--json"))

    assert "1 of 1 steps in" in first
    assert "trained tokens/s" in first
    assert again.startswith("1 steps were done before\nmodel: ")
    assert report["was_done"]
    assert report["output"] == str(train_yaml.parent / "out")
    assert report["loss"] > 0


def test_infer_answers_in_any_order_and_without_speech_too(straight, clip):
    asked = ("infer", straight, "--instruction", "What is said?", "--max-tokens", "4")

    heard = _said(*asked, "--audio", clip)
    assert heard.endswith("\n")
    assert len(heard.split()) <= 4
    assert heard == _said(*asked, "--audio", clip, "--device", "cpu")
    _said(*asked, "--audio", clip, "--audio-first", "--system", "Answer.")
    _said(*asked)


def test_an_exported_model_is_loaded_by_transformers(straight, tmp_path):
    said = _said("export-model", straight, tmp_path / "hf")
    assert said == f"model: {tmp_path}/hf\n"
    model = AutoModel.from_pretrained(tmp_path / "hf", trust_remote_code=True)
    trained = load_trained(straight).model
    assert torch.equal(
        model.multi_modal_projector.state_dict()["queries"],
        trained.connector.state_dict()["queries"],
    )


def test_a_folder_that_is_there_is_not_exported_to(straight, monkeypatch, capsys, tmp_path):
    sentence = _mistake(monkeypatch, capsys, "export-model", straight, tmp_path)
    assert "must be a new folder, it is there" in sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--audio", "absent.wav"), "absent.wav: can't be read: No such file"),
        (("--audio", __file__), "must be a sound file that libsndfile reads"),
        (("--device", "tpu"), "device must be auto, cpu or cuda, got 'tpu'"),
    ],
)
def test_a_question_that_can_not_be_asked_is_one_sentence(
    straight, monkeypatch, capsys, arguments, sentence
):
    said = _mistake(
        monkeypatch, capsys, "infer", straight, "--instruction", "What is said?", *arguments
    )
    assert sentence in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("sede=1", "sede is not a known key; did you mean 'seed'?"),
        ("data.datasets.0.path=absent", "absent"),
        (
            f"model.encoder.model={shipped('backbone')}",
            "must hold a Whisper of transformers",
        ),
        (f"model.llm.model={shipped('encoder')}", "has no tokenizer"),
        ("model.llm.lora.targets=[nothing]", "found none called nothing"),
        ("data.budget=16", "has none of this split, group, task and kind that fits"),
        ("output=/proc/x", "/proc/x"),
    ],
)
def test_a_training_that_can_not_begin_is_one_sentence(
    train_yaml, monkeypatch, capsys, change, sentence
):
    assert sentence in _mistake(monkeypatch, capsys, "train", train_yaml, "--set", change)


def _mistake(monkeypatch, capsys, *arguments: object) -> str:
    monkeypatch.setattr(sys, "argv", ["sllm-data", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr().err
    assert stop.value.code == 2
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    return lines[0]
