"""The real command, broken at a moment, looked at, and run again.

    start ─> an event ─> break ─> everything of it is gone ─> what stands is whole
      └──────────────────────── the same command again <───────────────┘

A run is `sllm-data run run.yaml` in a session of its own, with a mark in its environment:
by that mark its processes are found wherever they went. Nothing here waits for a time to
pass: runs are broken at events (`watching`), and waits end with what is waited for.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.faults.watching import Event, FolderWatch

REPOSITORY = Path(__file__).parents[2]
SEED = int(os.environ.get("SLLM_FAULT_SEED", "1"))
LONGEST_DELAY_S = 0.01
TABLES = {
    "candidates": "candidates",
    "ingest": "audio",
    "index": "index",
    "plan.main": "requests/main",
    "generate.main": "responses/main",
    "assemble": "samples",
}
STEPS = tuple(TABLES)
"""Of a run with the main pass alone; with the folder of each one's table."""
_MARK = "SLLM_FAULT_RUN"
_GONE_S = 60.0
_GLANCE_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a run ended."""

    status: int
    """Exit status; minus the signal where one ended it."""
    said: str
    """Standard error."""
    reported: str
    """Standard output."""


class Run:
    """One `sllm-data run`, started.

    Args:
        run_yaml: Its configuration; standard output and error go to files beside it.
        options: More arguments.
        before: A command in front of this one, that breaks it or its surroundings.
        program: What Python runs, in place of `sllm-data run`.
        environment: Over the one of the tests.
    """

    def __init__(
        self,
        run_yaml: Path,
        options: Sequence[str] = (),
        *,
        before: Sequence[str] = (),
        program: Sequence[str] = ("-m", "sllm_data.cli", "run"),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._mark = f"{_MARK}={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self._said, self._reported = run_yaml.with_suffix(".err"), run_yaml.with_suffix(".out")
        command = [*before, sys.executable, *program, str(run_yaml), *options]
        with self._said.open("wb") as said, self._reported.open("wb") as reported:
            self.process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdout=reported,
                stderr=said,
                start_new_session=True,
                env={**os.environ, **(environment or {}), name: value},
                # a shell starts background jobs with SIGINT ignored, and children inherit that
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
            )

    def wait(self) -> Ended:
        """Waits for its end, and for that of everything that it has started."""
        status = self.process.wait()
        left = self._wait_until_all_are_gone()
        assert not left, f"left over {_GONE_S:g} s after the end: {left}"
        return Ended(
            status=status,
            said=self._said.read_text(errors="replace"),
            reported=self._reported.read_text(errors="replace"),
        )

    def kill(self, how: int = signal.SIGKILL, *, group: bool = False) -> None:
        """Sends a signal to the process, or to all of its session that stayed in its group."""
        if group:
            os.killpg(self.process.pid, how)
        else:
            self.process.send_signal(how)

    def family(self) -> dict[int, str]:
        """The processes that run with its mark: their command lines by process id."""
        return dict(_marked(self._mark.encode()))

    def _wait_until_all_are_gone(self) -> dict[int, str]:
        until = time.monotonic() + _GONE_S
        while (left := self.family()) and time.monotonic() < until:
            time.sleep(_GLANCE_S)
        return left


def _marked(mark: bytes) -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                yield int(folder.name), command
        except OSError:  # it is gone by now, or was never ours
            continue


def finish(run_yaml: Path, options: Sequence[str] = (), **others: Sequence[str]) -> Ended:
    """Runs the same command, undisturbed, to its good end."""
    ended = Run(run_yaml, options, **others).wait()
    assert ended.status == 0, ended.said
    return ended


def recorded(run_yaml: Path, root: Path, options: Sequence[str] = ()) -> list[Event]:
    """Runs undisturbed; returns what happened below `root`, in its order."""
    root.mkdir(exist_ok=True)
    with closing(FolderWatch(root)) as watch:
        run = Run(run_yaml, options)
        events = list(events_of(run, watch))
        ended = run.wait()
    assert ended.status == 0, ended.said
    return events


def events_of(run: Run, watch: FolderWatch) -> Iterator[Event]:
    """Yields events until the run has ended and all are told."""
    while run.process.poll() is None:
        yield from watch.events(_GLANCE_S)
    while last := list(watch.events(0)):
        yield from last


def wait_for(
    run: Run, watch: FolderWatch, meant: Callable[[Event], bool], *, nth: int = 1
) -> Event:
    """Waits for the n-th of the events that are meant, from 1."""
    for event in events_of(run, watch):
        nth -= meant(event)
        if not nth:
            return event
    raise AssertionError(f"ended before it happened: {run.wait().said}")


def kill_again_and_again(
    run_yaml: Path,
    events: Sequence[Event],
    count: int,
    *,
    options: Sequence[str] = (),
    look: Callable[[], None],
) -> list[Event]:
    """Runs a command `count` times and kills it each time, later and later.

    Args:
        run_yaml: Its configuration; FOLDER/run.yaml has its dataset in FOLDER/dataset.
        events: Of an undisturbed run. One moment is drawn from each of `count` equal slices
            of it; a run is killed at its first event that is as late as the moment.
        count: How often.
        options: More arguments of the command.
        look: Called after each kill, when all processes are gone.

    Returns:
        The events at which it was killed.
    """
    chance = random.Random(SEED)
    root = run_yaml.parent / "dataset"
    root.mkdir(exist_ok=True)
    ranks = {event: rank for rank, event in enumerate(events)}
    killed: list[Event] = []
    for k in range(count):
        moment = int(len(events) / count * (k + chance.random()))
        with closing(FolderWatch(root)) as watch:
            run = Run(run_yaml, options)
            killed.append(wait_for(run, watch, lambda event, m=moment: ranks.get(event, -1) >= m))
            time.sleep(chance.uniform(0, LONGEST_DELAY_S))
            run.kill(group=chance.random() < 0.5)
            assert run.wait().status == -signal.SIGKILL
        look()
    return killed


def step_of(path: str) -> str:
    """The step that a file of a dataset belongs to; its folder where it belongs to none."""
    folder, _, name = path.rpartition("/")
    match folder.split("/"):
        case ["rejections", step]:
            return step
        case ["requests", turn]:
            return f"plan.{turn}"
        case ["responses", turn]:
            return f"generate.{turn}"
        case ["manifest" | "reports"]:
            return name.removeprefix(".").partition(".json")[0].removesuffix(".course")
        case [table]:
            return {"audio": "ingest", "samples": "assemble", ".work": "candidates"}.get(
                table, table
            )
        case _:
            return folder


def rewound(whole: Path, root: Path, *, to: str) -> Path:
    """Copies a finished dataset of the main pass and takes out what a step and later ones made."""
    shutil.copytree(whole, root)
    for step in STEPS[STEPS.index(to) :]:
        (root / f"manifest/{step}.json").unlink()
        shutil.rmtree(root / f"rejections/{step}")
        shutil.rmtree(root / TABLES[step])
    return root


def assert_one_sentence(ended: Ended) -> None:
    """What the user is told of a fault: one line, and no traceback."""
    assert ended.status == 2, (ended.status, ended.said)
    lines = ended.said.splitlines()
    assert len(lines) == 1, ended.said
    assert lines[0].startswith("error: "), ended.said
