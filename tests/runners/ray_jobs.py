"""Jobs for Ray workers: what they do once and no more stands in files of a folder."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ray

from sllm_data.errors import CorpusError


def square(number: int) -> int:
    return number * number


def fail_at_3(number: int) -> int:
    if number == 3:
        raise CorpusError("row 3 can't be read")
    return number


def divide(number: int) -> float:
    return 1 / number


def where(_: int) -> tuple[str, int]:
    return str(Path.cwd()), os.getpid()


def be_killed_once(folder: str) -> str:
    mark = Path(folder, "killed")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def be_killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def begin_and_wait(path: str) -> str:
    """Notes that it works, and works until FOLDER/go is there; returns how often it was begun."""
    with Path(path).open("a") as notes:
        notes.write(f"{os.getpid()} {os.environ.get('RAY_NODE_ID', '')}\n")
    while not Path(path).with_name("go").exists():
        time.sleep(0.02)
    return Path(path).read_text()


def mark_and_go(path: str) -> str:
    Path(path).touch()
    return path


class Nothing:
    """What a worker of a crew keeps that has nothing to keep."""

    def close(self) -> None:
        pass


def tell_process(
    _: Nothing, __: None, numbers: Iterator[int], post: Callable[[object], None]
) -> None:
    post(os.getpid())
    list(numbers)


def count_to_ten(
    _: Nothing, __: None, numbers: Iterator[int], post: Callable[[object], None]
) -> None:
    list(numbers)
    for number in range(10):
        post(number)


def hold_one_part(
    _: Nothing, folder: str, numbers: Iterator[int], post: Callable[[object], None]
) -> None:
    """Takes parts 0 and 1, one in each worker, finds no third, and holds them until FOLDER/go.

    FOLDER/NUMBER is the node of a part.
    """
    mine = [next(numbers)]
    Path(folder, str(mine[0])).write_text(ray.get_runtime_context().get_node_id())
    while not all(Path(folder, name).exists() for name in "01"):
        time.sleep(0.02)
    mine += numbers
    Path(folder, f"{mine[0]}.drained").touch()
    while not Path(folder, "go").exists():
        time.sleep(0.02)
    for number in mine:
        post(number)
