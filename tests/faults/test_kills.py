"""Killed again and again, at random moments of all steps: the bytes of an undisturbed run.

The moments are drawn by SLLM_FAULT_SEED, which is 1 unless it is set.
"""

import shutil

from steps_datasets import digests

from tests.faults.conftest import ALL_PASSES
from tests.faults.harness import finish, kill_again_and_again, recorded, step_of
from tests.faults.integrity import assert_finished, assert_part_of, assert_whole

SERIAL, PROCESSES, EXTENDING = 32, 8, 10  # kills; docs/faults.md names them


def test_a_run_that_is_killed_in_every_step(undisturbed_passes, tmp_path, write_run):
    undisturbed, events = undisturbed_passes
    run_yaml, root = write_run(tmp_path, **ALL_PASSES), tmp_path / "dataset"

    def look() -> None:
        assert_whole(root)
        assert_part_of(root, undisturbed)

    killed = kill_again_and_again(run_yaml, events, SERIAL, look=look)
    finish(run_yaml)

    assert {path.stem for path in root.glob("manifest/*.json")} <= {
        step_of(path) for _, path in killed
    }
    assert_finished(root)
    assert digests(root) == digests(undisturbed)


def test_a_run_that_is_killed_while_several_processes_work(undisturbed, tmp_path, write_run):
    whole, events = undisturbed
    run_yaml = write_run(tmp_path, runner={"kind": "processes", "workers": 2})
    root = tmp_path / "dataset"

    def look() -> None:
        assert_whole(root)
        assert_part_of(root, whole)

    kill_again_and_again(run_yaml, events, PROCESSES, look=look)
    finish(run_yaml)

    assert_finished(root)
    assert digests(root) == digests(whole)


def test_an_extension_that_is_killed(tmp_path, write_run, corpora):
    once, often = tmp_path / "once", tmp_path / "often"
    before = {"corpora": corpora[:1], "tasks": {"intent": {"weight": 0}}}
    finish(write_run(once, **before))
    shutil.copytree(once / "dataset", often / "dataset")
    shutil.copytree(once / "dataset", tmp_path / "before")
    events = recorded(write_run(once), once / "dataset", ["--extend"])
    run_yaml, root = write_run(often), often / "dataset"

    def look() -> None:
        assert_whole(root)
        assert_part_of(root, tmp_path / "before", once / "dataset")

    kill_again_and_again(run_yaml, events, EXTENDING, options=["--extend"], look=look)
    finish(run_yaml, ["--extend"])

    assert_finished(root)
    assert digests(root) == digests(once / "dataset")
