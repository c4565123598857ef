"""Ends the processes of a run's own Ray cluster when the run is gone, and removes their folder.

Run as a program, by its path, beside a cluster: Ray's agents look for their cluster for a while
before they end, and a killed run can't wait for them. The run holds the other end of this
program's standard input: its end, whatever the reason, is the cluster's. Ray's own processes are
children of the run that name the folder; what they start is noted as it appears.
"""

import os
import select
import shutil
import sys
from contextlib import suppress

import psutil

_LOOK_S = 0.5
_END_S = 10.0


def main(run: int, folder: str) -> None:
    """Notes what belongs to the cluster until standard input ends, then kills it."""
    noted: set[psutil.Process] = set()
    while True:
        readable, _, _ = select.select([sys.stdin.buffer], [], [], _LOOK_S)
        if readable and not sys.stdin.buffer.read(1):
            break
        noted |= _below(run, folder)
    noted |= {child for process in noted for child in _children(process)}
    for process in noted:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(noted, timeout=_END_S)
    shutil.rmtree(folder, ignore_errors=True)


def _below(run: int, folder: str) -> set[psutil.Process]:
    found: set[psutil.Process] = set()
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(run).children():
            if child.pid == os.getpid():
                continue
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if any(folder in argument for argument in child.cmdline()):
                    found |= {child, *_children(child)}
    return found


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
