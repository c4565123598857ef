"""`make demo`: the whole pipeline on a corpus of its own, by the flow, with the real engine."""

import os
import subprocess
import sys

import pytest

from sllm_data.reporting import collect_stats, first_samples
from sllm_data.testbed.lexicon import NUMBERS

pytestmark = [pytest.mark.engine, pytest.mark.prefect, pytest.mark.timeout(1_200)]


def test_the_demo_makes_a_dataset_and_shows_it(tmp_path):
    said = subprocess.run(
        [sys.executable, "-m", "flows.demo", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        check=False,
        # as in the Makefile: the tests before may have left the machine busy
        env=os.environ | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"},
    )
    assert said.returncode == 0, said.stderr
    stats = collect_stats(tmp_path / "demo/dataset")

    assert stats.rows["samples"] > 100
    assert set(stats.languages) == {"en"}
    assert "five answers" in said.stdout
    assert "one sample:" in said.stdout
    assert f"dataset     {tmp_path}/demo/dataset" in said.stdout
    assert "Traceback" not in said.stderr
    assert (tmp_path / "demo/model/report.json").is_file()
    assert (tmp_path / "demo/model/evaluation/index.html").is_file()
    assert "speech / text" in said.stdout

    asked = [
        sample
        for sample in first_samples(tmp_path / "demo/dataset", 10_000)
        if sample["task"] == "verification"
    ]
    right = [
        sample["response"]
        == ("yes" if {*sample["transcript"].lower().split()} & {*NUMBERS} else "no")
        for sample in asked
    ]
    assert len(right) > 4
    assert sum(right) >= 0.95 * len(right)
