"""The command line: exit statuses, one sentence for a mistake, and what each command prints."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from sllm_data.cli import app, main
from sllm_data.testbed import write_librispeech


@pytest.fixture(scope="module")
def run_yaml(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write_librispeech(folder / "LibriSpeech", subsets={"train-clean-a": 8}, num_speakers=2, seed=4)
    document = {
        "seed": 1,
        "output": str(folder / "dataset"),
        "corpora": [{"kind": "librispeech", "path": str(folder / "LibriSpeech")}],
        "backbone": {"engine": "scripted"},
        "filters": {"wrong_language": False, "copied": False},
        "runner": {"kind": "serial"},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sllm_data.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def _invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def _status(monkeypatch, capsys, *arguments: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["sllm-data", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code, capsys.readouterr().err


def test_run_prints_steps_figures_and_the_folder(run_yaml):
    said = _run("run", run_yaml)

    assert said.returncode == 0, said.stderr
    assert "candidates" in said.stdout
    assert "| task" in said.stdout
    assert f"dataset: {run_yaml.parent}/dataset" in said.stdout


def test_each_step_is_a_command(run_yaml, tmp_path):
    for step in ("ingest", "index", "plan", "generate", "assemble"):
        said = _invoke(step, run_yaml, "--set", f"output={tmp_path}/dataset", "--json")
        reports = [json.loads(line) for line in said.splitlines()]
        assert all(report["parts_done"] or report["rows"] for report in reports)
    assert (tmp_path / "dataset/README.md").exists()


def test_stats_are_given_as_json_too(run_yaml):
    _invoke("run", run_yaml)
    figures = json.loads(_invoke("stats", run_yaml.parent / "dataset", "--json"))

    assert figures["rows"]["audio"] == 8
    assert figures["languages"]["en"]["clips"] == 8
    assert "task" in _invoke("stats", run_yaml.parent / "dataset")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("sede=2", "sede is not a known key; did you mean 'seed'?"),
        ("part_size=0", "part_size: must be greater than or equal to 1, got 0"),
        ("corpora.0.path=/nonexistent", "/nonexistent"),
        ("recipe=unknown", "recipe must be one of behaviour_imitation, "),
        ("nonsense", "--set must be name=value, got 'nonsense'"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(
    run_yaml, tmp_path, monkeypatch, capsys, change, sentence
):
    output = f"output={tmp_path}/dataset"
    status, said = _status(monkeypatch, capsys, "run", run_yaml, "--set", output, "--set", change)

    assert status == 2
    assert sentence in said
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1


def test_too_many_rejections_are_status_1(run_yaml, tmp_path, monkeypatch, capsys):
    arguments = [f"output={tmp_path}/d", "audio.min_duration_s=39", "max_rejected_fraction=0.1"]
    sets = [part for argument in arguments for part in ("--set", argument)]
    status, said = _status(monkeypatch, capsys, "run", run_yaml, *sets)

    assert status == 1
    assert "ingest rejected 8 of 8 rows (too_short 8)" in said


def test_a_wrong_option_is_status_2(monkeypatch, capsys):
    status, _ = _status(monkeypatch, capsys, "run", "--nonsense")

    assert status == 2


def test_schema_prints_json(monkeypatch, capsys):
    assert "properties" in json.loads(_invoke("schema", "config"))
    assert "samples" in json.loads(_invoke("schema", "tables"))
    assert _status(monkeypatch, capsys, "schema", "nonsense")[0] == 2


def test_version_is_printed():
    assert _invoke("version").strip()


def test_pools_are_listed_shown_and_linted():
    listed = json.loads(_invoke("pools", "list", "--json"))
    shown = json.loads(_invoke("pools", "show", "translation", "de", "--json"))

    assert {pool["task"] for pool in listed} >= {"transcription", "translation", "summary"}
    assert all(pool["wordings"] >= (8 if pool["language"] == "en" else 4) for pool in listed)
    assert all("{{ target_language }}" in wording["text"] for wording in shown)
    assert "translation" in _invoke("pools", "list")
    assert "held out" in _invoke("pools", "show", "intent")
    assert "clean" in _invoke("pools", "lint")


def test_a_poor_pool_is_named_and_status_1(tmp_path, monkeypatch, capsys):
    (tmp_path / "rhyme.en.yaml").write_text(
        yaml.safe_dump(
            {
                "task": "rhyme",
                "language": "en",
                "licence": "CC0-1.0",
                "source": "test",
                "instructions": [
                    {
                        "id": "rhyme.en.01",
                        "text": "Rhyme on this text.",
                        "audio": "Rhyme on this speech.",
                        "held_out": False,
                        "tags": [],
                    }
                ],
            }
        )
    )
    monkeypatch.setattr(sys, "argv", ["sllm-data", "pools", "lint", "--pools", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        main()

    assert stop.value.code == 1
    assert "rhyme.en" in capsys.readouterr().out


def test_doctor_reports_each_part_and_a_status():
    result = CliRunner().invoke(app, ["doctor", "--no-vllm", "--json"])
    checks = json.loads(result.stdout)

    assert result.exit_code == int(any(check["status"] == "fail" for check in checks))
    assert all(check["remedy"] for check in checks if check["status"] != "ok")
    shown = CliRunner().invoke(app, ["doctor", "--no-vllm"])
    assert "remedy" in shown.output
