"""Ends an engine's processes when the process that started them is gone.

Run as a program, by its path, beside an engine: vLLM's core and workers outlive a parent
that was killed (SIGKILL leaves it no time to tell them), and would hold the GPU's memory
against the run that is to go on. The parent holds the other end of this program's standard
input: its end, whatever the reason, is the parent's end.

    at first       children of the parent are noted as they appear
    line settled   the engine runs: note them once more, then sleep
    line done      the engine was closed in order: leave
    end of file    the parent is gone: kill them, and whoever has its mark in the environment:
                   one that appeared since the last look has another parent by now
"""

import os
import select
import sys
from io import FileIO

import psutil

MARK = "SLLM_ENGINE"
_POLL_S = 0.25
_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


def guard(parent_pid: int, ignored: set[int], lifeline: FileIO, *, mark: str = "") -> None:
    """Watches until the lifeline ends, then kills what the parent left.

    Args:
        parent_pid: The process that starts the engine.
        ignored: Its children that are none of the engine's.
        lifeline: Where "settled" and "done" come from.
        mark: What the engine's processes have as MARK in their environment.
    """
    left: set[psutil.Process] = set()
    settled = False
    while True:
        readable, _, _ = select.select([lifeline], [], [], None if settled else _POLL_S)
        word = lifeline.readline() if readable else b"look"
        if word == b"done\n":
            return
        if not word:
            break
        left |= set(descendants(parent_pid, ignored))
        settled = word == b"settled\n" or settled
    kill(left | {child for process in left for child in _children(process)} | _marked(mark))
    kill(_marked(mark))  # those that were just being started


def descendants(pid: int, ignored: set[int]) -> list[psutil.Process]:
    """Returns the children of a process, less the ignored and Python's own, and theirs."""
    try:
        direct = psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []
    ours = [child for child in direct if child.pid not in ignored and not _is_helper(child)]
    return [*ours, *(deeper for child in ours for deeper in _children(child))]


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs: it exists and is no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(processes: set[psutil.Process]) -> list[psutil.Process]:
    """Kills the processes that still run, and returns them."""
    alive = [process for process in processes if is_alive(process)]
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return alive


def _marked(mark: str) -> set[psutil.Process]:
    found: set[psutil.Process] = set()
    for process in psutil.process_iter() if mark else ():
        try:
            if process.environ().get(MARK) == mark:
                found.add(process)
        except (psutil.Error, OSError):  # gone, or another user's
            continue
    return found


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _is_helper(process: psutil.Process) -> bool:
    # these serve all of a Python process and clean up after it; they end by themselves
    try:
        return any(name in " ".join(process.cmdline()) for name in _HELPERS)
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


if __name__ == "__main__":
    # unbuffered: what a buffer has read already, select would not see
    with open(0, "rb", buffering=0) as lifeline:
        guard(int(sys.argv[1]), {os.getpid(), *map(int, sys.argv[3:])}, lifeline, mark=sys.argv[2])
