"""Training as a flow: its lease, its death with the worker, the hook that ends what is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import pytest
import yaml
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL
from prefect.states import Crashed
from spoken_rows import spoken_rows

from flows.find_dead_runs import find_dead_runs
from flows.hooks import stop_training
from flows.lease import NAME, held, read_lease, started
from flows.train import main, train_model
from sllm_data.testbed.assets import shipped

pytestmark = [
    pytest.mark.prefect,
    # Prefect's own server code warns on this Python; none of it is ours
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return spoken_rows(tmp_path_factory.mktemp("train"))


@pytest.fixture
def train_yaml(dataset, tmp_path):
    """Writes a train.yaml of so many steps, whose output is out/model."""

    def write(steps: int, data: str | Path = dataset) -> Path:
        path = tmp_path / "train.yaml"
        training = {
            "output": str(tmp_path / "out/model"),
            "seed": 1,
            "device": "cpu",
            "data": {"datasets": [{"path": str(data)}], "budget": 96, "workers": 0},
            "model": {
                "encoder": {"model": str(shipped("encoder"))},
                "connector": {"kind": "mlp", "stack": 16, "hidden_size": 16},
                "llm": {"model": str(shipped("backbone"))},
            },
            "stages": [{"steps": steps, "learning_rates": {"connector": 0.002}}],
            "logging": {"boards": []},
        }
        path.write_text(yaml.safe_dump(training))
        return path

    return write


@pytest.fixture
def killed(server, train_yaml, tmp_path):
    """The output of a training that was killed with nobody to tell the server."""
    environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()}
    command = [sys.executable, "-m", "flows.train", str(train_yaml(1_000_000))]
    output = tmp_path / "out/model"
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as training:
        until = time.monotonic() + 300
        while not (output / "metrics.jsonl").exists():
            assert training.poll() is None, "the training ended"
            assert time.monotonic() < until, "the training does not begin"
            time.sleep(0.1)
        assert read_lease(output).holder.pid == training.pid
        training.send_signal(signal.SIGKILL)
    return output


def _run_of(lease):
    with get_client(sync_client=True) as client:
        return client.read_flow_run(UUID(lease.run_id))


def test_a_training_has_its_figures_as_an_artifact_and_leaves_no_lease(
    server, train_yaml, tmp_path
):
    assert main([str(train_yaml(2))]) == 0
    assert "loss" in Artifact.get(key="training").data
    assert (tmp_path / "out/model/report.json").is_file()
    assert not (tmp_path / "out/model" / NAME).exists()


def test_a_training_that_died_with_its_worker_is_found_by_its_lease(killed):
    lease = read_lease(killed)
    assert _run_of(lease).state.is_running()

    assert find_dead_runs([killed.parent]) == [lease.run_id]
    assert _run_of(lease).state.is_crashed()
    assert read_lease(killed) is None


def test_the_hook_of_a_training_ends_what_is_left_and_takes_its_lease_away(
    server, train_yaml, tmp_path
):
    output = tmp_path / "out/model"
    run = FlowRun(flow_id=uuid4(), parameters={"config_path": str(train_yaml(2))})
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) as left:
        with held(output, run_id=str(run.id), run_name="a training"):
            lease = json.loads((output / NAME).read_text())
        lease["children"] = [{"pid": left.pid, "started": started(left.pid)}]
        lease["holder"]["started"] = 0.0  # its number is that of this process
        (output / NAME).write_text(json.dumps(lease))
        stop_training(train_model, run, Crashed())
        assert not psutil.pid_exists(left.pid)
    assert read_lease(output) is None


def test_a_training_is_refused_while_another_run_holds_its_output(
    server, train_yaml, tmp_path, capsys
):
    with held(tmp_path / "out/model", run_id="1", run_name="another"):
        assert main([str(train_yaml(2))]) == 2
    assert "must have one run at a time, flow run another" in capsys.readouterr().err
