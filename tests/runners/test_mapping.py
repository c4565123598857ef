"""One seam: the same results from one process or several, and an end to every failure."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from sllm_data.errors import CorpusError, OutputError
from sllm_data.runners import RunnerConfig, map_parts, num_workers, starting_workers
from tests.runners import jobs_for_tests as jobs

SERIAL = RunnerConfig(kind="serial")
TWO = RunnerConfig(kind="processes", workers=2)
both = pytest.mark.parametrize("config", [SERIAL, TWO], ids=["serial", "processes"])

_MAP_FOREVER = """
import sys
from sllm_data.runners import RunnerConfig, map_parts
from tests.runners.jobs_for_tests import write_pid_and_wait
if __name__ == "__main__":
    list(map_parts(write_pid_and_wait, sys.argv[1:], RunnerConfig(workers=2)))
"""


@both
def test_every_job_is_done_once(config):
    assert sorted(map_parts(jobs.square, range(20), config)) == [i * i for i in range(20)]


@both
def test_no_jobs_are_no_work(config):
    assert list(map_parts(jobs.square, (), config)) == []


def test_one_job_stays_in_this_process():
    assert list(map_parts(jobs.pid_of, [1], TWO)) == [os.getpid()]


def test_several_jobs_run_in_other_processes():
    pids = set(map_parts(jobs.pid_of, range(8), TWO))
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2


def test_serial_keeps_the_order_and_works_only_when_asked():
    results = map_parts(jobs.fail_at_3, [1, 2, 3], SERIAL)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(CorpusError, match="row 3"):
        next(results)


@both
def test_the_exception_of_a_job_is_raised_here(config):
    with pytest.raises(CorpusError, match="row 3 can't be read"):
        list(map_parts(jobs.fail_at_3, range(8), config))


def test_after_an_exception_no_further_jobs_are_begun(tmp_path):
    names = [str(tmp_path / str(i)) for i in range(40)]
    with pytest.raises(CorpusError, match="0 fails"):
        list(map_parts(jobs.mark_then_fail_at_0, names, TWO))
    assert len(list(tmp_path.iterdir())) < 10


def test_a_consumer_that_stops_early_stops_the_work(tmp_path):
    names = [str(tmp_path / str(i)) for i in range(1, 41)]
    results = map_parts(jobs.mark_then_fail_at_0, names, TWO)
    next(results)
    results.close()
    assert len(list(tmp_path.iterdir())) < 10


def test_a_worker_that_is_killed_ends_the_work_with_a_sentence():
    with pytest.raises(OutputError, match=r"a worker process died.*lower runner\.workers"):
        list(map_parts(jobs.be_killed_at_2, range(6), TWO))


def _start_waiting(tmp_path: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A process with two workers, each in the middle of a job; their process ids."""
    script = tmp_path / "forever.py"
    script.write_text(_MAP_FOREVER)
    files = [tmp_path / "one", tmp_path / "two"]
    parent = subprocess.Popen(
        [sys.executable, str(script), *map(str, files)],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < deadline, "the workers must start"
        time.sleep(0.05)
    return parent, [int(file.read_text()) for file in files]


def _wait_until_gone(pids: list[int], timeout_s: float = 120) -> list[int]:
    deadline = time.monotonic() + timeout_s
    while (alive := [pid for pid in pids if _is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # where nobody reaps orphans, a dead one stays in the table


def test_workers_die_with_a_parent_that_is_killed(tmp_path):
    """An orphan that still wrote its part would race with the run that is started next."""
    parent, pids = _start_waiting(tmp_path)
    with parent:
        parent.kill()
    assert _wait_until_gone(pids) == []


def test_ctrl_c_is_for_the_parent_workers_say_nothing(tmp_path):
    parent, pids = _start_waiting(tmp_path)
    with parent:
        for pid in pids:
            os.kill(pid, signal.SIGINT)
        time.sleep(0.3)
        assert all(_is_running(pid) for pid in pids)
        parent.kill()
        said = parent.stderr.read()
    assert b"KeyboardInterrupt" not in said
    assert _wait_until_gone(pids) == []


def test_a_parent_that_is_stopped_does_not_wait_for_parts_that_are_open(tmp_path):
    """They take an hour here; without workers they are made again by the next run."""
    parent, pids = _start_waiting(tmp_path)
    with parent:
        os.killpg(parent.pid, signal.SIGINT)
        said = parent.stderr.read()
    assert said.count(b"Traceback") == said.count(b"KeyboardInterrupt") == 1  # the parent's own
    assert _wait_until_gone(pids) == []


def test_the_number_of_workers():
    assert num_workers(SERIAL) == 1
    assert num_workers(TWO) == 2
    assert num_workers(RunnerConfig()) == len(os.sched_getaffinity(0))
    with pytest.raises(ValidationError, match="workers"):
        RunnerConfig(workers=0)


def test_a_signal_that_another_thread_takes_waits_until_the_workers_are_started():
    """The handler is called in the main thread, whichever of them the kernel chose."""
    ended, order = threading.Event(), []
    other = threading.Thread(target=ended.wait)
    other.start()  # it blocks no signal
    before = signal.signal(signal.SIGTERM, lambda *_: order.append("stopped"))
    try:
        with starting_workers():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
            order.append("started")
        assert order == ["started", "stopped"]
    finally:
        signal.signal(signal.SIGTERM, before)
        ended.set()
        other.join()
