"""sllm-data validate: exit statuses, formats on standard output, one sentence for a mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from planting import change, xml_of

SAMPLES = "samples/part-00001.parquet"


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sllm_data.cli", "validate", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_good_dataset_is_status_0(plain):
    said = _run(plain, "--level", 1)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.rstrip().split("\n")[-1].startswith("passed: 0 errors, 0 warnings")


def test_nothing_is_written_into_the_dataset(plain):
    before = {path: path.stat().st_mtime_ns for path in plain.rglob("*")}
    assert _run(plain, "--level", 3).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in plain.rglob("*")} == before


def test_a_dataset_that_falls_short_is_status_1_in_every_format(dataset):
    change(dataset, SAMPLES, lambda rows: rows[1].update(pool_sha256="ABC"))
    text, junit = _run(dataset), _run(dataset, "--format", "junit")
    document = json.loads(_run(dataset, "--format", "json").stdout)
    assert (text.returncode, junit.returncode) == (1, 1)
    assert "hash_format" in text.stdout
    assert xml_of(junit.stdout).get("failures") == "1"
    assert (document["passed"], document["errors"]) == (False, 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "nowhere: must be the folder of a dataset, there is no such folder"),
        ([Path(__file__).parent], "must be a dataset (run.yaml and manifest/)"),
        (["DATASET", "--sample", "0"], "sample must be above 0 and at most 1, got 0"),
        (["DATASET", "--contract", "none.yaml"], "none.yaml: can't be read"),
        (["DATASET", "--schema", "none.json"], "none.json: can't be read"),
        (["DATASET", "--address", "auto"], "got auto for the runner processes; add --runner ray"),
        (
            ["DATASET", "--runner", "ray", "--address", "here"],
            "address must be host:port, ray://host:port or auto, got 'here'",
        ),
        (
            ["DATASET", "--runner", "ray", "--address", "127.0.0.1:9"],
            "127.0.0.1:9 must be that of a Ray cluster, nothing answers there",
        ),
    ],
)
def test_what_can_not_run_is_status_2_and_one_sentence(plain, arguments, sentence):
    said = _run(*(plain if argument == "DATASET" else argument for argument in arguments))
    assert (said.returncode, said.stdout) == (2, "")
    assert sentence in said.stderr
    assert len(said.stderr.strip().splitlines()) == 1


def test_a_level_that_does_not_exist_is_status_2(plain):
    assert _run(plain, "--level", 4).returncode == 2
