"""Several engines side by side: one process each, parts from one queue, a death is an error."""

import os
import signal
from pathlib import Path

import pytest
from steps_datasets import build, rows

from sllm_data.errors import EngineError
from sllm_data.generation import VllmConfig
from sllm_data.steps import Progress, open_dataset, run_step
from sllm_data.steps.answering import Job
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.feeding import Throughput
from sllm_data.steps.gpu_workers import answer_in_workers, worker_devices
from sllm_data.steps.parts import Step


def stop_at_once(_request: object) -> str:
    """A scripted answer that kills its own process, as the kernel does for memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


@pytest.fixture
def planned(tmp_path, configured):
    """A dataset whose requests are planned, and the job that answers them."""

    def make(**backbone: str) -> tuple[Path, Job]:
        config = configured(tmp_path / "d", backbone={"engine": "scripted"} | backbone)
        for name in ("candidates", "ingest", "index", "plan.main"):
            run_step(config, name, Progress(None))
        dataset = open_dataset(config)
        step = Step(
            name="generate.main",
            folders=("rejections/generate.main", "responses/main"),
            identity=expected_identity(dataset, "generate.main"),
            inputs=("plan.main",),
        )
        job = Job(turn="main", document=config.model_dump_json(), step=step, reuse=None)
        return tmp_path / "d", job

    return make


def test_two_engines_answer_what_one_would(tmp_path, planned, configured):
    root, job = planned()
    throughput, seen = Throughput(), []
    parts = list(
        answer_in_workers(job, range(5), ["", ""], throughput, lambda count, _: seen.append(count))
    )
    build(configured(tmp_path / "one"))

    assert len(parts) == 5
    assert rows(root, "responses/main") == rows(tmp_path / "one", "responses/main")
    assert throughput.responses == sum(seen) > 0


def test_an_engine_that_fails_stops_the_others_with_its_sentence(planned):
    _, job = planned(function="nowhere:nothing")

    with pytest.raises(EngineError, match="'nowhere:nothing' can't be imported"):
        list(answer_in_workers(job, range(5), ["", ""], Throughput(), lambda *_: None))


def test_a_process_that_is_killed_is_an_error_and_no_hang(planned):
    _, job = planned(function="test_gpu_workers:stop_at_once")

    with pytest.raises(EngineError, match="an engine's process died"):
        list(answer_in_workers(job, range(5), ["", ""], Throughput(), lambda *_: None))


def _vllm(**fields: object) -> VllmConfig:
    return VllmConfig(engine="vllm", model="m", **fields)


def test_one_engine_for_each_visible_gpu_or_group_of_them(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")

    assert worker_devices(_vllm()) == ["0", "1", "2", "3"]
    assert worker_devices(_vllm(tensor_parallel_size=2)) == ["0,1", "2,3"]
    assert worker_devices(_vllm(workers=2)) == ["0", "1"]
    with pytest.raises(EngineError, match=r"backbone\.workers must be at most 4"):
        worker_devices(_vllm(workers=5))


def test_without_a_gpu_there_is_one_engine_or_as_many_as_asked(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi

    assert worker_devices(_vllm()) == [""]
    assert worker_devices(_vllm(workers=2)) == ["", ""]
