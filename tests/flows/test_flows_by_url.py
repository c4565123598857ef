"""Flows on datasets that lie in object storage: a real S3 server, moto's, over HTTP."""

import contextvars
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import boto3
import httpx
import pytest
import yaml
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from steps_datasets import build, digests

from flows import publish, train, validate
from flows.build_corpus import build_corpus
from flows.lease import NAME
from sllm_data.config import resolve
from sllm_data.errors import ConfigError
from sllm_data.testbed import write_librispeech
from sllm_data.testbed.assets import shipped
from tests.faults.harness import Run, finish

pytestmark = [
    pytest.mark.prefect,
    # Prefect's own server code warns on this Python; none of it is ours
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("by-url") / "LibriSpeech"
    write_librispeech(folder, subsets={"train-clean-a": 4}, num_speakers=2, seed=4)
    return folder


@pytest.fixture
def run_yaml(s3, corpus, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SLLM_COPIES", str(tmp_path / "copies"))
    path = tmp_path / "run.yaml"
    run = {
        "seed": 1,
        "output": f"{s3.url}/dataset",
        "corpora": [{"kind": "librispeech", "path": str(corpus)}],
        "backbone": {"engine": "scripted"},
        "filters": {"wrong_language": False, "copied": False},
        "runner": {"kind": "serial"},
        "storage": {"patience_s": 0.1},
    }
    path.write_text(yaml.safe_dump(run))
    return path


def _wait(look):
    until = time.monotonic() + 300
    while not (found := look()):
        assert time.monotonic() < until
        time.sleep(0.2)
    return found


@contextmanager
def _away_until_a_retry(proxy):
    """Answers nothing until a task run waits for its next try."""

    def is_waited_for() -> bool:
        with get_client(sync_client=True) as client:
            states = {run.state_name for run in client.read_task_runs()}
            return not states.isdisjoint(("AwaitingRetry", "Retrying"))

    def heal() -> None:
        _wait(is_waited_for)
        proxy.is_away = False

    proxy.is_away = True
    # which server Prefect asks is a matter of the context
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(heal,), daemon=True)
    thread.start()
    yield
    thread.join()


def _told(event: str) -> list[dict]:
    body = {"filter": {"event": {"prefix": [event]}}, "limit": 50}
    answer = httpx.post(f"{PREFECT_API_URL.value()}/events/filter", json=body, timeout=60)
    return [each["resource"] for each in answer.raise_for_status().json()["events"]]


def test_what_one_worker_builds_by_url_another_one_validates_and_publishes(
    server, s3, moto, run_yaml, tmp_path, monkeypatch
):
    url = f"{s3.url}/dataset"
    bucket = boto3.resource("s3", endpoint_url=f"http://127.0.0.1:{moto}").Bucket(s3.bucket)
    with _away_until_a_retry(s3.proxy):
        copy = build_corpus(run_yaml, report=True)
    names = {item.key for item in bucket.objects.all()}
    assert copy == tmp_path / "copies/s3" / s3.bucket / "data/dataset"
    assert "data/dataset/reports/report.html" in names
    assert f"{url}/reports/report.html" in Artifact.get(key="report").data
    (resource,) = _wait(lambda: _told("sllm-data.dataset.finished"))
    assert resource["prefect.resource.name"] == url

    monkeypatch.setenv("SLLM_COPIES", str(tmp_path / "another-worker"))
    again = tmp_path / "another-worker/s3" / s3.bucket / "data/dataset"
    assert validate.validate_dataset(url, 1) == again
    assert publish.main([url, str(tmp_path / "public")]) == 0
    assert (tmp_path / "public/README.md").is_file()
    assert not (again / NAME).exists()


@pytest.mark.timeout(600)
def test_a_flow_by_url_on_ray_that_is_killed_goes_on_to_the_bytes_of_one_process_here(
    server, s3, moto, run_yaml, tmp_path
):
    bucket = boto3.resource("s3", endpoint_url=f"http://127.0.0.1:{moto}").Bucket(s3.bucket)
    fields = yaml.safe_load(run_yaml.read_text()) | {"part_size": 1}
    build(resolve(fields | {"output": str(tmp_path / "here")}, where="test"))
    slow = {"engine": "scripted", "workers": 2, "latency_s": 1, "max_in_flight": 1}
    fields |= {"runner": {"kind": "ray", "workers": 2}, "backbone": slow, "storage": {}}
    run_yaml.write_text(yaml.safe_dump(fields))
    command = {
        "program": ("-m", "flows.build_corpus"),
        "environment": {"PREFECT_API_URL": PREFECT_API_URL.value()},
    }

    def answered() -> dict:
        prefix = "data/dataset/responses/"
        return {item.key: item.last_modified for item in bucket.objects.filter(Prefix=prefix)}

    killed = Run(run_yaml, **command)
    while not answered():
        assert killed.process.poll() is None
        time.sleep(0.05)
    killed.kill(group=True)
    assert killed.wait().status == -signal.SIGKILL
    kept = answered()
    finish(run_yaml, **command)

    for item in bucket.objects.filter(Prefix="data/dataset/"):
        path = tmp_path / "there" / item.key.removeprefix("data/dataset/")
        path.parent.mkdir(parents=True, exist_ok=True)
        bucket.download_file(item.key, str(path))
    assert digests(tmp_path / "there") == digests(tmp_path / "here")
    assert kept.items() < answered().items()  # it was in the middle, and nothing is made twice


def test_a_url_that_names_nothing_is_one_sentence(server, s3, run_yaml, tmp_path, capsys):
    url = f"{s3.url}/none"
    path = tmp_path / "train.yaml"
    training = {
        "output": str(tmp_path / "model"),
        "seed": 1,
        "data": {"datasets": [{"path": url}]},
        "model": {
            "encoder": {"model": str(shipped("encoder"))},
            "llm": {"model": str(shipped("backbone"))},
        },
        "stages": [{"steps": 1, "learning_rates": {"connector": 0.002}}],
    }
    path.write_text(yaml.safe_dump(training))

    for main, arguments in (
        (validate.main, [url]),
        (publish.main, [url, str(tmp_path / "public")]),
        (train.main, [str(path)]),
    ):
        assert main(arguments) == 2
        assert f"{url}: must hold something" in capsys.readouterr().err
    assert not (tmp_path / "model" / NAME).exists()


def test_a_url_that_is_none_is_one_sentence(server):
    with pytest.raises(ConfigError, match="a URL must be protocol://bucket/folder"):
        validate.validate_dataset("s3://bucket/../data")
    assert validate.main(["s3://key@bucket/data"]) == 2
    assert publish.main(["s3://key@bucket/data", "out"]) == 2
