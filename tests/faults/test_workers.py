"""Workers that are killed, and workers whose parent is: an end, and nothing left over."""

import os
import random
import shutil
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from steps_datasets import digests

from tests.faults.harness import SEED, Run, assert_one_sentence, finish, rewound, wait_for
from tests.faults.integrity import assert_finished, assert_part_of, assert_whole
from tests.faults.watching import FolderWatch

TWO_ENGINES = (str(Path(__file__).with_name("two_engines.py")),)


def test_a_worker_that_is_killed_in_any_step_is_one_sentence(undisturbed, tmp_path, write_run):
    chance = random.Random(SEED)
    whole, _ = undisturbed
    run_yaml = write_run(tmp_path, runner={"kind": "processes", "workers": 2})
    root = tmp_path / "dataset"
    root.mkdir()
    for table in ("audio", "requests/main", "samples"):
        with closing(FolderWatch(root)) as watch:
            run = Run(run_yaml)
            wait_for(run, watch, lambda event, table=table: event[1].startswith(f"{table}/."))
            run.kill(signal.SIGSTOP, group=True)  # or its step might end while we look
            workers = [pid for pid, command in run.family().items() if "spawn_main" in command]
            os.kill(chance.choice(workers), signal.SIGKILL)
            run.kill(signal.SIGCONT, group=True)
            ended = run.wait()
        assert_one_sentence(ended)
        assert "a worker process died, most likely killed for memory" in ended.said
        assert_whole(root)
        assert_part_of(root, whole)
    finish(write_run(tmp_path))
    assert_finished(root)
    assert digests(root) == digests(whole)


@pytest.fixture(scope="module")
def planned(undisturbed, tmp_path_factory, write_run) -> Path:
    """A dataset that waits for the answers of two engines."""
    # one request in flight: or the engine that is up first would take all parts
    backbone = {"engine": "scripted", "function": "two_engines:wait", "max_in_flight": 1}
    folder = tmp_path_factory.mktemp("planned")
    rewound(undisturbed[0], folder / "dataset", to="plan.main")
    finish(write_run(folder, backbone=backbone), program=("-m", "sllm_data.cli", "plan"))
    return folder


@pytest.fixture
def two_engines(planned, tmp_path):
    """Starts two engines, and waits until both work."""
    root, notes = tmp_path / "dataset", tmp_path / "notes"
    shutil.copytree(planned / "dataset", root)
    document = yaml.safe_load((planned / "run.yaml").read_text())
    run_yaml = tmp_path / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(document | {"output": str(root)}))

    def start(*wishes: str) -> Run:
        notes.mkdir()
        for wish in wishes:
            (notes / wish).touch()
        run = Run(run_yaml, program=TWO_ENGINES, environment={"NOTES": str(notes)})
        while len(list(notes.glob("*.pid"))) < 2 and run.process.poll() is None:
            time.sleep(0.02)
        return run

    return start


def test_engines_end_with_a_parent_that_is_killed(two_engines, tmp_path):
    """Or they would write parts of the run that is started next."""
    run = two_engines()
    run.kill()
    assert run.wait().status == -signal.SIGKILL
    assert not list((tmp_path / "dataset").glob("responses/main/*"))


def test_ctrl_c_ends_all_engines_without_a_traceback(two_engines):
    run = two_engines()
    run.kill(signal.SIGINT, group=True)
    ended = run.wait()
    assert (ended.status, ended.said) == (130, "")


@pytest.mark.parametrize("how", ["willing", "stubborn"])
def test_an_engine_that_fails_ends_the_other_in_the_middle_of_its_work(two_engines, how):
    ended = two_engines("fail", how).wait()
    assert_one_sentence(ended)
    assert "the scripted function two_engines:wait must return a text" in ended.said
