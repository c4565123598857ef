"""What the benchmarks share: alternating runs, medians with their spread, Markdown rows.

A benchmark compares ways of doing the same work. They take turns, so that a machine that
slows down for a while slows all of them. Wall time is what a user waits for; CPU time of
this process and of its children that ended says the same on a machine that is not quiet.
"""

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """One run of one way."""

    wall_s: float
    cpu_s: float
    """User and system time of this process and of its children that ended meanwhile."""


def timed(work: Callable[[], object]) -> Timing:
    """Runs the work once."""
    wall, cpu = time.perf_counter(), _cpu_s()
    work()
    return Timing(wall_s=time.perf_counter() - wall, cpu_s=_cpu_s() - cpu)


def alternate(
    ways: Mapping[str, Callable[[], Timing]], *, repeats: int
) -> dict[str, list[Timing]]:
    """Runs all ways in turn, `repeats` times, each second round backwards."""
    timings: dict[str, list[Timing]] = {name: [] for name in ways}
    for number in range(repeats):
        order = list(ways)[:: -1 if number % 2 else 1]
        for name in order:
            timings[name].append(ways[name]())
    return timings


def spread(values: list[float], digits: int = 2) -> str:
    """Words values as `median (lowest to highest)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def ratios(of: list[float], to: list[float]) -> list[float]:
    """Divides round by round: both ways of a round met the same machine."""
    return [ours / baseline for ours, baseline in zip(of, to, strict=True)]


def row(*cells: object) -> str:
    """Words one row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def header(*names: str) -> str:
    """Words the head of a Markdown table; all columns but the first stand to the right."""
    return f"{row(*names)}\n|---|{'---:|' * (len(names) - 1)}"


def machine(*packages: str) -> str:
    """Says what a benchmark ran on, and how busy that is."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores; "
        f"Python {platform.python_version()}, {versions}; "
        f"load at the end {os.getloadavg()[0]:.1f} (1 minute), {os.getloadavg()[1]:.1f} (5)"
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
