"""The real engine killed: the whole run five times, then its core alone; the next run goes on.

What a sampling engine answers a second time may differ; what is promised is that committed
answers stand, and that all else is as in a run that nothing disturbed: one that is given the
same answers, by `reuse`, and so needs no engine of its own.
"""

import json
import os
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from steps_datasets import digests, rows

from tests.faults.harness import Run, assert_one_sentence, finish, wait_for
from tests.faults.integrity import assert_finished, assert_whole
from tests.faults.watching import FolderWatch

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

TASKS = ("repetition", "intent", "sentiment", "keywords", "continuation", "translation")
STARTING = ("engine_guard", "spawn_main")  # processes that a run has when it is killed
ANSWERING = (  # events at which a run is killed: kind, file, how many of them
    ("begun", "rejections/generate.main/.part-", 1),
    ("named", "responses/main/part-", 1),
    ("written", "responses/main/.part-", 2),
)


def fields(backbone: Path) -> dict[str, Any]:
    return {
        "part_size": 3,
        "backbone": {
            "engine": "vllm",
            "model": str(backbone),
            "temperature": 0.9,
            "max_num_seqs": 4,
            "max_num_batched_tokens": 1024,
            "max_model_len": 512,
            "kv_cache_gib": 1,
            "enforce_eager": True,
            "restarts": 0,
        },
        "tasks": {name: {"max_tokens": 16} for name in TASKS},
        "max_rejected_fraction": 1.0,
    }


def kill_while_the_engine_starts(run_yaml: Path, process: str) -> None:
    run = Run(run_yaml)
    while not any(process in command for command in run.family().values()):
        assert run.process.poll() is None, run.wait().said
        time.sleep(0.05)
    run.kill()
    assert run.wait().status == -signal.SIGKILL


def kill_while_it_answers(run_yaml: Path, kind: str, start: str, count: int) -> None:
    with closing(FolderWatch(run_yaml.parent / "dataset")) as watch:
        run = Run(run_yaml)
        wait_for(run, watch, lambda e: e[0] == kind and e[1].startswith(start), nth=count)
        run.kill()
        assert run.wait().status == -signal.SIGKILL


def kill_the_core(run_yaml: Path) -> None:
    with closing(FolderWatch(run_yaml.parent / "dataset")) as watch:
        run = Run(run_yaml)
        wait_for(run, watch, lambda event: event[1].startswith("responses/main/part-"))
        cores = [pid for pid, command in run.family().items() if "EngineCore" in command]
        assert len(cores) == 1
        os.kill(cores[0], signal.SIGKILL)
        ended = run.wait()
    assert_one_sentence(ended)
    assert "vLLM died: " in ended.said
    assert "run the same command again to go on" in ended.said


def test_a_run_whose_engine_is_killed(tmp_path, write_run, tiny_backbone):
    run_yaml = write_run(tmp_path / "killed", **fields(tiny_backbone))
    root = tmp_path / "killed/dataset"
    root.mkdir()
    committed: dict[str, str] = {}

    def look() -> None:
        assert_whole(root)
        now = digests(root)
        assert committed.items() <= now.items()
        committed.update(now)

    for process in STARTING:
        kill_while_the_engine_starts(run_yaml, process)
        look()
    for moment in ANSWERING:
        kill_while_it_answers(run_yaml, *moment)
        look()
    kill_the_core(run_yaml)
    look()
    finish(run_yaml)
    look()
    assert_finished(root)
    finish(write_run(tmp_path / "whole", **fields(tiny_backbone), reuse=[str(root)]))
    assert_same(root, tmp_path / "whole/dataset")


def core_of(run: Run, *, but: int = 0) -> int:
    """Waits for the process that computes, another one than `but`."""
    while True:
        cores = [p for p, command in run.family().items() if "EngineCore" in command and p != but]
        if cores:
            return cores[0]
        assert run.process.poll() is None, run.wait().said
        time.sleep(0.05)


def test_an_engine_that_is_killed_or_stalls_is_started_again(tmp_path, write_run, tiny_backbone):
    made = fields(tiny_backbone)
    made["backbone"] |= {"restarts": 1, "stall_timeout_s": 15}
    run_yaml = write_run(tmp_path, **made)
    root = tmp_path / "dataset"
    root.mkdir()
    with closing(FolderWatch(root)) as watch:
        run = Run(run_yaml)
        wait_for(run, watch, lambda event: event[1].startswith("responses/main/part-"))
        first = core_of(run)
        os.kill(first, signal.SIGKILL)
        second = core_of(run, but=first)
        for _ in watch.events(0):
            pass  # what was committed before
        # only when a part is committed is the next death the first one again
        wait_for(run, watch, lambda event: event[1].startswith("responses/main/part-"))
        os.kill(second, signal.SIGSTOP)
        ended = run.wait()
    assert ended.status == 0, ended.said
    assert_finished(root)
    assert json.loads((root / "reports/generate.main.json").read_text())["restarts"] == 2
    for core in (first, second):
        assert not psutil.pid_exists(core)


def assert_same(root: Path, whole: Path) -> None:
    """Two datasets with the same answers have the same rows, and requests of the same bytes."""
    generated = {row["engine"] for row in rows(root, "responses/main", ["engine"])} - {"none"}
    assert generated == {"vllm"}
    assert planned(root) == planned(whole)
    assert rows(root, "samples") == rows(whole, "samples")


def planned(root: Path) -> dict[str, str]:
    """Digests of all that was made before the engine came to it."""
    answers = ("responses/", "samples/", "generate.main", "assemble")
    return {n: d for n, d in digests(root).items() if not any(word in n for word in answers)}
