"""An engine's processes end with it, and with a parent that had no time to end them."""

import os
import signal
import subprocess
import sys
import threading
import time
from io import FileIO

import psutil
import pytest

from sllm_data.generation import engine_guard, engine_processes
from sllm_data.generation.engine_processes import EngineProcesses

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
NESTED = [
    sys.executable,
    "-c",
    f"import subprocess, time; subprocess.Popen({SLEEP!r}); time.sleep(600)",
]
PARENT = f"""
import subprocess, sys, time
from sllm_data.generation.engine_processes import EngineProcesses
older = subprocess.Popen({SLEEP!r})
processes = EngineProcesses()
child = subprocess.Popen({NESTED!r})
if "at once" not in sys.argv:
    time.sleep(1)
if "settle" in sys.argv:
    processes.settle()
print(older.pid, child.pid, flush=True)
time.sleep(600)
"""


def eventually(claim, timeout_s=120.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not claim() and time.monotonic() < deadline:
        time.sleep(0.05)
    return claim()


def dead(process: psutil.Process) -> bool:
    return not engine_guard.is_alive(process)


@pytest.fixture
def processes():
    watched = EngineProcesses()
    yield watched
    watched.end()


def children() -> set[int]:
    """What runs below the tests already: the session's engine, for one."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_ending_kills_children_and_theirs_but_none_that_were_there_before():
    before = children()
    with subprocess.Popen(SLEEP) as older:
        processes = EngineProcesses()
        with subprocess.Popen(NESTED) as child:
            nested = psutil.Process(child.pid)
            assert eventually(nested.children)
            grandchild = nested.children()[0]
            processes.settle()
            assert processes.are_alive()
            processes.end()
            assert dead(grandchild)
            assert child.poll() is not None
        assert older.poll() is None
        older.kill()
    assert children() == before


def test_a_child_that_dies_is_noticed(processes):
    with subprocess.Popen(SLEEP) as child:
        processes.settle()
        child.kill()
        assert eventually(lambda: not processes.are_alive())


def test_a_child_that_came_after_the_engine_started_is_no_concern_of_it(processes):
    processes.settle()
    with subprocess.Popen(SLEEP) as child:
        child.kill()
    assert processes.are_alive()


def test_ending_twice_or_without_a_guard_is_no_problem():
    processes = EngineProcesses()
    processes._guard.kill()
    processes._guard.wait()
    processes.settle()
    processes.end()
    processes.end()


def test_a_guard_that_does_not_end_in_time_is_left_to_end_alone(monkeypatch):
    monkeypatch.setattr(engine_processes, "_END_S", 0.2)
    processes = EngineProcesses()
    processes._guard.send_signal(signal.SIGSTOP)
    processes.end()
    processes._guard.send_signal(signal.SIGCONT)
    assert processes._guard.wait() == 0


@pytest.mark.parametrize("when", ["at once", "starting", "settle"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_parent_that_is_killed_takes_the_engine_with_it(when, how):
    command = [sys.executable, "-c", PARENT, when]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        older, child = (psutil.Process(int(pid)) for pid in parent.stdout.readline().split())
        assert eventually(lambda: child.children() or when == "at once")
        family = [child, *child.children(recursive=True)]
        parent.send_signal(how)
    try:
        assert eventually(lambda: all(map(dead, family)))
        assert not dead(older)
    finally:
        older.kill()


def test_the_guard_leaves_without_killing_when_all_is_done():
    before = children()
    reading, writing = os.pipe()
    with subprocess.Popen(SLEEP) as child, FileIO(reading) as lifeline:
        os.write(writing, b"settled\ndone\n")
        engine_guard.guard(os.getpid(), before, lifeline)
        assert child.poll() is None
        child.kill()
    os.close(writing)


def test_the_guard_kills_what_it_saw_when_the_lifeline_ends():
    ignored = children()
    reading, writing = os.pipe()
    with subprocess.Popen(SLEEP) as child, FileIO(reading) as lifeline:
        os.write(writing, b"settled\n")
        threading.Timer(0.5, os.close, (writing,)).start()
        engine_guard.guard(os.getpid(), ignored, lifeline)
        assert child.wait() == -signal.SIGKILL


def test_the_guard_looks_again_and_again_until_the_engine_has_settled():
    ignored = children()
    reading, writing = os.pipe()
    late = []

    def start_and_let_it_look() -> None:
        late.append(subprocess.Popen(SLEEP))
        time.sleep(2)  # it looks four times a second
        os.close(writing)

    threading.Timer(0.5, start_and_let_it_look).start()
    with FileIO(reading) as lifeline:
        engine_guard.guard(os.getpid(), ignored, lifeline)
    assert late[0].wait() == -signal.SIGKILL


def test_the_children_of_a_process_that_is_gone_are_none():
    with subprocess.Popen(SLEEP) as child:
        gone = psutil.Process(child.pid)
        child.kill()
    assert engine_guard.descendants(gone.pid, set()) == []
    assert engine_guard._children(gone) == []
    assert not engine_guard._is_helper(gone)
    assert engine_guard.kill({gone}) == []
