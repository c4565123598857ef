"""What the tests of deployments stand on: a server over Postgres, workers, and a corpus.

The commands are those of docs/scheduling.md.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import yaml
from postgres import running_postgres

from flows.lease import Lease, read_lease
from sllm_data.testbed import write_librispeech
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
_PATIENCE_S = 600  # the machine may be busy; a state that never comes is what this ends
_POLL_S = 0.25

Found = TypeVar("Found")


def wait_for(what: str, look: Callable[[], Found | None]) -> Found:
    """Waits until there is something to see."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(_POLL_S)
    raise AssertionError(f"never came: {what}")


class Project:
    """A checkout with a run.yaml, deployed on a server with two workers."""

    def __init__(self, folder: Path, api: str, environment: dict[str, str]) -> None:
        self.folder = folder
        self.dataset = folder / "out/my-corpus"
        self.gate = folder / "gate"
        self._environment = environment
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._http = httpx.Client(base_url=api, timeout=60)

    def prefect(self, *arguments: str) -> str:
        """A command of Prefect, which must succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def ask(self, path: str, body: Any = None) -> Any:
        """What the server's API answers."""
        answer = self._http.post(path, json=body) if body is not None else self._http.get(path)
        assert answer.is_success, answer.text
        return answer.json()

    def start_worker(self, pool: str) -> None:
        with (self.folder / f"worker-{pool}.log").open("ab") as log:
            self._workers[pool] = subprocess.Popen(
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def kill_worker(self, pool: str) -> None:
        worker = self._workers.pop(pool)
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.terminate()
        for worker in self._workers.values():
            worker.wait()
        self._http.close()

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """The runs of a deployment, oldest first, without those that a schedule has in store."""
        found = self._runs(deployment)
        return [run for run in found if run["start_time"] or not run["auto_scheduled"]]

    def _runs_of(self, schedule: str, deployment: str) -> list[dict[str, Any]]:
        found = self._runs(deployment.partition("/")[2])
        return [run for run in found if (run["created_by"] or {}).get("id") == schedule]

    def _runs(self, deployment: str) -> list[dict[str, Any]]:
        asked = {
            "deployments": {"name": {"any_": [deployment]}},
            "sort": "EXPECTED_START_TIME_ASC",
        }
        found: list[dict[str, Any]] = self.ask("/flow_runs/filter", asked)
        return found

    def start(self, deployment: str, *parameters: str) -> str:
        """Starts a run now, and returns its id."""
        flags = [flag for each in parameters for flag in ("--param", each)]
        self.prefect("deployment", "run", deployment, *flags)
        by_hand = [
            run for run in self.runs(deployment.partition("/")[2]) if not run["auto_scheduled"]
        ]
        found: str = max(by_hand, key=lambda run: run["created"])["id"]
        return found

    def ended(self, run_id: str) -> dict[str, Any]:
        """Waits for the end of a run; returns its state."""

        def look() -> dict[str, Any] | None:
            state = self.ask(f"/flow_runs/{run_id}")["state"]
            final = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
            return state if state["type"] in final else None

        return wait_for(f"the end of {run_id}", look)

    def schedule_soon(self, deployment: str) -> None:
        """Lets a deployment run by schedule in some seconds, and never again.

        The scheduler must see it before it is due: where it comes too late, later is tried.
        """
        path = f"/deployments/{self.ask(f'/deployments/name/{deployment}')['id']}/schedules"
        for seconds in (5, 20, 80, 320):
            due = datetime.now(UTC) + timedelta(seconds=seconds)
            schedule = {"interval": 86_400, "anchor_date": due.isoformat()}
            (made,) = self.ask(path, [{"active": True, "schedule": schedule}])
            (first, *_) = wait_for(
                "a run in store", partial(self._runs_of, made["id"], deployment)
            )
            if datetime.fromisoformat(first["expected_start_time"]) < due + timedelta(hours=1):
                return
            self._http.delete(f"{path}/{made['id']}").raise_for_status()
        raise AssertionError(f"the scheduler never saw a run of {deployment} in time")

    def pause_schedules(self) -> None:
        """Takes the schedules of prefect.yaml out: no run comes into a test's way by the clock."""
        self.prefect("deployment", "schedule", "pause", "--all")

    def add_night(self, number: int) -> None:
        """Puts six more utterances into the corpus."""
        (self.folder / "to-come" / f"train-night-{number}").rename(
            self.folder / "LibriSpeech" / f"train-night-{number}"
        )

    def close_gate(self) -> None:
        (self.gate / "waiting").unlink(missing_ok=True)
        (self.gate / "closed").touch()

    def open_gate(self) -> None:
        (self.gate / "closed").unlink()

    def waiting(self) -> tuple[Lease, psutil.Process]:
        """Waits until the engine waits; returns the lease that knows of its process, and that."""
        path = self.gate / "waiting"
        wait_for("the engine at the gate", path.exists)
        pid = int(path.read_text())

        def look() -> Lease | None:
            lease = read_lease(self.dataset)
            return lease if lease and pid in [each.pid for each in lease.children] else None

        return wait_for("the engine's process in the lease", look), psutil.Process(pid)

    def logs(self, run_id: str) -> str:
        found = self.ask(
            "/logs/filter",
            {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC"},
        )
        return "\n".join(line["message"] for line in found)


@contextmanager
def deployed_project(folder: Path) -> Iterator[Project]:
    """Everything that docs/scheduling.md sets up."""
    _fill(folder)
    with ExitStack() as stack:
        url = stack.enter_context(running_postgres())
        port = free_port()
        api = f"http://127.0.0.1:{port}/api"
        environment = {
            **{name: value for name, value in os.environ.items() if "PREFECT" not in name},
            "PREFECT_HOME": str(folder / "prefect-home"),
            "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(folder / "results"),
            "PREFECT_API_URL": api,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # sooner than their defaults, which are made for many users
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "SLLM_TEST_GATE": str(folder / "gate"),
            "PYTHONPATH": os.pathsep.join([*_own_path(), str(ROOT), str(Path(__file__).parent)]),
        }
        with (folder / "server.log").open("wb") as log:
            server = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "prefect",
                    "server",
                    "start",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(port),
                ],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
        stack.callback(_end, server)
        wait_for("the server", lambda: _is_ready(api, server))
        project = Project(folder, api, environment)
        for pool in ("cpu", "gpu"):
            project.prefect("work-pool", "create", pool, "--type", "process")
        project.prefect("work-pool", "set-concurrency-limit", "gpu", "1")
        project.prefect("deploy", "--all")
        project.pause_schedules()
        stack.callback(project.stop)
        for pool in ("cpu", "gpu"):
            project.start_worker(pool)
        yield project


def _fill(folder: Path) -> None:
    """A folder like a checkout: flows, prefect.yaml, run.yaml, and a corpus of one night."""
    (folder / "flows").symlink_to(ROOT / "flows")
    (folder / "prefect.yaml").write_bytes((ROOT / "prefect.yaml").read_bytes())
    (folder / "gate").mkdir()
    (folder / "out").mkdir()
    (folder / "LibriSpeech").mkdir()
    nights = {f"train-night-{number}": 6 for number in range(3)}
    write_librispeech(folder / "to-come", subsets=nights, num_speakers=2, seed=100)
    (folder / "run.yaml").write_text(
        yaml.safe_dump(
            {
                "seed": 1,
                "output": "out/my-corpus",
                "corpora": [{"kind": "librispeech", "path": "LibriSpeech"}],
                "backbone": {"engine": "scripted", "function": "gate:answer"},
                "filters": {"wrong_language": False, "copied": False},
                "runner": {"kind": "serial"},
            }
        )
    )


def _own_path() -> list[str]:
    return [found for found in os.environ.get("PYTHONPATH", "").split(os.pathsep) if found]


def _is_ready(api: str, server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, "the server ended"
    try:
        return httpx.get(f"{api}/ready", timeout=10).is_success
    except httpx.TransportError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()
