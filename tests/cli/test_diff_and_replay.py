"""`diff` and `replay` on the command line: exit statuses, JSON, one sentence for a mistake."""

import json
import subprocess
import sys

import pytest

from tests.reporting.diff_datasets import sample, write_dataset

RUN_YAML = "extensions: [{seed: %d, tasks: {}, corpora: []}]\nconfig: {runner: {workers: %d}}\n"


@pytest.fixture
def pair(tmp_path):
    """Two datasets that differ in one response, and in an identity and an operational field."""
    for name, seed, response in (("a", 1, "old"), ("b", 2, "new")):
        rows = [sample("0", response=response), sample("1")]
        root = write_dataset(tmp_path / name, rows)
        (root / "run.yaml").write_text(RUN_YAML % (seed, seed + 4))
    return tmp_path / "a", tmp_path / "b"


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sllm_data.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_datasets_that_differ_are_status_1(pair):
    said = _run("diff", *pair)

    assert (said.returncode, said.stderr) == (1, "")
    assert "identity:\n  seed: 1 -> 2" in said.stdout
    assert "operational:\n  runner.workers: 5 -> 6" in said.stdout
    assert "[-old-]{+new+}" in said.stdout


def test_a_dataset_and_itself_are_status_0(pair):
    said = _run("diff", pair[0], pair[0], "--json")

    assert said.returncode == 0
    found = json.loads(said.stdout)
    assert found["is_equal"]
    assert found["rows"]["equal"] == 2
    assert found["configuration"] == {"identity": [], "operational": []}


def test_examples_are_as_many_as_asked_for(pair):
    assert "[-old-]" not in _run("diff", *pair, "--examples", 0).stdout


@pytest.mark.parametrize("command", [("diff", "{a}", "{nowhere}"), ("replay", "{nowhere}")])
def test_what_is_no_dataset_is_status_2_and_one_sentence(pair, tmp_path, command):
    places = {"a": pair[0], "nowhere": tmp_path / "nowhere"}
    said = _run(*(word.format(**places) for word in command))

    assert (said.returncode, said.stdout) == (2, "")
    assert (
        said.stderr == f"error: {tmp_path}/nowhere: must be a dataset, found no run.yaml in it\n"
    )
