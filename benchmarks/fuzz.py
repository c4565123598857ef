"""Fuzzing: damaged and hostile inputs against every door of the package.

    python benchmarks/fuzz.py --inputs 100000 --target all --seed 1 --jobs 2
    python benchmarks/fuzz.py --replay fuzz-out/tsv-0123456789ab.bin

Each input is a good one that was changed (see `fuzzing.mutating`), or one of those that came
before and reached something new. It goes through the door that a user's file goes through.
Good values, rejections and the project's own errors may come out; everything else is a
failure, and so is an input that takes longer than --cpu-s or more than 512 MiB, or that
ends the process. Failing inputs are kept in --out, with what was seen; exit status 1.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from fuzzing.campaign import Findings, Limits
from fuzzing.guard import Job, run_jobs
from fuzzing.targets import PLANTED, TARGETS
from fuzzing.trial import attempt, close
from measuring import header, machine, row

from sllm_data.files import sha256_of_bytes

_ALL = TARGETS | PLANTED


def main() -> None:
    options = _options()
    if options.replay is not None:
        sys.exit(_replay(options))
    names = list(TARGETS) if options.target == "all" else options.target.split(",")
    unknown = [name for name in names if name not in _ALL]
    if unknown:
        raise SystemExit(f"--target: {unknown[0]} must be all or some of {', '.join(TARGETS)}")
    print(header("door", *_COLUMNS), flush=True)
    failed = False
    for name in names:
        findings = _fuzz(name, options)
        print(_row(name, findings), flush=True)
        failed |= bool(findings.failures)
        _save(name, findings, options.out)
    print(f"\nseed {options.seed}, {options.jobs} jobs; {machine('soundfile', 'pyarrow')}")
    sys.exit(1 if failed else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", default="all", help=f"all, or some of {','.join(TARGETS)}")
    parser.add_argument("--inputs", type=int, default=2_000, help="for each door (default 2000)")
    parser.add_argument("--seed", type=int, default=1, help="default 1")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--cpu-s", type=float, default=10.0, help="for one input (default 10)")
    parser.add_argument("--out", type=Path, default=Path("fuzz-out"), help="default fuzz-out")
    parser.add_argument("--scratch", type=Path, help="where to put corpora; best in memory")
    parser.add_argument("--replay", type=Path, help="try one kept input, print what comes of it")
    return parser.parse_args()


def _fuzz(name: str, options: argparse.Namespace) -> Findings:
    limits = Limits(cpu_s=options.cpu_s)
    with tempfile.TemporaryDirectory(prefix="sllm-data-fuzz-", dir=options.scratch) as scratch:
        jobs = [
            Job(
                target=name,
                seed=options.seed,
                inputs=options.inputs,
                first=first,
                step=options.jobs,
                folder=Path(scratch) / str(first),
                limits=limits,
            )
            for first in range(options.jobs)
        ]
        return run_jobs(jobs)


_COLUMNS = (
    *("inputs", "per second", "taken", "good rows", "rejected rows", "refused", "ways to end"),
    *("lines reached", "failures"),
)


def _row(name: str, found: Findings) -> str:
    return row(
        name,
        f"{found.inputs:,}",
        f"{found.inputs / max(found.seconds, 1e-9):,.0f}",
        f"{found.taken:,}",
        f"{found.good:,}",
        _counted(found.rejected),
        _counted(found.refused),
        f"{len(found.shapes):,}",
        f"{len(found.lines):,}",
        sum(times for times, _, _ in found.failures.values()),
    )


def _counted(counts: Mapping[str, int]) -> str:
    named = [f"{name} {number:,}" for name, number in Counter(counts).most_common()]
    return ", ".join(named) or "0"


def _save(name: str, found: Findings, out: Path) -> None:
    for signature, (times, content, failure) in sorted(found.failures.items()):
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{name}-{sha256_of_bytes(content)[:12]}.bin"
        path.write_bytes(content)
        path.with_suffix(".txt").write_text(f"{signature}, {times} times\n\n{failure.story}")
        print(f"  failure: {signature}, {times} times: {path}", file=sys.stderr)


def _replay(options: argparse.Namespace) -> int:
    path: Path = options.replay
    name = path.name.rpartition("-")[0] if options.target == "all" else options.target
    if name not in _ALL:
        raise SystemExit(f"--replay: give --target, one of {', '.join(TARGETS)}")
    with tempfile.TemporaryDirectory(prefix="sllm-data-fuzz-") as scratch:
        door = _ALL[name].open(Path(scratch))
        outcome = attempt(door, path.read_bytes())
        close(door)
    print(outcome.failure.story if outcome.failure else outcome.shape)
    return 1 if outcome.failure else 0


if __name__ == "__main__":
    main()
