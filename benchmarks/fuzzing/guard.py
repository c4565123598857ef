"""Jobs in processes of their own: what a crash, a hang or a leak does to one is a finding.

    parent                                  job (one process)
      starts it with what is known    ──>     makes the inputs from there on
      watches the slot: which input?  <──     writes each input there before it tries it
      keeps what it reports           <──     reports all it found every few hundred inputs

A process that dies, or stays at one input for too long, is ended; its input is a failure; the
next process goes on with the input after it.
"""

import faulthandler
import mmap
import multiprocessing
import os
import re
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
from fuzzing.campaign import Campaign, Findings, Limits
from fuzzing.targets import PLANTED, TARGETS
from fuzzing.trial import Failure, close

_CHECKPOINT = 500
_POLL_S = 0.5
_HEADER = 16
_SLOT = _HEADER + (1 << 20)
_START_S = 600.0
_PATIENCE = 3  # times what one input may take, before the process is ended
_AT_OURS = re.compile(r'File "([^"]*(?:/sllm_data/|_doors)[^"]*)", line (\d+)')


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A share of the inputs of one target: those whose number leaves `first` modulo `step`."""

    target: str
    seed: int
    inputs: int
    first: int
    step: int
    folder: Path
    limits: Limits
    guided: bool = True
    memory_bytes: int = 2 * 2**30
    """What the process may take beyond what it has when it is ready."""


class _Slot:
    """The input that a job is at, in a file that both processes map."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SLOT))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SLOT)

    def put(self, number: int, content: bytes) -> None:
        self._map[_HEADER : _HEADER + len(content)] = content
        self._map[:_HEADER] = number.to_bytes(8, "little") + len(content).to_bytes(8, "little")

    def number(self) -> int:
        return int.from_bytes(self._map[:8], "little")

    def content(self) -> bytes:
        length = int.from_bytes(self._map[8:_HEADER], "little")
        return self._map[_HEADER : _HEADER + length]


@dataclass
class Watched:
    """One job with the process that is at it."""

    job: Job
    findings: Findings = field(default_factory=Findings)
    next_number: int = 0
    skipped: set[int] = field(default_factory=set)
    process: BaseProcess | None = None

    def __post_init__(self) -> None:
        self.next_number = self.job.first
        self.job.folder.mkdir(parents=True, exist_ok=True)
        self._slot = _Slot(self.job.folder / "slot")
        self._stack = self.job.folder / "stack"
        self._inbox: Connection | None = None
        self._at, self._since_s, self._since_cpu_s = 0, 0.0, 0.0

    def start(self) -> None:
        """Starts a process where the last one ended."""
        context = multiprocessing.get_context("spawn")
        self._inbox, outbox = context.Pipe(duplex=False)
        self._slot.put(0, b"")
        self._at, self._since_s, self._since_cpu_s = 0, time.monotonic(), 0.0
        arguments = (self.job, self.findings, self.next_number, self.skipped, outbox)
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        outbox.close()

    def look(self) -> bool:
        """Takes what the process reports; returns whether the job has come to its end."""
        if self.process is None or self._inbox is None:
            self.start()
            return False
        is_dead = not self.process.is_alive()
        try:
            while self._inbox.poll():
                self.next_number, self.findings = self._inbox.recv()
        except EOFError:
            is_dead = True
        if self.next_number >= self.job.inputs:
            self.process.join()
            return True
        if is_dead:
            self.process.join()
            self._lay_to_input(*_death(self.process.exitcode or 0))
        elif self._is_stuck():
            os.kill(self.process.pid or 0, signal.SIGUSR1)  # writes down where it is
            time.sleep(_POLL_S)
            self.process.kill()
            self.process.join()
            self._lay_to_input("hang", "the process was at it for too long")
        return False

    def _is_stuck(self) -> bool:
        """Whether it has been at one input for too long; on a busy machine time tells little."""
        number, limits = self._slot.number(), self.job.limits
        now_s, cpu_s = time.monotonic(), _cpu_s(self.process.pid if self.process else None)
        if number != self._at:
            self._at, self._since_s, self._since_cpu_s = number, now_s, cpu_s
        if number == 0:
            return now_s - self._since_s > _START_S
        is_busy = cpu_s - self._since_cpu_s > _PATIENCE * limits.cpu_s
        return is_busy or now_s - self._since_s > limits.wall_s

    def _lay_to_input(self, kind: str, story: str) -> None:
        number, content = self._slot.number() - 1, self._slot.content()
        stack = self._stack.read_text(errors="replace") if self._stack.exists() else ""
        if number < 0:
            raise RuntimeError(f"{self.job.target}: the job can't start: {story}\n{stack}")
        at = _AT_OURS.search(stack)  # the innermost line comes first
        where = f"{Path(at[1]).name}:{at[2]}" if at else "?"
        failure = Failure(kind=kind, where=where, story=f"{story}\n{stack}")
        self.findings.fail(content, failure)
        self.findings.inputs += 1
        self.skipped.add(number)
        self.process = None


def run_jobs(jobs: Sequence[Job]) -> Findings:
    """Runs the jobs of one target side by side; returns what all of them found."""
    watched = [Watched(job) for job in jobs]
    waiting = list(watched)
    while waiting:
        waiting = [each for each in waiting if not each.look()]
        time.sleep(_POLL_S)
    found = Findings()
    for each in watched:
        found.add(each.findings)
    return found


def _cpu_s(pid: int | None) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _death(exit_code: int) -> tuple[str, str]:
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        return name, f"the process died of {name}"
    return "exit", f"the process ended with status {exit_code}"


def _work(job: Job, findings: Findings, start: int, skipped: set[int], outbox: Connection) -> None:
    stack = (job.folder / "stack").open("w")
    faulthandler.enable(stack)
    faulthandler.register(signal.SIGUSR1, stack, all_threads=True)
    slot = _Slot(job.folder / "slot")
    target = (TARGETS | PLANTED)[job.target]
    corpus = job.folder / f"door-{start}-{len(skipped)}"
    corpus.mkdir()
    door = target.open(corpus)
    campaign = Campaign(target, door, seed=job.seed, guided=job.guided, limits=job.limits)
    campaign.resume(findings)
    _bound_memory(job.memory_bytes)
    current = [start]

    def numbers() -> Iterator[int]:
        for number in range(start, job.inputs, job.step):
            if (number - job.first) // job.step % _CHECKPOINT == 0 and number > start:
                outbox.send((number, campaign.findings))
            if number not in skipped:
                current[0] = number
                yield number

    for content in campaign.run(numbers()):
        slot.put(current[0] + 1, content)
    close(door)
    outbox.send((job.inputs, campaign.findings))


def _bound_memory(extra: int) -> None:
    """Sets the most that this process may map: what it maps now, and so much more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bound = pages * resource.getpagesize() + extra
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
