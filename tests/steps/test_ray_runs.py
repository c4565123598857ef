"""Whole runs on a Ray cluster: the bytes of a serial one, whatever dies in the middle."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from steps_datasets import build, digests, rows

from sllm_data.config import RunConfig
from sllm_data.errors import ConfigError
from sllm_data.runners import RunnerConfig, cluster_kept, map_parts
from sllm_data.steps import Progress, run_step
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
        yield folder


def test_ray_makes_the_same_bytes_as_one_process(tmp_path, configured):
    build(configured(tmp_path / "one"))
    backbone = {"engine": "scripted", "workers": 2}
    build(configured(tmp_path / "many", runner=TWO, backbone=backbone))

    assert digests(tmp_path / "many") == digests(tmp_path / "one")


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


@pytest.mark.timeout(180)
def test_a_node_that_is_removed_gives_its_parts_to_another(tmp_path):
    """Two nodes of one CPU; the second goes while each works on a part."""
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
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
    finally:
        ray.shutdown()
        cluster.shutdown()

    assert sorted(text.count("\n") for text in results) == [1, 2]
