"""Deployments on a real server over a real Postgres, run by real workers.

The tests are one story, in their order: a first night by schedule, a second one that is killed
and run again, a third that is cancelled, dies with its worker, and is found by its lease.
"""

import hashlib
import os
import signal

import psutil
import pytest
from postgres import find_program
from scheduling import deployed_project, wait_for

from flows.lease import NAME
from sllm_data.reporting import collect_stats

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(1_800)]

_NIGHTLY = "build-corpus/nightly"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    if not find_program("initdb"):
        pytest.skip("Postgres is not installed: no initdb; apt-get install postgresql")
    with deployed_project(tmp_path_factory.mktemp("project")) as found:
        yield found


def _parts(dataset):
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(dataset.rglob("part-*.parquet"))
    }


def _num_clips(dataset):
    return collect_stats(dataset).rows["audio"]


def _is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_all_deployments_have_their_pool_and_one_run_at_a_time(project):
    found = {
        each["name"]: (each["work_pool_name"], each["global_concurrency_limit"]["limit"])
        for each in project.ask("/deployments/filter", {})
    }
    assert found == {
        "nightly": ("gpu", 1),
        "prepare": ("cpu", 1),
        "validate": ("cpu", 1),
        "train": ("gpu", 1),
        "publish": ("cpu", 1),
        "find-dead-runs": ("cpu", 1),
    }


def test_a_first_night_by_schedule_builds_the_dataset(project):
    project.add_night(0)
    project.schedule_soon(_NIGHTLY)
    first = wait_for("a scheduled run", lambda: project.runs("nightly"))[0]
    state = project.ended(first["id"])

    assert first["auto_scheduled"]
    assert state["type"] == "COMPLETED", project.logs(first["id"])
    assert _num_clips(project.dataset) == 6
    assert not (project.dataset / NAME).exists()


def test_its_page_has_progress_tables_and_the_report(project):
    (first, *_) = project.runs("nightly")
    found = project.ask(
        "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [first["id"]]}}}
    )
    by_key = {each["key"]: each for each in found}

    assert {"progress", "steps", "quotas", "rejections", "report", "dataset-stats"} <= {*by_key}
    assert by_key["progress"]["type"] == "progress"
    assert "report.html" in by_key["report"]["data"]
    assert (project.dataset / "reports/report.html").is_file()


def test_events_tell_each_part_and_the_end_starts_the_validation(project):
    def told():
        body = {"filter": {"event": {"prefix": ["sllm-data."]}}, "limit": 50}
        found = [each["event"] for each in project.ask("/events/filter", body)["events"]]
        return found if "sllm-data.dataset.finished" in found else None

    events = wait_for("the event of the end", told)
    assert events.count("sllm-data.part.committed") >= 6
    assert "sllm-data.step.finished" in events

    (run, *_) = wait_for("the triggered validation", lambda: project.runs("validate"))
    assert run["parameters"]["dataset"] == "out/my-corpus"
    assert project.ended(run["id"])["type"] == "COMPLETED", project.logs(run["id"])


def test_a_killed_night_is_crashed_and_its_engine_stopped(project):
    before = _parts(project.dataset)
    project.add_night(1)
    project.close_gate()
    run_id = project.start(_NIGHTLY)
    lease, beside = project.waiting()
    os.kill(lease.holder.pid, signal.SIGKILL)

    assert project.ended(run_id)["type"] == "CRASHED"
    wait_for("the end of the engine's process", lambda: _is_gone(beside))
    wait_for("the lease to go", lambda: not (project.dataset / NAME).exists())
    wait_for("the hook's log", lambda: "are ended; run it again" in project.logs(run_id))
    after = _parts(project.dataset)
    assert all(after[path] == digest for path, digest in before.items())
    project.open_gate()


def test_the_next_run_resumes_it_and_old_parts_keep_every_byte(project):
    before = _parts(project.dataset)
    run_id = project.start(_NIGHTLY)

    assert project.ended(run_id)["type"] == "COMPLETED", project.logs(run_id)
    assert _num_clips(project.dataset) == 12
    after = _parts(project.dataset)
    assert all(after[path] == digest for path, digest in before.items())


def test_a_cancelled_night_stops_its_engine(project):
    project.add_night(2)
    project.close_gate()
    run_id = project.start(_NIGHTLY)
    _, beside = project.waiting()
    project.prefect("flow-run", "cancel", run_id)

    assert project.ended(run_id)["type"] == "CANCELLED"
    wait_for("the end of the engine's process", lambda: _is_gone(beside))
    wait_for("the lease to go", lambda: not (project.dataset / NAME).exists())


def test_a_run_that_died_with_its_worker_is_found_by_its_lease(project):
    project.close_gate()
    run_id = project.start(_NIGHTLY)
    lease, beside = project.waiting()
    project.kill_worker("gpu")
    os.kill(lease.holder.pid, signal.SIGKILL)
    wait_for("its end", lambda: not lease.seems_alive())
    assert project.ask(f"/flow_runs/{run_id}")["state"]["type"] == "RUNNING"
    looked = project.start("find-dead-runs/find-dead-runs")

    assert project.ended(looked)["type"] == "COMPLETED", project.logs(looked)
    assert project.ended(run_id)["type"] == "CRASHED"
    assert _is_gone(beside)
    assert not (project.dataset / NAME).exists()
    project.open_gate()
    project.start_worker("gpu")


def test_the_third_night_goes_on_from_there_and_then_nothing_is_new(project):
    resumed, again = project.start(_NIGHTLY), project.start(_NIGHTLY)

    assert project.ended(resumed)["type"] == "COMPLETED", project.logs(resumed)
    assert project.ended(again)["name"] == "Nothing new", project.logs(again)
    assert _num_clips(project.dataset) == 18


def test_a_validation_that_finds_errors_fails_its_run(project):
    part = next(project.dataset.glob("audio/part-*.parquet"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 0xFF
    part.write_bytes(content)
    run_id = project.start("validate-dataset/validate", "level=2")
    state = project.ended(run_id)

    assert state["type"] == "FAILED"
    assert "level 2 finds" in state["message"]
