"""`sllm-data testbed`: what it prints, and one sentence for every mistake."""

import os
import subprocess
import sys
from pathlib import Path

import espeakng_loader
import pytest
from typer.testing import CliRunner

from sllm_data.cli import app
from sllm_data.testbed.assets import KINDS, shipped


def _speak(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return _testbed("speak", *arguments, **variables)


def _testbed(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sllm_data.cli", "testbed", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
    )


def test_speak_prints_what_it_wrote(tmp_path):
    arguments = ["testbed", "speak", str(tmp_path / "world"), "--hours", "0.01", "--workers", "1"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    lines = result.stdout.splitlines()
    subsets = ["train-world", "dev-world", "test-world", "test-unseen-voices"]
    assert result.exit_code == 0
    assert [line.split()[0] for line in lines] == [*subsets, "corpus:"]
    for line in lines[:-1]:
        subset, count, *_ = line.split()
        assert len(list((tmp_path / "world" / subset).rglob("*.flac"))) == int(count)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--hours", "0"], "hours must be a number above 0, got 0"),
        (["--hours", "1e6"], "the world has no more distinct stories"),
        (["--num-voices", "0"], "num_voices must be 1 to 12, got 0"),
        (["--overlap", "0.1"], "only in dialogues two speak at once"),
    ],
)
def test_a_mistake_is_one_sentence_with_status_2(tmp_path, arguments, sentence):
    said = _speak(tmp_path / "world", *arguments)
    assert said.returncode == 2
    assert said.stdout == ""
    assert said.stderr.startswith("error: ")
    assert sentence in said.stderr
    assert said.stderr.count("\n") == 1
    assert not (tmp_path / "world").exists()


def test_a_folder_that_can_not_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    said = _speak(tmp_path / "file" / "world", "--hours", "0.01")
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert (
        f"error: {tmp_path}/file/world: the output must be a folder that can be written"
        in said.stderr
    )


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        ((), "libespeak-ng.so: this file of espeak-ng is missing"),
        (("libespeak-ng.so",), "phontab: this file of espeak-ng is missing"),
        (("libespeak-ng.so", "espeak-ng-data/phontab"), "library of espeak-ng can't be loaded"),
    ],
)
def test_a_missing_or_broken_espeak_library_is_named(tmp_path, there, sentence):
    # the package with nothing or nonsense in it, found before the real one
    package = tmp_path / "espeakng_loader"
    (package / "espeak-ng-data/voices/!v").mkdir(parents=True)
    (package / "espeak-ng-data/voices/!v/f1").touch()
    source = Path(espeakng_loader.__file__).read_text(encoding="utf-8")
    (package / "__init__.py").write_text(source, encoding="utf-8")
    for name in there:
        (package / name).write_bytes(b"nonsense")
    said = _speak(tmp_path / "world", "--workers", "1", PYTHONPATH=str(tmp_path))
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert sentence in said.stderr


def test_show_says_where_the_shipped_models_are_and_what_they_can_do():
    result = CliRunner().invoke(app, ["testbed", "show"], catch_exceptions=False)
    assert result.exit_code == 0
    for kind in KINDS:
        assert str(shipped(kind)) in result.stdout.splitlines()
    assert "sentences transcription" in result.stdout
    assert "unseen" in result.stdout


@pytest.mark.parametrize("command", ["show", "examine"])
def test_a_folder_without_models_is_one_sentence(tmp_path, command):
    said = _testbed(command, tmp_path)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == (
        f"error: {tmp_path}/testbed.json: there is no such file; run `sllm-data testbed build`\n"
    )


def test_a_build_that_runs_out_of_time_says_how_far_it_came_with_status_1(tmp_path):
    said = _testbed("build", tmp_path / "models", "--minutes", "0")
    assert said.returncode == 1
    assert "must be trained in 0 minutes, but these were over after step 1 of" in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert not (tmp_path / "models" / "testbed.json").exists()
