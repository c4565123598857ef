"""ingest of FLAC: clips per second, against a bare loop over the same files.

    python benchmarks/bench_ingest.py --flac LibriSpeech

bare      reads each file, decodes it with soundfile to 16 bit, SHA-256 of its bytes and of
          its samples; one process per core (`multiprocessing`, spawn), batches as large as
          a part
barest    the same without the hash of the samples
ingest    the step: as bare, plus the checks, and the Parquet parts with fsync, rename and
          manifest; one process per core

The corpus is made of the FLAC files below --flac (default: those of $SLLM_REAL_SPEECH, and
synthetic speech where that is unset), copied under new ids, in each copy one sample moved by
one step so that no two clips are equal. Starting processes costs both ways seconds, whatever
the corpus; so a small corpus is measured too, and what the large one takes beyond it is the
steady state.
"""

import argparse
import hashlib
import io
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from measuring import Timing, alternate, header, machine, ratios, row, spread, timed

from sllm_data.config import resolve
from sllm_data.steps.dataset import Dataset, open_dataset
from sllm_data.steps.ingest import ingest
from sllm_data.steps.listing import list_candidates
from sllm_data.steps.progress import Progress
from sllm_data.testbed import write_librispeech

TARGET = 0.8
_SMALL, _REST = "train-small", "train-rest"
_NUM_SMALL = 1_000
_NUM_SPOKEN = 200
_CHAPTER = 50  # clips
_FIRST_READER = 9_001
_WAYS = ("barest", "bare", "ingest")


def main() -> None:
    options = _options()
    if options.num_clips <= _NUM_SMALL:
        raise SystemExit(f"--num-clips must be above {_NUM_SMALL:,}, got {options.num_clips:,}")
    with tempfile.TemporaryDirectory(prefix="sllm-data-bench-", dir=options.scratch) as scratch:
        folder = Path(scratch)
        seconds = _write_corpus(folder, _sources(options.flac, folder), options.num_clips)
        cores = len(os.sched_getaffinity(0))
        size = sum(path.stat().st_size for path in _files(folder))
        kind = "synthetic" if options.flac is None else "recorded"
        print(
            f"{options.num_clips:,} clips, {seconds / 3600:.1f} h, {size / 2**20:,.0f} MiB of "
            f"FLAC ({kind} speech); parts of {options.part_size}; {cores} processes; "
            f"{options.repeats} rounds; target {TARGET:g} of the bare loop\n"
        )
        _measure(folder, options, cores)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    speech = os.environ.get("SLLM_REAL_SPEECH")
    parser.add_argument("--flac", type=Path, default=Path(speech) if speech else None)
    parser.add_argument("--num-clips", type=int, default=4_000, help="default 4000")
    parser.add_argument("--part-size", type=int, default=500, help="default 500")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--scratch", type=Path, help="where to put corpus and dataset")
    return parser.parse_args()


def _sources(flac: Path | None, folder: Path) -> list[Path]:
    if flac is None:
        write_librispeech(folder / "testbed", subsets={"train": _NUM_SPOKEN}, seed=1)
        flac = folder / "testbed"
    found = sorted(flac.rglob("*.flac"))
    if not found:
        raise SystemExit(f"--flac: {flac} must hold .flac files, there is none")
    return found


def _write_corpus(folder: Path, sources: Sequence[Path], num_clips: int) -> float:
    seconds = 0.0
    lines: dict[Path, list[str]] = {}
    for number, source in enumerate(islice(cycle(sources), num_clips)):
        subset = _SMALL if number < _NUM_SMALL else _REST
        reader, chapter = _FIRST_READER + number // _CHAPTER, 1
        name = f"{reader}-{chapter}-{number % _CHAPTER:04}"
        home = folder / "LibriSpeech" / subset / str(reader) / str(chapter)
        home.mkdir(parents=True, exist_ok=True)
        samples, rate = soundfile.read(source, dtype="int16")
        samples.flat[number % samples.size] ^= 1
        soundfile.write(home / f"{name}.flac", samples, rate, subtype="PCM_16")
        seconds += len(samples) / rate
        transcript = home / f"{reader}-{chapter}.trans.txt"
        lines.setdefault(transcript, []).append(f"{name} COPY NUMBER {number}\n")
    for transcript, texts in lines.items():
        transcript.write_text("".join(texts), encoding="utf-8")
    return seconds


def _files(folder: Path, *subsets: str) -> list[Path]:
    root = folder / "LibriSpeech"
    return sorted(
        path for name in subsets or (_SMALL, _REST) for path in (root / name).rglob("*.flac")
    )


def _measure(folder: Path, options: argparse.Namespace, cores: int) -> None:
    corpora = {"small": (_SMALL,), "large": (_SMALL, _REST)}
    files = {name: _files(folder, *subsets) for name, subsets in corpora.items()}
    datasets = {
        name: _dataset(folder, name, subsets, options.part_size)
        for name, subsets in corpora.items()
    }
    ways = {}
    for name in corpora:
        for way, work in (("bare", _decode_and_hash), ("barest", _decode_and_hash_bytes)):
            ways[f"{way} {name}"] = lambda name=name, work=work: timed(
                lambda: _bare(work, files[name], options.part_size, cores)
            )
        ways[f"ingest {name}"] = lambda name=name: _ingest(datasets[name])
    timings = alternate(ways, repeats=options.repeats)
    rates = ("barest, clips/s", "bare, clips/s", "ingest, clips/s")
    print(header("what", *rates, "ingest : barest", "ingest : bare"))
    for what, rate in _rates(timings, {name: len(found) for name, found in files.items()}):
        cells = [spread(rate[way], 0) for way in _WAYS]
        cells += [spread(ratios(rate["ingest"], rate[way])) for way in ("barest", "bare")]
        print(row(what, *cells))
    print(f"\n{machine('soundfile', 'pyarrow')}")


def _dataset(folder: Path, name: str, subsets: Sequence[str], part_size: int) -> Dataset:
    config = resolve(
        {
            "seed": 1,
            "output": str(folder / f"dataset-{name}"),
            "part_size": part_size,
            "corpora": [
                {
                    "kind": "librispeech",
                    "path": str(folder / "LibriSpeech"),
                    "subsets": list(subsets),
                }
            ],
            "backbone": {"engine": "scripted"},
        },
        where="benchmark",
    )
    dataset = open_dataset(config)
    list_candidates(dataset)
    return dataset


def _ingest(dataset: Dataset) -> Timing:
    for written in ("audio", "rejections/ingest"):
        shutil.rmtree(dataset.root / written, ignore_errors=True)
    dataset.manifest_path("ingest").unlink(missing_ok=True)
    os.sync()  # what earlier rounds left to write is not ours
    return timed(lambda: ingest(dataset, Progress(None)))


def _bare(
    work: Callable[[Sequence[Path]], object], files: Sequence[Path], batch: int, cores: int
) -> None:
    batches = [files[start : start + batch] for start in range(0, len(files), batch)]
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        for _ in pool.imap_unordered(work, batches):
            pass
        pool.close()
        pool.join()


def _decode_and_hash(files: Sequence[Path]) -> list[tuple[str, str]]:
    return [
        (hashlib.sha256(content).hexdigest(), hashlib.sha256(samples.data).hexdigest())
        for content, samples in _decoded(files)
    ]


def _decode_and_hash_bytes(files: Sequence[Path]) -> list[tuple[str, int]]:
    return [
        (hashlib.sha256(content).hexdigest(), len(samples)) for content, samples in _decoded(files)
    ]


def _decoded(files: Sequence[Path]) -> Iterator[tuple[bytes, npt.NDArray[np.int16]]]:
    for path in files:
        content = path.read_bytes()
        yield content, soundfile.read(io.BytesIO(content), dtype="int16")[0]


def _rates(
    timings: dict[str, list[Timing]], counts: dict[str, int]
) -> Iterator[tuple[str, dict[str, list[float]]]]:
    beyond = counts["large"] - counts["small"]

    def whole(way: str) -> list[float]:
        return [counts["large"] / t.wall_s for t in timings[f"{way} large"]]

    def steady(way: str) -> list[float]:
        pairs = zip(timings[f"{way} large"], timings[f"{way} small"], strict=True)
        return [beyond / (large.wall_s - small.wall_s) for large, small in pairs]

    def per_cpu_s(way: str) -> list[float]:
        pairs = zip(timings[f"{way} large"], timings[f"{way} small"], strict=True)
        return [beyond / (large.cpu_s - small.cpu_s) for large, small in pairs]

    yield "all of it, process start included", {way: whole(way) for way in _WAYS}
    yield "steady state", {way: steady(way) for way in _WAYS}
    yield "steady state, per CPU second", {way: per_cpu_s(way) for way in _WAYS}


if __name__ == "__main__":
    main()
