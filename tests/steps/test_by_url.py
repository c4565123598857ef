"""A run whose corpora and output lie in object storage: a real S3 server, moto's, over HTTP."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from s3_server import SECRET
from steps_datasets import build, digests
from typer.testing import CliRunner, Result

from sllm_data.cli import app
from sllm_data.config import RunConfig, resolve
from sllm_data.errors import ConfigError, OutputError, SllmDataError, StorageError
from sllm_data.files import sha256_of_file
from sllm_data.shards import read_manifest
from sllm_data.steps import Progress, run_all
from sllm_data.steps.forecast import forecast
from sllm_data.steps.stored import held_output
from sllm_data.steps.watching import watched
from sllm_data.storage.lease import NAME as LEASE
from sllm_data.storage.lease import leased
from sllm_data.storage.places import local_copy
from sllm_data.storage.store import Store


@pytest.fixture
def s3(s3, monkeypatch, tmp_path):
    """An empty bucket, and copies of it in a folder of this test's own."""
    monkeypatch.setenv("SLLM_COPIES", str(tmp_path / "copies"))
    return s3


@pytest.fixture
def bucket(s3, moto):
    endpoint = f"http://127.0.0.1:{moto}"
    return boto3.resource("s3", endpoint_url=endpoint).Bucket(s3.bucket)


def upload(bucket, folder: Path, prefix: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            bucket.upload_file(str(path), f"{prefix}/{path.relative_to(folder).as_posix()}")


def names(bucket, prefix: str) -> set[str]:
    return {item.key.removeprefix(f"{prefix}/") for item in bucket.objects.filter(Prefix=prefix)}


def fetched(bucket, prefix: str, folder: Path) -> Path:
    for name in names(bucket, prefix):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        bucket.download_file(f"{prefix}/{name}", str(folder / name))
    return folder


@pytest.fixture
def by_url(bucket, spoken, document):
    """Makes the configuration of a run whose corpora and output have URLs."""
    upload(bucket, spoken / "LibriSpeech", "corpora/LibriSpeech")
    upload(bucket, spoken / "cv-corpus-test", "corpora/cv-corpus-test")
    url = f"s3://{bucket.name}"

    def make(output: str = "out/dataset", **fields: Any) -> dict[str, Any]:
        made = document(Path("unused"), **fields) | {"output": f"{url}/{output}"}
        made["corpora"][0]["path"] = f"{url}/corpora/LibriSpeech"
        made["corpora"][1]["path"] = f"{url}/corpora/cv-corpus-test"
        return made

    return make


def config_of(document: dict[str, Any]) -> RunConfig:
    return resolve(document, where="test")


def test_a_run_by_url_writes_what_a_run_here_writes(bucket, by_url, configured, tmp_path):
    build(config_of(by_url()))
    build(configured(tmp_path / "here"))

    there = fetched(bucket, "out/dataset", tmp_path / "there")
    assert digests(there) == digests(tmp_path / "here")
    assert {"run.yaml", "README.md", "croissant.json", "manifest/assemble.json"} <= names(
        bucket, "out/dataset"
    )
    assert not [name for name in names(bucket, "out") if "/." in f"/{name}"]
    stored = yaml.safe_load((there / "run.yaml").read_text())
    assert stored["config"]["output"] == f"s3://{bucket.name}/out/dataset"
    assert stored["config"]["corpora"][0]["path"].startswith("s3://")
    for path in there.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_another_machine_goes_on_where_one_was_lost(
    bucket, by_url, configured, tmp_path, monkeypatch
):
    run_yaml = tmp_path / "run.yaml"
    slow = {"engine": "scripted", "latency_s": 1, "max_in_flight": 4}
    run_yaml.write_text(yaml.safe_dump(by_url(part_size=6, backbone=slow)))
    run = subprocess.Popen(
        [sys.executable, "-m", "sllm_data.cli", "run", str(run_yaml)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while "responses/main/part-00001.parquet" not in names(bucket, "out/dataset"):
        assert run.poll() is None, run.stderr.read().decode()
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stderr.close()
    kept = {n for n in names(bucket, "out/dataset") if n.startswith("responses/")}
    assert LEASE in names(bucket, "out/dataset")
    before = {n: bucket.Object(f"out/dataset/{n}").last_modified for n in kept}

    monkeypatch.setenv("SLLM_COPIES", str(tmp_path / "another machine"))
    build(config_of(by_url(part_size=6)))

    build(configured(tmp_path / "here", part_size=6))
    there = fetched(bucket, "out/dataset", tmp_path / "there")
    assert digests(there) == digests(tmp_path / "here")
    assert before == {n: bucket.Object(f"out/dataset/{n}").last_modified for n in kept}


def test_a_storage_that_falters_is_waited_for(s3, bucket, by_url, configured, tmp_path):
    for kind in ("refuse", "cut", "lose", "refuse"):
        s3.proxy.order(kind, method="GET", target="corpora/.*(flac|mp3)", times=2)
        s3.proxy.order(kind, method="PUT", target="out/dataset/(audio|samples)", times=2)

    build(config_of(by_url()))

    assert not [fault for fault in s3.proxy.faults if fault.times]
    build(configured(tmp_path / "here"))
    assert digests(fetched(bucket, "out/dataset", tmp_path / "there")) == digests(
        tmp_path / "here"
    )


def test_a_storage_that_goes_away_ends_a_run_that_goes_on_later(
    s3, bucket, by_url, configured, tmp_path, capsys
):
    fields = by_url(part_size=6, storage={"patience_s": 1})
    s3.proxy.goes_away_at = "requests/main/part-00002"
    with pytest.raises(StorageError) as said:
        build(config_of(fields))
    assert re.search(
        r"s3://\S+: the storage must answer, found: .* for 1 s; run the same command",
        str(said.value),
    )
    assert SECRET not in str(said.value)
    lines = capsys.readouterr().err.splitlines()
    assert any(re.match("[0-9:]+ .*waiting for the storage, found: ", line) for line in lines)
    s3.proxy.is_away = False
    assert "manifest/plan.main.json" not in names(bucket, "out/dataset")
    # the process that held it lives, so the next run would watch it for a minute
    bucket.Object(f"out/dataset/{LEASE}").delete()

    build(config_of(fields))

    build(configured(tmp_path / "here", part_size=6))
    assert digests(fetched(bucket, "out/dataset", tmp_path / "there")) == digests(
        tmp_path / "here"
    )


def test_a_run_that_fails_while_its_storage_is_away_says_that_not_all_was_sent(s3, by_url, capsys):
    config = config_of(by_url(storage={"patience_s": 0.5}, watch={"log": "json"}))

    def fail() -> None:
        with watched(config.watch, about={}), held_output(config, Progress(None)):
            (config.output / "run.yaml").write_text("made")
            s3.proxy.is_away = True
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    s3.proxy.is_away = False

    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["event"] for line in told} == {"warns"}
    said = [line["warning"] for line in told if line["warning"].startswith("not all was sent")]
    assert len(said) == 1
    assert "the next run sends it: s3://" in said[0]


def test_a_folder_is_written_by_one_run_at_a_time(bucket, by_url):
    config = config_of(by_url())
    store = Store.open(f"s3://{bucket.name}/out/dataset")
    with (
        leased(store, beat_s=0.1),
        pytest.raises(OutputError, match=r"another run is writing here \(process \d+ of "),
    ):
        build(config)


def test_what_was_not_sent_before_a_kill_is_sent_by_the_next_run(bucket, by_url):
    config = config_of(by_url())
    build(config)
    name = "samples/part-00000.parquet"
    digest = sha256_of_file(config.output / name)
    bucket.Object(f"out/dataset/{name}").delete()
    lines = (config.output / ".mirror.jsonl").read_text().splitlines()
    (config.output / ".mirror.jsonl").write_text(
        "\n".join(line for line in lines if name not in line)
    )

    build(config)

    assert sha256_of_file(config.output / name) == digest
    assert name in names(bucket, "out/dataset")


def test_a_copy_that_was_removed_is_fetched_again(bucket, by_url):
    config = config_of(by_url())
    build(config)
    digest = sha256_of_file(config.output / "samples/part-00000.parquet")
    shutil.rmtree(local_copy(f"s3://{bucket.name}"))

    assert all(report.was_done for report in build(config))

    assert sha256_of_file(config.output / "samples/part-00000.parquet") == digest


def test_a_file_that_changed_on_both_sides_is_for_a_person_to_settle(bucket, by_url):
    config = config_of(by_url())
    build(config)
    (config.output / "README.md").write_text("mine")
    bucket.Object("out/dataset/README.md").put(Body=b"theirs")

    with pytest.raises(OutputError, match=r"README.md: has changed here and in s3://.*keep one"):
        build(config)


def test_datasets_are_read_by_url_on_the_command_line(bucket, by_url, tmp_path, monkeypatch):
    build(config_of(by_url()))
    url = f"s3://{bucket.name}/out/dataset"
    monkeypatch.setenv("SLLM_COPIES", str(tmp_path / "a reader's"))

    def said(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    assert "samples" in said("stats", url).stdout
    assert "passed" in said("validate", url, "--level", "3").stdout
    missing = said("stats", url + "x").exception
    assert isinstance(missing, SllmDataError)
    assert "must hold something, found nothing" in str(missing)


def test_a_run_by_url_is_forecast_and_extended_by_what_is_new(bucket, by_url, spoken):
    first = next(iter(sorted((spoken / "LibriSpeech").rglob("*.trans.txt"))))
    key = f"corpora/LibriSpeech/{first.relative_to(spoken / 'LibriSpeech').as_posix()}"
    whole = first.read_text()
    bucket.Object(key).put(Body=whole[: whole.index("\n") + 1].encode())
    config = config_of(by_url())
    assert forecast(config, Progress(None)).all_samples.value > 0
    build(config)
    rows = len(read_manifest(config.output / "manifest/candidates.json").parts)

    bucket.Object(key).put(Body=whole.encode())
    list(run_all(config, Progress(None), extend=True))

    assert len(read_manifest(config.output / "manifest/candidates.json").parts) > rows
    assert all(report.was_done for report in run_all(config, Progress(None), extend=True))


def test_a_manifest_by_url_is_fetched_with_what_it_names(bucket, spoken, document):
    clips = sorted((spoken / "LibriSpeech").rglob("*.flac"))[:3]
    for clip in clips:
        bucket.upload_file(str(clip), f"own/audio/{clip.name}")
    lines = [
        {"audio_filepath": f"audio/{c.name}", "text": "hello there", "id": c.stem} for c in clips
    ]
    bucket.Object("own/train.jsonl").put(Body="\n".join(map(json.dumps, lines)).encode())
    made = document(Path("unused")) | {"output": f"s3://{bucket.name}/out/dataset"}
    made["corpora"] = [
        {
            "kind": "manifest",
            "path": f"s3://{bucket.name}/own/train.jsonl",
            "version": "1",
            "language": "en",
        }
    ]
    reports = {report.step: report for report in build(config_of(made))}

    assert reports["ingest"].rows == len(clips)
    made["output"] = f"s3://{bucket.name}/own/dataset"
    with pytest.raises(ConfigError, match="output: must not lie in s3://"):
        build(config_of(made))
