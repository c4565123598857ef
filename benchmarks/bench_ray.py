"""The runner `ray`: what it costs beside processes, how it scales, and a simulation to 64 workers.

    python benchmarks/bench_ray.py                  # all
    python benchmarks/bench_ray.py --parts 12 --seconds 4 --work compute

Overhead: the same parts by both runners with two workers, which take turns. A part computes for a
number of seconds, or waits for so long: on a machine that is busy with other things only
the latter says what the runner itself costs. Start-up is a map of two empty parts.

Scaling: the same parts by 1 and by 2 Ray workers, beside what the simulation says of them.

Simulation: engines that take parts from one queue, event by event. The cost model:

    a worker   begins after its engine's start, drawn within a fifth of --start-s; one in
               --straggler-every is slower by half; it dies after a time that is drawn with the
               mean --hours-to-death, its part goes back to the front, and another worker begins
    a part     takes rows / --rows-per-s, rows drawn around the mean by a log-normal of
               --spread, and the cost of the runner that was measured
    the end    when the last part is committed

Left out are the storage and the network: a part is some megabytes, written once a minute.
"""

import argparse
import heapq
import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from measuring import Timing, alternate, header, machine, ratios, row, spread, timed
from ray_parts import compute, wait

from sllm_data.runners import RunnerConfig, cluster_kept, map_parts
from sllm_data.seeding import rng_for

_WORKERS = (1, 2, 4, 8, 16, 32, 64)
_PART_SIZES = (2_000, 500, 125)
_WORK = {"compute": compute, "wait": wait}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=int, default=12, help="parts of the measured runs")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each part")
    parser.add_argument("--work", choices=_WORK, default="wait")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--utterances", type=int, default=281_000)
    parser.add_argument("--tasks", type=int, default=6, help="rows an utterance")
    parser.add_argument("--rows-per-s", type=float, default=107.0, help="of one engine")
    parser.add_argument("--start-s", type=float, default=60.0, help="of an engine")
    parser.add_argument("--spread", type=float, default=0.2)
    parser.add_argument("--straggler-every", type=int, default=16)
    parser.add_argument("--hours-to-death", type=float, default=24.0)
    options = parser.parse_args()
    overhead_s = _measure_overhead(options)
    _measure_scaling(options, overhead_s)
    _simulate_all(options, overhead_s)
    print(f"\n{machine('ray')}")


def _mapped(config: RunnerConfig, options: argparse.Namespace) -> Timing:
    jobs = [options.seconds] * options.parts
    return timed(lambda: list(map_parts(_WORK[options.work], jobs, config)))


def _measure_overhead(options: argparse.Namespace) -> float:
    """Prints both runners; returns what Ray adds to a part, in seconds of a worker."""
    configs = {
        "processes": RunnerConfig(kind="processes", workers=2),
        "ray": RunnerConfig(kind="ray", workers=2),
    }
    starts: dict[str, float] = {}
    with cluster_kept():
        for name, config in configs.items():
            empty = partial(map_parts, wait, [0.0, 0.0], config)
            starts[name] = timed(lambda work=empty: list(work())).wall_s
        runs = alternate(
            {name: partial(_mapped, config, options) for name, config in configs.items()},
            repeats=options.repeats,
        )
    walls = {name: [timing.wall_s for timing in timings] for name, timings in runs.items()}
    ideal = options.parts * options.seconds / 2
    print(header("runner", "start, s", "all parts, s", "beside the work alone"))
    for name, seconds in walls.items():
        print(
            row(name, f"{starts[name]:.1f}", spread(seconds), spread([s / ideal for s in seconds]))
        )
    print(f"\nray : processes {spread(ratios(walls['ray'], walls['processes']), 3)}; ", end="")
    print(f"{options.parts} parts that {options.work} for {options.seconds:g} s, two workers\n")
    return max(0.0, (statistics.median(walls["ray"]) - ideal) * 2 / options.parts)


def _measure_scaling(options: argparse.Namespace, overhead_s: float) -> None:
    measured = {}
    for workers in (1, 2):
        config = RunnerConfig(kind="ray", workers=workers)
        with cluster_kept():
            list(map_parts(wait, [0.0, 0.0], config))
            measured[workers] = _mapped(config, options).wall_s
    print(header("Ray workers", "measured, s", "speed-up", "simulated, s"))
    for workers, seconds in measured.items():
        model = _Model(workers=workers, start_s=0, overhead_s=overhead_s)
        simulated = simulate(model, [options.seconds] * options.parts).seconds
        print(row(workers, f"{seconds:.1f}", f"{measured[1] / seconds:.2f}", f"{simulated:.1f}"))
    print()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Model:
    """What workers are like."""

    workers: int
    start_s: float
    overhead_s: float
    straggler_every: int = 0
    """One in so many is slower by half; 0: none."""
    death_s: float = math.inf
    """Mean time until one dies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Simulated:
    seconds: float
    """Until the last part is committed."""
    idle: float
    """Share of the workers' time for which nothing was left to take."""
    deaths: int


def simulate(model: _Model, parts: Sequence[float]) -> _Simulated:
    """Plays a run event by event.

    1. The worker that is free first takes the first part of the queue.
    2. If it dies before it is done, the part goes back, and a new worker begins to start.
    3. Else it is free again when the part is committed.

    Costs O(parts log workers).
    """
    chance = rng_for(1, "bench_ray", str(model.workers))
    waiting = deque(parts)
    slow = [
        1.5 if model.straggler_every and k % model.straggler_every == 0 else 1.0
        for k in range(1, model.workers + 1)
    ]

    def begins(now: float) -> float:
        return now + model.start_s * chance.uniform(0.9, 1.1)

    def dies(now: float) -> float:
        return now + (chance.expovariate(1 / model.death_s) if model.death_s < math.inf else 1e18)

    free = []
    for k in range(model.workers):
        begun = begins(0.0)
        free.append((begun, k, dies(begun)))
    heapq.heapify(free)
    ends = [0.0] * model.workers
    deaths = 0
    while waiting:
        now, k, death = heapq.heappop(free)
        part = waiting.popleft()
        done = now + part * slow[k] + model.overhead_s
        if death < done:
            waiting.appendleft(part)
            deaths += 1
            begun = begins(death)
            heapq.heappush(free, (begun, k, dies(begun)))
            continue
        ends[k] = done
        heapq.heappush(free, (done, k, death))
    last = max(ends)
    idle = sum(last - end for end in ends) / (model.workers * last)
    return _Simulated(seconds=last, idle=idle, deaths=deaths)


def _simulate_all(options: argparse.Namespace, overhead_s: float) -> None:
    columns = [f"{size:,} a part, {unit}" for size in _PART_SIZES for unit in ("h", "of ideal")]
    print(header("workers", *columns, "deaths"))
    for workers in _WORKERS:
        cells, deaths = [], []
        for size in _PART_SIZES:
            parts = _parts(options, size)
            model = _Model(
                workers=workers,
                start_s=options.start_s,
                overhead_s=overhead_s,
                straggler_every=options.straggler_every,
                death_s=options.hours_to_death * 3600,
            )
            told = simulate(model, parts)
            slow = workers // options.straggler_every if options.straggler_every else 0
            ideal = sum(parts) / (workers - slow + slow / 1.5)
            cells += [f"{told.seconds / 3600:.2f}", f"{ideal / told.seconds:.0%}"]
            deaths.append(str(told.deaths))
        print(row(workers, *cells, " ".join(deaths)))


def _parts(options: argparse.Namespace, size: int) -> list[float]:
    """Seconds of each part on an engine of usual speed."""
    chance = rng_for(1, "bench_ray", f"parts of {size}")
    count = -(-options.utterances // size)
    # parts of fewer rows differ more from one another
    sigma = options.spread * math.sqrt(_PART_SIZES[0] / size)
    sizes = [chance.lognormvariate(-sigma * sigma / 2, sigma) for _ in range(count)]
    return [share * size * options.tasks / options.rows_per_s for share in sizes]


if __name__ == "__main__":
    main()
