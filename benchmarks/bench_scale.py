"""Scale: does memory follow the number of utterances, and what do a thousand parts cost?

    python benchmarks/bench_scale.py --rows 30000,3000000
    python benchmarks/bench_scale.py --parts 1000

--rows   a synthetic manifest of so many utterances goes through the steps, each in a process
         of its own: candidates, index, plan and, unless --no-answers, generate with the
         scripted engine, assemble; then `validate --level 1`. The audio is not made: its
         parts are written straight from the candidates, with a few bytes for each clip. Told
         are seconds and the peak memory (resident set) of the largest process of each step.
--parts  a finished dataset of so many parts of 100 rows in each table: `validate --level 0`,
         and the same `run` again, which has nothing left to do.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from measuring import header, machine, row

from sllm_data.config import RunConfig, load_config
from sllm_data.files import sha256_of_text
from sllm_data.runners import map_parts
from sllm_data.shards import TABLES, part_name, read_part, write_part
from sllm_data.steps.dataset import open_dataset
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.parts import Records, Step, finish_parts, write_rejections

_BEFORE = ("candidates",)
_ASK = ("index", "plan.main")
_ANSWER = ("generate.main", "assemble")
_SPEAKERS = 20_000
_SENTENCE = "utterance number {number} tells of a harbour where {words} ships lay at anchor"
_STEP = (
    "from sllm_data.config import load_config\nfrom sllm_data.steps import Progress, run_step\n"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What one process and its children took."""

    seconds: float
    peak_mib: float
    """Largest resident set of one of them."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="3000,30000", help="numbers of utterances, with commas")
    parser.add_argument("--parts", type=int, default=0, help="parts of 100 rows; 0 leaves it out")
    parser.add_argument("--part-size", type=int, default=2_000)
    parser.add_argument("--no-answers", action="store_true", help="stop after plan")
    parser.add_argument("--scratch", type=Path, help="where to put the datasets")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sllm-data-scale-", dir=options.scratch) as scratch:
        folder = Path(scratch)
        # in a process of its own: a child's peak counts what its parent held when it began
        made = f"write_random_backbone(__import__('pathlib').Path({str(folder / 'backbone')!r}))"
        _python(f"from sllm_data.testbed import write_random_backbone\n{made}")
        sizes = [int(size) for size in options.rows.split(",") if size]
        if sizes:
            _measure_rows(folder, sizes, options)
        if options.parts:
            _measure_parts(folder, options.parts)
    print(f"\n{machine('duckdb', 'pyarrow')}")


def _measure_rows(folder: Path, sizes: Sequence[int], options: argparse.Namespace) -> None:
    columns = []
    for size in sizes:
        run_yaml = _configuration(folder / f"rows-{size}", size, part_size=options.part_size)
        columns.append(dict(_through(run_yaml, answers=not options.no_answers, validated=True)))
    titles = [f"{size:,} {unit}" for size in sizes for unit in ("s", "MiB")]
    print(header("step", *titles, "MiB, last : first"))
    for name in columns[0]:
        spent = [column[name] for column in columns]
        cells = [text for s in spent for text in (f"{s.seconds:,.1f}", f"{s.peak_mib:,.0f}")]
        print(row(name, *cells, f"{spent[-1].peak_mib / spent[0].peak_mib:.2f}"))
    peaks = [max(spent.peak_mib for spent in column.values()) for column in columns]
    print(f"\npeak over all steps: {', '.join(f'{p:,.0f} MiB' for p in peaks)}; ")
    print(f"the largest run has {peaks[-1] / peaks[0]:.2f} of the smallest one's\n")


def _through(run_yaml: Path, *, answers: bool, validated: bool) -> Iterator[tuple[str, Spent]]:
    for name in _BEFORE:
        yield name, _step(run_yaml, name)
    _store(load_config(run_yaml))
    for name in (*_ASK, *(_ANSWER if answers else ())):
        yield name, _step(run_yaml, name)
    dataset = load_config(run_yaml).output
    if validated:
        yield "validate 1", _spent("validate", str(dataset), "--level", "1", good=(0, 1))


def _measure_parts(folder: Path, num_parts: int) -> None:
    run_yaml = _configuration(folder / "parts", 100 * num_parts, part_size=100)
    for _ in _through(run_yaml, answers=True, validated=False):
        pass
    dataset = load_config(run_yaml).output
    files = sum(1 for _ in dataset.rglob("part-*.parquet"))
    print(header("command", "s", "MiB"))
    for name, arguments in (
        ("validate --level 0", ("validate", str(dataset), "--level", "0")),
        ("run, nothing left to do", ("run", str(run_yaml))),
    ):
        spent = _spent(*arguments)
        print(row(name, f"{spent.seconds:.1f}", f"{spent.peak_mib:,.0f}"))
    print(f"\n{num_parts:,} parts of 100 rows in each table, {files:,} files in all")


def _configuration(folder: Path, num_rows: int, *, part_size: int) -> Path:
    folder.mkdir()
    with (folder / "manifest.jsonl").open("w", encoding="utf-8") as lines:
        for number in range(num_rows):
            lines.write(json.dumps(_line(number)) + "\n")
    (folder / "clip.wav").write_bytes(b"RIFF")  # never opened: its parts are written below
    document: dict[str, Any] = {
        "seed": 1,
        "output": str(folder / "dataset"),
        "part_size": part_size,
        "corpora": [
            {
                "kind": "manifest",
                "path": str(folder / "manifest.jsonl"),
                "name": "synthetic",
                "language": "en",
            }
        ],
        "backbone": {"engine": "scripted", "tokenizer": str(folder.parent / "backbone")},
        "filters": {"wrong_language": False, "copied": False},
    }
    run_yaml = folder / "run.yaml"
    run_yaml.write_text(yaml.safe_dump(document), encoding="utf-8")
    return run_yaml


def _line(number: int) -> dict[str, object]:
    words = ("ten", "twelve", "twenty", "forty")[number % 4]
    return {
        "id": f"u{number:08}",
        "audio_filepath": "clip.wav",
        "offset": float(number),
        "duration": 1.0,
        "text": _SENTENCE.format(number=number, words=words),
        "speaker": f"s{number % _SPEAKERS}",
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    number: int
    config: RunConfig
    step: Step


def _store(config: RunConfig) -> None:
    """Writes what `ingest` would, without audio: clips of a few bytes, all of them different."""
    dataset = open_dataset(config)
    step = Step(
        name="ingest",
        folders=("rejections/ingest", "audio"),
        identity=expected_identity(dataset, "ingest"),
        inputs=("candidates",),
    )
    parts = dataset.finished("candidates").parts
    numbers = range(sum(part.file.startswith("candidates/") for part in parts))

    def make(missing: Sequence[int]) -> Iterator[Records]:
        jobs = [_Job(number=k, config=config, step=step) for k in missing]
        yield from map_parts(_store_part, jobs, config.runner)

    finish_parts(dataset, step, numbers, make)


def _store_part(job: _Job) -> Records:
    root = job.config.output
    candidates = read_part(root / "candidates" / part_name(job.number)).to_pylist()
    rejected = write_rejections(root, job.step, job.number, ())
    part = write_part(
        root,
        f"audio/{part_name(job.number)}",
        map(_audio_row, candidates),
        table=TABLES["audio"],
        identity=job.step.identity,
    )
    return rejected, part


def _audio_row(candidate: dict[str, Any]) -> dict[str, Any]:
    digest = sha256_of_text(candidate["audio_id"])
    kept = ("audio_id", "transcript", "language", "speaker", "corpus_split", "source", "extra")
    return {name: candidate[name] for name in (*kept, "entry")} | {
        "audio": {"bytes": digest.encode(), "path": "clip.flac"},
        "sha256": digest,
        "pcm_sha256": digest,
        "codec": "flac/pcm_16",
        "sampling_rate": 16_000,
        "num_channels": 1,
        "num_samples": 16_000,
        "duration_s": 1.0,
    }


def _step(run_yaml: Path, name: str) -> Spent:
    code = f"{_STEP}run_step(load_config(__import__('pathlib').Path({str(run_yaml)!r})), {name!r}"
    return _python(f"{code}, Progress(None))")


def _python(code: str) -> Spent:
    return _process([sys.executable, "-c", code], good=(0,))


def _spent(*arguments: str, good: Sequence[int] = (0,)) -> Spent:
    return _process([sys.executable, "-m", "sllm_data.cli", *arguments], good=good)


def _process(command: list[str], *, good: Sequence[int]) -> Spent:
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, text=True)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in good:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{said.read()}")
    return Spent(seconds=time.perf_counter() - start, peak_mib=usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
