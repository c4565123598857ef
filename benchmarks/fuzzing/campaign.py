"""Many inputs against one door, each a function of the seed and what the ones before reached.

Input number k of a job is made by `rng_for(seed, ...k)` from the seeds and from those earlier
inputs that ended in a new way or ran through a new line; so the same seed, jobs and code
give the same inputs again.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.lines import Line, Lines
from fuzzing.trial import Door, Failure, Outcome, Target, attempt

from sllm_data.seeding import rng_for

_MAX_KEPT = 4_000
_CRAFTED_SHARE = 0.3
_WATCHED_EACH = 4
"""Watching lines costs up to twice the time: only each fourth input is watched."""
_FRESH_SHARE = 0.4
"""Of the inputs that are made from a seed as it is, not from what was kept."""


@dataclass(kw_only=True)
class Findings:
    """What a job has found so far; all that it needs to go on."""

    inputs: int = 0
    taken: int = 0
    good: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    lines: set[Line] = field(default_factory=set)
    kept: list[bytes] = field(default_factory=list)
    """Inputs that reached something new."""
    failures: dict[str, tuple[int, bytes, Failure]] = field(default_factory=dict)
    """By signature: how often, and the first one with its input."""
    seconds: float = 0.0

    def fail(self, content: bytes, failure: Failure, *, times: int = 1) -> None:
        """Counts a failure; the shortest input that shows it is kept."""
        known, shortest, first = self.failures.get(failure.signature, (0, content, failure))
        if len(content) < len(shortest):
            shortest, first = content, failure
        self.failures[failure.signature] = (known + times, shortest, first)

    def add(self, other: "Findings") -> None:
        """Adds what another job found."""
        self.inputs += other.inputs
        self.taken += other.taken
        self.good += other.good
        for mine, others in (
            (self.rejected, other.rejected),
            (self.refused, other.refused),
            (self.shapes, other.shapes),
        ):
            mine.update(others)
        self.lines |= other.lines
        self.kept += other.kept
        self.seconds = max(self.seconds, other.seconds)
        for times, content, failure in other.failures.values():
            self.fail(content, failure, times=times)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one input may take."""

    cpu_s: float = 10.0
    """Of this process, beyond which the input is a failure; three times that ends the process."""
    wall_s: float = 600.0
    """After which the process is ended, busy or not."""
    growth_bytes: int = 512 * 2**20
    """By how much the peak of memory may rise."""


class Campaign:
    """One job on one target, in this process."""

    def __init__(
        self, target: Target, door: Door, *, seed: int, guided: bool, limits: Limits
    ) -> None:
        self._target = target
        self._door = door
        self._seed = seed
        self._guided = guided
        self._limits = limits
        self._seeds = list(target.seeds())
        self._lines = Lines()
        self.findings = Findings()

    def resume(self, findings: Findings) -> None:
        """Goes on from what a job before had found."""
        self.findings = findings
        self._lines.seen = findings.lines

    def content(self, number: int) -> bytes:
        """Returns the input of a number; the first ones are the seeds as they are."""
        if number < len(self._seeds):
            return self._seeds[number]
        rng = rng_for(self._seed, f"fuzz.{self._target.name}", number)
        if self._target.craft is not None and rng.random() < _CRAFTED_SHARE:
            return self._target.craft(rng)
        kept = self.findings.kept
        fresh = not kept or rng.random() < _FRESH_SHARE
        start = rng.choice(self._seeds if fresh else kept)
        other = rng.choice(self._seeds)
        return self._target.mutator.mutate(rng, start, other)

    def run(self, numbers: Iterator[int]) -> Iterator[bytes]:
        """Yields each input before it is tried, so that a crash can be laid to it."""
        began, before = time.monotonic(), self.findings.seconds
        for number in numbers:
            content = self.content(number)
            yield content
            self._try(content)
            self.findings.seconds = before + time.monotonic() - began

    def _try(self, content: bytes) -> None:
        lines_before = len(self._lines.seen)
        _forget_peak()
        peak_before, cpu_before = _peak_bytes(), time.process_time()
        watch = self._guided and self.findings.inputs % _WATCHED_EACH == 0
        with self._lines.watched() if watch else nullcontext():
            outcome = attempt(self._door, content)
        cpu_s = time.process_time() - cpu_before
        growth = _peak_bytes() - peak_before
        self._count(content, outcome)
        if cpu_s > self._limits.cpu_s:
            self._excess(content, "hang", f"{cpu_s:.1f} s of CPU")
        if growth > self._limits.growth_bytes:
            self._excess(content, "memory", f"the peak rose by {growth / 2**20:.0f} MiB")
        is_new = self.findings.shapes[outcome.shape] == 1
        found = self.findings
        if (is_new or len(self._lines.seen) > lines_before) and len(found.kept) < _MAX_KEPT:
            found.kept.append(content)
        found.lines = self._lines.seen

    def _count(self, content: bytes, outcome: Outcome) -> None:
        found = self.findings
        found.inputs += 1
        found.shapes[outcome.shape] += 1
        if outcome.taken is not None:
            found.taken += 1
            found.good += outcome.taken.good
            found.rejected.update(outcome.taken.rejected)
        if outcome.refused is not None:
            found.refused[outcome.refused] += 1
        if outcome.failure is not None:
            found.fail(content, outcome.failure)

    def _excess(self, content: bytes, kind: str, story: str) -> None:
        self.findings.fail(content, Failure(kind=kind, where=self._target.name, story=story))


def _forget_peak() -> None:
    """Sets the peak of this process to what it holds now, whatever came before."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
