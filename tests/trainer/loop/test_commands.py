"""`train` and `infer` on the line: what they print, and one sentence for a mistake."""

import json
import os
import subprocess
import sys

import boto3
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
    stages = [{"steps": 1, "learning_rates": {"connector": 0.001, "llm": 0.001}}]
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


def test_datasets_of_training_and_validation_may_be_urls(
    document, world, tmp_path, s3, moto, monkeypatch
):
    monkeypatch.setenv("SLLM_COPIES", str(tmp_path / "copies"))
    bucket = boto3.resource("s3", endpoint_url=f"http://127.0.0.1:{moto}").Bucket(s3.bucket)
    for path in sorted(world.rglob("*.parquet")):
        for prefix in ("trained", "asked"):
            bucket.upload_file(str(path), f"{prefix}/{path.relative_to(world).as_posix()}")
    url = f"s3://{s3.bucket}"
    sections = document(
        tmp_path / "out",
        stages=[{"steps": 1}],
        validation={"every_steps": 1, "split": "test", "datasets": [{"path": f"{url}/asked"}]},
    )
    sections["data"]["datasets"] = [{"path": f"{url}/trained"}]
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(sections))

    assert json.loads(_said("train", path, "--json"))["validation_loss"] > 0


def test_infer_answers_in_any_order_and_without_speech_too(straight, clip):
    asked = ("infer", straight, "--instruction", "What is said?", "--max-tokens", "4")

    heard = _said(*asked, "--audio", clip)
    assert heard.endswith("\n")
    assert len(heard.split()) <= 4
    assert heard == _said(*asked, "--audio", clip, "--device", "cpu")
    _said(*asked, "--audio", clip, "--audio-first", "--system", "Answer.")
    _said(*asked)


def test_infer_answers_about_many_files_at_once(straight, world):
    clips = sorted((world.parent / "LibriSpeech").rglob("*.flac"))[:3]
    asked = ("infer", straight, "--instruction", "What is said?", "--max-tokens", "4")
    heard = [word for clip in clips for word in ("--audio", clip)]

    lines = [json.loads(line) for line in _said(*asked, *heard, "--json").splitlines()]

    assert [line["audio"] for line in lines] == [str(clip) for clip in clips]
    alone = [_said(*asked, "--audio", clip) for clip in clips]
    assert [f"{line['answer']}\n" for line in lines] == alone


def test_several_files_need_json(straight, monkeypatch, capsys):
    heard = ("--audio", "a.wav", "--audio", "b.wav")
    said = _mistake(monkeypatch, capsys, "infer", straight, "--instruction", "Hm?", *heard)
    assert "--json must be given where there are several files, got 2" in said


def test_an_exported_model_is_loaded_by_transformers(straight, tmp_path):
    said = _said("export-model", straight, tmp_path / "hf", "--dtype", "bfloat16")
    assert said == f"model: {tmp_path}/hf\n"
    model = AutoModel.from_pretrained(tmp_path / "hf", trust_remote_code=True)
    trained = load_trained(straight).model
    assert torch.equal(
        model.multi_modal_projector.state_dict()["queries"],
        trained.connector.state_dict()["queries"].bfloat16(),
    )


def test_a_folder_that_is_there_is_not_exported_to(straight, monkeypatch, capsys, tmp_path):
    sentence = _mistake(monkeypatch, capsys, "export-model", straight, tmp_path)
    assert "must be a new folder, it is there" in sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--audio", "absent.wav"), "absent.wav: can't be read: there is no such file"),
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


def test_a_full_disk_is_one_sentence_and_room_is_all_it_takes(document, straight, tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(document(tmp_path / "out")))
    train = f"exec {sys.executable} -m sllm_data.cli train {path}"

    def run(command):
        # as many threads as `straight` has: others add up in another order
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, check=False, env=environment
        )

    # no file may be larger than 64 KiB, and no half of one is left for Python to trip over
    full = run(f"export PYTHONDONTWRITEBYTECODE=1; ulimit -f 64; {train}")
    assert full.returncode == 2, full.stderr
    assert "step-00000002: can't be written: " in full.stderr
    assert "Traceback" not in full.stderr
    room = run(train)
    assert room.returncode == 0, room.stderr
    lines = (tmp_path / "out/metrics.jsonl").read_text().splitlines()
    whole = (straight / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [
        json.loads(line)["loss"] for line in whole
    ]
