"""What a run tells while it works: lines for people and programs, figures for collectors."""

import io
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from prometheus_client import generate_latest
from steps_datasets import build, digests, rows

from sllm_data.errors import OutputError, RejectedError
from sllm_data.shards import read_manifest
from sllm_data.steps import Progress
from sllm_data.steps.assemble import assemble
from sllm_data.steps.dataset import open_dataset
from sllm_data.steps.metrics import Metrics
from sllm_data.steps.watching import Lines, watched
from sllm_data.watch import WatchConfig
from tests.ports import free_port


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def figures(text: str) -> dict[str, float]:
    """Name and labels, as they stand there, to value."""
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


class Collector:
    """Takes OTLP over HTTP, or answers with another status than 200."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[Any] = []
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/metrics":
                    collector.headers.append(self.headers)
                    collector.bodies.append(body)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def last(self) -> tuple[dict[str, str], dict[str, Any], dict[str, float]]:
        """Attributes of the resource, metrics by name, and figures as Prometheus writes them."""
        (told,) = ExportMetricsServiceRequest.FromString(self.bodies[-1]).resource_metrics
        (scope,) = told.scope_metrics
        found = {}
        for metric in scope.metrics:
            for point in getattr(metric, metric.WhichOneof("data")).data_points:
                labels = sorted((each.key, each.value.string_value) for each in point.attributes)
                shown = ",".join(f'{key}="{value}"' for key, value in labels)
                name = f"{metric.name}{{{shown}}}" if shown else metric.name
                found[name] = point.as_double
        resource = {each.key: each.value.string_value for each in told.resource.attributes}
        return resource, {metric.name: metric for metric in scope.metrics}, found


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def wait_until(look: Any) -> None:
    until = time.monotonic() + 120
    while not look():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_json_lines_tell_each_step_and_part(tmp_path, configured, capsys):
    root = tmp_path / "dataset"
    build(configured(root, watch={"log": "json"}))

    told = events(capsys.readouterr().err)
    assert [e["step"] for e in told if e["event"] == "begins"] == [
        "candidates",
        "ingest",
        "index",
        "plan.main",
        "generate.main",
        "assemble",
    ]
    for event in told:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.]\d{3}[+]00:00", event["time"])
    for end in (e for e in told if e["event"] == "ends"):
        manifest = read_manifest(root / f"manifest/{end['step']}.json")
        assert end["reasons"] == manifest.counts.get("rejections", {})
        assert end["rejected"] == sum(end["reasons"].values())


def test_a_finished_run_has_nothing_to_tell(tmp_path, configured, capsys):
    build(configured(tmp_path / "dataset"))
    capsys.readouterr()
    build(configured(tmp_path / "dataset", watch={"log": "json"}))

    assert capsys.readouterr().err == ""


def test_a_failure_is_told_before_it_ends_the_run(tmp_path, configured, capsys):
    with pytest.raises(RejectedError):
        build(
            configured(tmp_path / "dataset", max_rejected_fraction=0.0, watch={"log": "json"}),
        )

    last = events(capsys.readouterr().err)[-1]
    assert last["event"] == "fails"
    assert "max_rejected_fraction" in last["error"]


def test_what_is_short_is_told_only_where_it_was_asked_for(tmp_path, configured, capsys):
    build(configured(tmp_path / "auto"))
    assert capsys.readouterr().err == ""

    build(configured(tmp_path / "text", watch={"log": "text"}))
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d candidates: 1 of 1 parts left|.*", lines[0])
    assert any(re.search(r"assemble: [\d,]+ rows, \d+ rejected, \d+ parts made", x) for x in lines)


def test_work_that_goes_on_is_summed_up_by_interval():
    stream = io.StringIO()
    lines = Lines(stream, as_json=False, interval_s=1e-9, at_once=False)
    lines("begins", {"step": "generate.main", "parts": 3, "left": 3})
    lines("answers", {"responses": 7, "response_tokens": 70, "in_flight": 5, "busy_seconds": 0.1})

    assert re.fullmatch(
        r"\d\d:\d\d:\d\d generate.main: [\d,.]+ responses/s, [\d,.]+ response tokens/s, "
        r"5 in flight\n",
        stream.getvalue(),
    )


def test_prometheus_finds_the_figures_while_a_run_works(tmp_path, document):
    port, run_yaml = free_port(), tmp_path / "run.yaml"
    slow = {"engine": "scripted", "latency_s": 0.2, "max_in_flight": 2, "hold": 1}
    fields = document(
        tmp_path / "dataset", part_size=6, backbone=slow, watch={"metrics_port": port}
    )
    run_yaml.write_text(yaml.safe_dump(fields))
    url = f"http://127.0.0.1:{port}/metrics"
    run = subprocess.Popen(
        [sys.executable, "-m", "sllm_data.cli", "run", str(run_yaml)], stdout=subprocess.DEVNULL
    )
    answering: dict[str, float] = {}
    while not answering.get('sllm_tokens_total{kind="response"}'):
        assert run.poll() is None
        time.sleep(0.05)
        try:
            with urllib.request.urlopen(url) as page:
                answering = figures(page.read().decode())
        except OSError:  # the run has not begun to listen
            continue
    assert run.wait() == 0

    ingested = rows(tmp_path / "dataset", "audio", ["audio_id"])
    assert answering['sllm_rows_total{step="ingest"}'] == len(ingested)
    assert answering['sllm_parts_left{step="ingest"}'] == 0
    assert answering['sllm_parts_left{step="generate.main"}'] > 0
    assert 0 < answering["sllm_requests_in_flight"] <= 2
    assert answering["sllm_memory_bytes"] > 50e6
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url)


def test_figures_are_written_to_a_file(tmp_path, configured):
    root, path = tmp_path / "dataset", tmp_path / "figures/run.prom"
    build(configured(root, watch={"metrics_file": str(path)}))

    found = figures(path.read_text())
    assert found['sllm_rows_total{step="assemble"}'] == len(rows(root, "samples", ["sample_id"]))
    summary = json.loads((root / "reports/generate.main.json").read_text())
    assert found['sllm_tokens_total{kind="response"}'] == summary["response_tokens"]
    dropped = read_manifest(root / "manifest/ingest.json").counts["rejections"]
    for reason, count in dropped.items():
        assert found[f'sllm_rejected_total{{reason="{reason}",step="ingest"}}'] == count


def test_what_filters_drop_is_counted_by_reason_before_assemble_ends(tmp_path, configured):
    config = configured(
        tmp_path / "dataset",
        part_size=6,
        backbone={"engine": "scripted", "function": "echo"},
        filters={"wrong_language": False},
        max_rejected_fraction=1.0,
    )
    build(config)
    for made in ("samples", "rejections/assemble"):
        shutil.rmtree(config.output / made)
    (config.output / "manifest/assemble.json").unlink()
    metrics, seen = Metrics({}), []

    def listen(event: str, facts: Any) -> None:
        metrics(event, facts)
        seen.append((event, figures(generate_latest(metrics.registry).decode())))

    assemble(replace(open_dataset(config), tell=listen), Progress(None))

    dropped = read_manifest(config.output / "manifest/assemble.json").counts["rejections"]
    name = 'sllm_rejected_total{reason="copied_transcript",step="assemble"}'
    told = [(event, found.get(name, 0)) for event, found in seen]
    count = dropped["copied_transcript"]
    assert told[-2:] == [("committed", count), ("ends", count)]
    assert 0 < told[1][1] < count  # part by part


def test_a_collector_of_opentelemetry_has_the_figures_of_prometheus(
    tmp_path, collector, monkeypatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=4711")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=nightly")
    path = tmp_path / "run.prom"
    config = WatchConfig(otlp_endpoint=f"{collector.url}/", metrics_file=path)
    about = {"output": "out/d", "recipe": "self_powered", "model": "m"}
    with watched(config, about=about, stream=io.StringIO()) as tell:
        tell("begins", {"step": "ingest", "parts": 3, "left": 3})
        tell("committed", {"step": "ingest", "files": [], "rows": 7, "rejected": 2, "left": 2,
                           "reasons": {"too_long": 2}})  # fmt: skip
        tell("engine", {"what": "restarted", "count": 1})
        tell("ends", {"step": "ingest", "reasons": {"too_long": 2}, "rejected": 2, "rows": 7,
                      "parts_made": 1, "seconds": 1.0})  # fmt: skip

    resource, metrics, told = collector.last()
    written = figures(path.read_text())
    assert {name for name in written if not name.endswith("_created")} >= told.keys()
    assert told['sllm_rows_total{step="ingest"}'] == 7
    assert told['sllm_rejected_total{reason="too_long",step="ingest"}'] == 2  # once
    assert told["sllm_run_active"] == 0
    changing = {"sllm_memory_bytes"}
    for name in told.keys() - changing:
        assert told[name] == pytest.approx(written[name]), name
    assert metrics["sllm_rows_total"].sum.is_monotonic
    assert metrics["sllm_parts_left"].WhichOneof("data") == "gauge"
    assert resource["service.instance.id"] == "out/d"
    assert resource["service.name"] == "nightly"
    assert collector.headers[-1]["api-key"] == "4711"


def test_a_collector_that_takes_nothing_is_told_once_and_asked_again(collector):
    collector.status = 401
    stream = io.StringIO()
    config = WatchConfig(otlp_endpoint=collector.url, log="json", interval_s=0.02)
    with watched(config, about={}, stream=stream):
        wait_until(lambda: len(collector.bodies) > 3)

    (told,) = events(stream.getvalue())
    assert told["event"] == "warns"
    assert "code: 401" in told["warning"]
    assert f"{collector.url} must take the figures" in told["warning"]


WARNS = """
import logging
from sllm_data.steps.watching import watched
from sllm_data.watch import WatchConfig

with watched(WatchConfig(log="{log}"), about={{}}):
    logging.getLogger("sllm_data.storage.lease").warning("it is gone")
"""


@pytest.mark.parametrize("log", ["auto", "text", "json"])
def test_a_person_at_a_terminal_reads_a_warning_once(log):
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", WARNS.format(log=log)], stderr=theirs, check=True)
    os.close(theirs)
    told = b""
    with suppress(OSError):  # the end of a terminal that nobody writes to any more
        while content := os.read(ours, 10_000):
            told += content
    os.close(ours)
    told = told.decode()
    assert (told.count("it is gone"), told.count("\n")) == (1, 1)


def test_a_collector_that_is_away_does_not_stop_a_run(tmp_path, configured, capsys):
    watch = {"otlp_endpoint": f"http://127.0.0.1:{free_port()}", "log": "json"}
    build(configured(tmp_path / "dataset", watch=watch))

    told = [e["warning"] for e in events(capsys.readouterr().err) if e["event"] == "warns"]
    assert len(told) == 1
    assert "found: ConnectionError; the run goes on" in told[0]


@pytest.mark.parametrize("url", ["127.0.0.1:4318", "http://me:key@host", "http://host?key=1"])
def test_an_endpoint_that_is_no_url_or_holds_a_secret_is_refused(url):
    with pytest.raises(ValueError, match="otlp_endpoint"):
        WatchConfig(otlp_endpoint=url)


def test_a_port_that_is_taken_and_a_file_that_cant_be_written_end_a_run_at_its_start(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(OutputError, match=rf"watch.metrics_port: 127.0.0.1:{port} can't be op"),
            watched(WatchConfig(metrics_port=port), about={}),
        ):
            pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="can't be written"),
        watched(WatchConfig(metrics_file=tmp_path / "file/run.prom"), about={}),
    ):
        pass


@pytest.mark.parametrize("after", [1, 5, 1000])
def test_an_engine_that_is_recycled_gives_the_same_dataset(tmp_path, configured, after):
    root, fields = tmp_path / "dataset", {"engine": "scripted", "max_in_flight": 3}
    build(configured(root, backbone=fields | {"recycle_rows": after}))
    build(configured(tmp_path / "another", backbone=fields))

    assert digests(root) == digests(tmp_path / "another")
    summary = json.loads((root / "reports/generate.main.json").read_text())
    # up to two more may be in flight when the last one that counts is answered
    assert summary["responses"] // (after + 2) <= summary["recycles"] + 1
    assert (summary["recycles"] == 0) == (after > summary["responses"])
