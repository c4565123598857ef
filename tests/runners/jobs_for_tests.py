"""Jobs that worker processes can import: spawned ones know modules, not test functions."""

import os
import signal
import time
from pathlib import Path

from sllm_data.errors import CorpusError


def square(number: int) -> int:
    return number * number


def pid_of(_: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def fail_at_3(number: int) -> int:
    if number == 3:
        raise CorpusError("row 3 can't be read")
    return number


def mark_then_fail_at_0(folder: str) -> str:
    name = Path(folder).name
    Path(folder).touch()
    if name == "0":
        raise CorpusError("0 fails")
    time.sleep(0.2)
    return name


def be_killed_at_2(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def write_pid_and_wait(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(3600)
