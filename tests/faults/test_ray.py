"""A run on a Ray cluster of its own that is killed, or stopped: nothing is left, all goes on."""

import signal
from contextlib import closing

from steps_datasets import digests

from tests.faults.harness import Run, finish, wait_for
from tests.faults.integrity import assert_finished, assert_part_of, assert_whole
from tests.faults.watching import FolderWatch

RAY = {"kind": "ray", "workers": 2}


def test_a_run_that_is_killed_on_ray_leaves_nothing_and_goes_on(undisturbed, tmp_path, write_run):
    """While tasks write parts, and while engines do; the cluster is the run's own, and ends."""
    whole, _ = undisturbed
    run_yaml = write_run(tmp_path, runner=RAY, backbone={"engine": "scripted", "workers": 2})
    root = tmp_path / "dataset"
    root.mkdir()
    for table in ("audio", "responses/main"):
        with closing(FolderWatch(root)) as watch:
            run = Run(run_yaml)
            wait_for(run, watch, lambda event, table=table: event[1].startswith(f"{table}/."))
            run.kill()
            assert run.wait().status == -signal.SIGKILL
        assert_whole(root)
        assert_part_of(root, whole)
    finish(run_yaml)
    assert_finished(root)
    assert digests(root) == digests(whole)


def test_ctrl_c_ends_a_run_on_ray_with_its_cluster(tmp_path, write_run):
    run_yaml, root = write_run(tmp_path, runner=RAY), tmp_path / "dataset"
    root.mkdir()
    with closing(FolderWatch(root)) as watch:
        run = Run(run_yaml)
        wait_for(run, watch, lambda event: event[1].startswith("audio/."))
        run.kill(signal.SIGINT, group=True)
        ended = run.wait()
    assert ended.status == 130
    assert "the same command goes on" in ended.said
    assert "Traceback" not in ended.said
    assert len(ended.said.splitlines()) == 1, ended.said
