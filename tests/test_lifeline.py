"""A command that another one started ends with it; one that a person started does not."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from sllm_data.lifeline import with_lifeline


@pytest.fixture
def slow_run(tmp_path):
    """Starts a run that takes longer than any test; its input is a pipe."""
    from sllm_data.testbed import write_librispeech

    write_librispeech(tmp_path / "LibriSpeech", subsets={"train-a": 4}, num_speakers=1, seed=1)
    run_yaml = tmp_path / "run.yaml"
    document = {
        "seed": 1,
        "output": str(tmp_path / "dataset"),
        "corpora": [{"kind": "librispeech", "path": str(tmp_path / "LibriSpeech")}],
        "backbone": {"engine": "scripted", "latency_s": 3600},
    }
    run_yaml.write_text(yaml.safe_dump(document))
    started: list[subprocess.Popen[bytes]] = []

    def start(environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "sllm_data.cli", "run", str(run_yaml)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        started.append(process)
        while not (tmp_path / "dataset/manifest/plan.main.json").exists():
            assert process.poll() is None
            time.sleep(0.05)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()


def test_a_command_is_stopped_when_its_lifeline_ends(slow_run):
    process = slow_run(with_lifeline(os.environ))
    process.stdin.close()

    assert process.wait() == -signal.SIGTERM


def test_without_one_the_end_of_the_input_means_nothing(slow_run):
    process = slow_run(os.environ)
    process.stdin.close()

    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=3)
