"""A run that is asked to stop: by Ctrl-C, by SIGTERM, by a standard output that is full."""

import shutil
import signal
import time
from contextlib import closing

import pytest
from steps_datasets import digests

from tests.faults.harness import Ended, Run, assert_one_sentence, finish, wait_for
from tests.faults.integrity import assert_finished, assert_part_of
from tests.faults.watching import FolderWatch


@pytest.mark.parametrize(
    ("how", "table"), [(signal.SIGINT, "audio"), (signal.SIGTERM, "requests/main")]
)
def test_a_run_that_is_stopped_goes_on_later(undisturbed, tmp_path, write_run, how, table):
    run_yaml = write_run(tmp_path, runner={"kind": "processes", "workers": 2})
    root = tmp_path / "dataset"
    root.mkdir()
    with closing(FolderWatch(root)) as watch:
        run = Run(run_yaml)
        wait_for(run, watch, lambda event: event[1].startswith(f"{table}/."))
        run.kill(how, group=True)
        if how == signal.SIGTERM and run.process.poll() is None:
            run.process.terminate()  # as `timeout` does: it signals the process and its group
        ended = run.wait()

    assert_stopped(ended, how)
    assert_part_of(root, undisturbed[0])
    finish(write_run(tmp_path))
    assert_finished(root)
    assert digests(root) == digests(undisturbed[0])


@pytest.mark.parametrize("pause_s", [0, 0.2, 0.5, 1])
def test_workers_that_still_start_end_as_silently(tmp_path, write_run, pause_s):
    run_yaml = write_run(tmp_path, runner={"kind": "processes", "workers": 2})
    run = Run(run_yaml)
    while run.process.poll() is None and not workers(run):
        time.sleep(0.01)
    time.sleep(pause_s)
    run.kill(signal.SIGTERM, group=True)
    assert_stopped(run.wait(), signal.SIGTERM)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_trainings_that_are_stopped_end_and_leave_no_model(tmp_path, how):
    run = Run(tmp_path / "models", program=("-m", "sllm_data.cli", "testbed", "build"))
    while run.process.poll() is None and workers(run) < 2:
        time.sleep(0.01)
    time.sleep(1)
    run.kill(how, group=True)
    assert_stopped(run.wait(), how)
    assert not (tmp_path / "models/testbed.json").exists()


def assert_stopped(ended: Ended, how: signal.Signals) -> None:
    """Ctrl-C ends with status 130 and one line, SIGTERM by the signal and silently."""
    if how == signal.SIGINT:
        assert ended.status == 130
        assert ended.said == "stopped; the same command goes on where this one was\n"
    else:
        assert (ended.status, ended.said) == (-signal.SIGTERM, "")


def workers(run: Run) -> int:
    return sum("spawn_main" in command for command in run.family().values())


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_standard_output_that_is_full_is_one_sentence(undisturbed, tmp_path, write_run, options):
    shutil.copytree(undisturbed[0], tmp_path / "dataset")
    full = ["sh", "-c", 'exec "$@" > /dev/full', "sh"]
    ended = Run(write_run(tmp_path), options, before=full).wait()
    assert_one_sentence(ended)
    assert "standard output can't be written: No space left on device" in ended.said
    assert digests(tmp_path / "dataset") == digests(undisturbed[0])
