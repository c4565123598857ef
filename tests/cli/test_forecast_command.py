"""`forecast` and a budget on the command line: tables, JSON, exit statuses, one sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sllm_data.testbed import write_librispeech


@pytest.fixture(scope="module")
def run_yaml(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("forecast")
    speech = folder / "LibriSpeech"
    write_librispeech(speech, subsets={"train-clean-a": 12}, num_speakers=2, seed=3)
    document = {
        "seed": 1,
        "output": str(folder / "dataset"),
        "corpora": [{"kind": "librispeech", "path": str(speech)}],
        "backbone": {"engine": "scripted"},
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


def test_a_forecast_is_printed_as_tables(run_yaml):
    said = _run("forecast", run_yaml, "--price-per-gpu-hour", 2.5, "--sample", 6)

    assert (said.returncode, said.stderr) == (0, "")
    assert "(6 of 12 utterances looked at)" in said.stdout
    assert "money, at 2.5 a GPU hour" in said.stdout


def test_a_forecast_is_printed_as_json(run_yaml):
    said = _run("forecast", run_yaml, "--json", "--probe-seconds", 5)
    found = json.loads(said.stdout)

    assert (said.returncode, found["utterances"], found["money"]) == (0, 12, None)
    assert found["engine_hours"]["low"] <= found["engine_hours"]["value"]


def test_a_run_beyond_its_budget_is_status_1_and_one_sentence(run_yaml):
    said = _run("run", run_yaml, "--set", "budget.gigabytes=0.000001")

    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.count("\n") == 1
    assert "what is left must fit into its budget: gigabytes is forecast as" in said.stderr


def test_an_impossible_option_is_status_2_and_one_sentence(run_yaml):
    said = _run("forecast", run_yaml, "--sample", 0)

    assert said.returncode == 2
    assert "budget.sample: must be greater than or equal to 1" in said.stderr
