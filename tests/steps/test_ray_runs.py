"""Whole runs on a Ray cluster: the bytes of a serial one, whatever dies in the middle."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import yaml
from ray.cluster_utils import Cluster
from steps_datasets import build, digests, rows

from sllm_data.config import RunConfig
from sllm_data.errors import ConfigError
from sllm_data.runners import RunnerConfig, cluster_kept, map_parts
from sllm_data.runners.cluster import join_cluster
from sllm_data.runners.ray_crew import Crew
from sllm_data.steps import Progress, run_step
from sllm_data.steps.forecast import forecast
from tests.faults.harness import Run, assert_one_sentence, finish
from tests.ports import free_port, wait_until_somebody_listens
from tests.runners import ray_jobs as jobs

BEFORE = ("candidates", "ingest", "index", "plan.main")
TWO = {"kind": "ray", "workers": 2}
_GLANCE_S = 0.02


@pytest.fixture(scope="module", autouse=True)
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where held answers note their processes; set before the cluster inherits it."""
    folder = tmp_path_factory.mktemp("notes")
    with pytest.MonkeyPatch.context() as patch, cluster_kept():
        patch.setenv("NOTES", str(folder))
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # it starts in half the time
        yield folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory, configured):
    """What one process makes."""
    root = tmp_path_factory.mktemp("alone") / "dataset"
    build(configured(root))
    return digests(root)


def test_ray_makes_the_same_bytes_as_one_process(tmp_path, configured, alone):
    backbone = {"engine": "scripted", "workers": 2}
    build(configured(tmp_path / "many", runner=TWO, backbone=backbone))

    assert digests(tmp_path / "many") == alone


def test_an_output_in_storage_needs_no_variable_on_the_nodes(
    tmp_path, configured, alone, s3, monkeypatch
):
    join_cluster(RunnerConfig(**TWO))  # its nodes have the environment of now
    monkeypatch.setenv("SLLM_COPIES", str(tmp_path))
    build(configured(s3.url, runner=TWO))

    assert digests(tmp_path / "s3" / s3.bucket / "data") == alone
    sent = s3.client.list_objects_v2(Bucket=s3.bucket, Prefix="data/")["Contents"]
    assert {f"data/{name}" for name in alone} <= {item["Key"] for item in sent}


def test_an_engine_that_is_killed_gives_its_parts_to_another(tmp_path, configured, notes):
    backbone = {
        "engine": "scripted",
        "function": "crew_script:hold",
        "max_in_flight": 1,
        "workers": 2,
    }
    config = configured(tmp_path / "d", runner=TWO, backbone=backbone)
    for name in BEFORE:
        run_step(config, name, Progress(None))
    reports = []
    run = threading.Thread(target=_generate, args=(config, reports))
    run.start()
    while len(pids := sorted(int(path.stem) for path in notes.glob("*.pid"))) < 2:
        assert run.is_alive()
        time.sleep(_GLANCE_S)
    os.kill(pids[0], signal.SIGKILL)
    while len(list(notes.glob("*.pid"))) < 3:  # it is replaced
        assert run.is_alive()
        time.sleep(_GLANCE_S)
    (notes / "go").touch()
    run.join()

    (report,) = reports
    assert report.rejected == 0
    asked = [row["request_id"] for row in rows(config.output, "requests/main")]
    answered = [row["request_id"] for row in rows(config.output, "responses/main")]
    assert answered == asked


def _real(model: Path) -> dict[str, object]:
    return {
        "engine": "vllm",
        "model": str(model),
        "max_num_seqs": 16,
        "max_model_len": 512,
        "kv_cache_gib": 1,
        "enforce_eager": True,
        "dtype": "float32",
    }


@pytest.mark.engine
def test_the_real_engine_answers_in_a_worker_whatever_gpus_this_machine_has(
    tmp_path, configured, tiny_backbone, monkeypatch
):
    config = configured(
        tmp_path / "d",
        runner=TWO,
        backbone=_real(tiny_backbone) | {"workers": 2},
        part_size=100,  # one part, and so one of two engines
        tasks={"repetition": {"max_tokens": 4}},
    )
    for name in BEFORE:
        run_step(config, name, Progress(None))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # one GPU here says nothing of the cluster
    report = run_step(config, "generate.main", Progress(None))

    answers = rows(config.output, "responses/main")
    assert len(answers) == report.rows > 0
    assert {row["engine"] for row in answers} - {"none"} == {"vllm"}


def _generate(config: RunConfig, reports: list[object]) -> None:
    reports.append(run_step(config, "generate.main", Progress(None)))


def test_a_user_s_mistake_is_one_sentence(tmp_path, configured):
    backbone = {"engine": "scripted", "function": "nowhere:nothing"}
    config = configured(tmp_path / "d", runner=TWO, backbone=backbone)
    for name in BEFORE:
        run_step(config, name, Progress(None))

    with pytest.raises(Exception, match="'nowhere:nothing' can't be imported") as raised:
        run_step(config, "generate.main", Progress(None))
    assert "\n" not in str(raised.value)


def test_nobody_at_the_address_is_told_before_anything_is_read(tmp_path, configured):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", "127.0.0.1:9")
        config = configured(tmp_path / "d", runner={"kind": "ray"})
        ray.shutdown()
        run_step(config, "candidates", Progress(None))
        with pytest.raises(ConfigError, match=r"127\.0\.0\.1:9 must be that of a Ray cluster"):
            run_step(config, "ingest", Progress(None))


@pytest.fixture(scope="module")
def client_port() -> int:
    """Where the cluster listens to those who are none of its machines (`ray://`)."""
    return free_port()


@pytest.fixture(scope="module")
def cluster(client_port) -> Iterator[Cluster]:
    """A node with one CPU and one GPU, so that another of its kind can be removed."""
    ray.shutdown()
    head = {"num_cpus": 1, "num_gpus": 1, "ray_client_server_port": client_port}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves logs of its client's open
        made = Cluster(initialize_head=True, head_node_args=head)
    wait_until_somebody_listens(client_port)  # Ray waits for all else, and not for this
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_node_that_is_removed_gives_its_parts_to_another(tmp_path, cluster):
    """The second node goes while each works on a part."""
    second = cluster.add_node(num_cpus=1, num_gpus=1)
    config = RunnerConfig(kind="ray", workers=2, address=cluster.address)
    files = [str(tmp_path / "one"), str(tmp_path / "two")]
    results: list[str] = []
    run = threading.Thread(
        target=lambda: results.extend(map_parts(jobs.begin_and_wait, files, config))
    )
    run.start()
    while not all(Path(file).exists() for file in files):
        assert run.is_alive()
        time.sleep(_GLANCE_S)
    cluster.remove_node(second, allow_graceful=False)
    (tmp_path / "go").touch()
    run.join()

    assert sorted(text.count("\n") for text in results) == [1, 2]


@pytest.mark.engine
@pytest.mark.filterwarnings("default")  # vLLM's imports warn
def test_a_forecast_counts_the_engines_of_the_cluster(
    tmp_path, cluster, configured, tiny_backbone
):
    second = cluster.add_node(num_cpus=1, num_gpus=2)
    config = configured(
        tmp_path / "d",
        runner={"kind": "ray", "address": cluster.address},
        backbone=_real(tiny_backbone),
        part_size=2,
    )

    found = forecast(config, Progress(None))

    cluster.remove_node(second)
    assert (found.engines, found.gpus_per_engine) == (3, 1)
    assert any("each engine of the cluster has 1 GPU(s)" in note for note in found.notes)


def test_the_last_engine_takes_the_parts_of_a_removed_node_though_it_found_none(tmp_path, cluster):
    """There is no GPU for a third one: its own worker holds the only one that is left."""
    second = cluster.add_node(num_cpus=1, num_gpus=1)
    crew = Crew(RunnerConfig(kind="ray", address=cluster.address), jobs.Nothing, gpus=1)
    missed, news = threading.Event(), []

    def is_done(number: int) -> bool:
        missed.set()  # the crew asks this of what a lost worker had taken
        return number in news

    def work() -> None:
        for number in crew.work(
            jobs.hold_one_part, str(tmp_path), [0, 1], fence=None, workers=2, is_done=is_done
        ):
            news.append(number)  # noqa: PERF402 - `is_done` looks into it meanwhile

    run = threading.Thread(target=work)
    run.start()
    while not all((tmp_path / f"{number}.drained").exists() for number in (0, 1)):
        assert run.is_alive()
        time.sleep(_GLANCE_S)
    lost = [n for n in (0, 1) if (tmp_path / f"{n}").read_text() == second.node_id]
    cluster.remove_node(second, allow_graceful=False)
    assert missed.wait(300)
    (tmp_path / "go").touch()
    run.join()
    crew.close()

    assert len(lost) == 1
    assert sorted(news) == [0, 1]
    assert (tmp_path / f"{lost[0]}").read_text() != second.node_id


@pytest.fixture
def written(document, cluster, client_port):
    """Writes a run.yaml that works on the cluster, by `ray://` or as one of its machines."""

    def write(folder: Path, *, by_client: bool, **fields: Any) -> Path:
        address = f"ray://127.0.0.1:{client_port}" if by_client else cluster.address
        runner = {"kind": "ray", "workers": 2, "address": address}
        run_yaml = folder / "run.yaml"
        run_yaml.write_text(yaml.safe_dump(document(folder / "d", runner=runner, **fields)))
        return run_yaml

    return write


def _ways_in() -> list[psutil.Process]:
    """What the head has started for each that comes by `ray://`."""
    found = [(p, p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    return [process for process, command in found if "--mode=specific-server" in command]


def test_a_run_by_ray_s_client_makes_the_same_bytes_as_one_process(tmp_path, written, alone):
    backbone = {"engine": "scripted", "workers": 2}
    finish(written(tmp_path, by_client=True, backbone=backbone))

    assert digests(tmp_path / "d") == alone


def test_a_client_whose_way_in_dies_at_its_start_comes_in_by_another(tmp_path, written):
    """As it does at times by itself, while Ray forks."""
    before = _ways_in()
    run = Run(written(tmp_path, by_client=True))
    while not (new := [process for process in _ways_in() if process not in before]):
        assert run.process.poll() is None
        time.sleep(_GLANCE_S)
    new[0].kill()

    ended = run.wait()
    assert ended.status == 0, ended.said


def test_a_client_whose_connection_is_lost_ends_with_a_sentence_and_goes_on(
    tmp_path, written, alone
):
    """While tasks work, and while engines do."""
    slow = {"engine": "scripted", "workers": 2, "latency_s": 0.2, "max_in_flight": 4}
    run_yaml = written(tmp_path, by_client=True, backbone=slow, watch={"log": "none"})
    for table in ("audio", "responses/main"):
        run = Run(run_yaml, environment={"RAY_CLIENT_RECONNECT_GRACE_PERIOD": "1"})
        while not list((tmp_path / "d" / table).glob("part-*")):
            assert run.process.poll() is None
            time.sleep(_GLANCE_S)
        for process in _ways_in():
            process.kill()
        ended = run.wait()
        assert_one_sentence(ended)
        assert "the connection to the Ray cluster must stay" in ended.said
    finish(run_yaml)

    assert digests(tmp_path / "d") == alone


_ITS_STREAM_ENDS = """
import sys, time
import ray
from ray.util.client import ray as client
from sllm_data.errors import EngineError
from sllm_data.runners import RunnerConfig, cluster_kept
from sllm_data.runners.cluster import join_cluster, loss_told

with cluster_kept():
    join_cluster(RunnerConfig(kind="ray", workers=2, address=sys.argv[1]))
    stored = ray.put(1)
    stream = client.get_context().client_worker.data_client
    stream.request_queue.put(None)
    until = time.monotonic() + 120
    while client.is_connected() and time.monotonic() < until:
        time.sleep(0.02)
    assert not client.is_connected()
    try:
        with loss_told():
            ray.wait([stored])
    except EngineError as error:
        print(error)
"""


def test_a_client_whose_stream_has_ended_asks_nothing_more(cluster, client_port):
    """Ray asks again for ever, once nobody answers: a run hung where its cluster had gone."""
    command = [sys.executable, "-c", _ITS_STREAM_ENDS, f"ray://127.0.0.1:{client_port}"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "the connection to the Ray cluster must stay, it was lost" in said.stdout, said.stderr


@pytest.mark.parametrize("by_client", [False, True])
def test_a_command_killed_beside_a_cluster_that_stays_goes_on_there_alone(
    tmp_path, configured, written, notes, by_client
):
    """Its engines hold parts when it is killed; they have ended before those of the next begin."""
    for path in notes.iterdir():  # of another test
        path.unlink()
    backbone = {"engine": "scripted", "function": "crew_script:hold", "max_in_flight": 1}
    fields = {"backbone": backbone | {"workers": 2}}
    run_yaml = written(tmp_path, by_client=by_client, **fields)
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}

    def engines_but(known: set[int], run: Run) -> set[int]:
        while len(pids := {int(path.stem) for path in notes.glob("*.pid")} - known) < 2:
            assert run.process.poll() is None
            time.sleep(_GLANCE_S)
        return pids

    killed = Run(run_yaml, environment=path)
    before = engines_but(set(), killed)
    killed.kill(group=True)
    assert killed.wait().status == -signal.SIGKILL
    again = Run(run_yaml, environment=path)
    after = engines_but(before, again)
    assert not [pid for pid in before if psutil.pid_exists(pid)]
    (notes / "go").touch()
    ended = again.wait()

    assert ended.status == 0, ended.said
    assert len(after) == 2
    build(configured(tmp_path / "alone", **fields))
    assert digests(tmp_path / "d") == digests(tmp_path / "alone")
