"""The trainer's loader beside others: clips per second out of the same clips, in one process.

    python -m venv /tmp/others && /tmp/others/bin/pip install --no-deps \
        webdataset braceexpand mosaicml-streaming python-snappy cramjam zstd catalogue brotli \
        lhotse cytoolz toolz intervaltree sortedcontainers
    PYTHONPATH=$(echo /tmp/others/lib/python3*/site-packages) \
        python benchmarks/bench_loader.py --speech FOLDER_OF_FLAC

packs      open_packs: rows read, tokenised, shuffled, packed; clips read alone, decoded, their
           features computed; a PackedBatch made
clips      rows read, tokenised, shuffled, packed; the bytes of their clips
datasets   `datasets` streaming over the same Parquet, shuffle buffer
webdataset tar files, shuffle buffer
mds        mosaicml-streaming, its own shuffle
shar       lhotse Shar with the original bytes, shards shuffled

Each way hands the bytes of every clip once, in its own shuffled order: first to nobody, which
is what reading alone costs, then to the same decoder and the same features. The ways take turns;
those that are not installed are left out, which is said. On a machine that is not quiet, CPU
time is what counts.
"""

import argparse
import importlib.util
import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from measuring import Timing, alternate, header, machine, ratios, row, spread, timed
from spoken import spoken_corpus

import sllm_data
from sllm_data.audio.decode import decode
from sllm_data.audio.features import hear, log_mel
from sllm_data.chat import ChatRenderer
from sllm_data.shards import TABLES, part_name, write_part
from sllm_data.shards.pages import StoredClips
from sllm_data.trainer.data.config import DataConfig, DatasetEntry
from sllm_data.trainer.data.loader import open_packs
from sllm_data.trainer.data.planning import Plan, Planner
from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.units import Hertz

GEOMETRY = AudioGeometry(window=17)
_HOURS = 0.3  # of speech, where none is given
_BUFFER = 1000
_PER_SHARD = 200
_NEEDS = {"webdataset": "webdataset", "mds": "streaming", "shar": "lhotse"}
_ANSWER = "They came in early and nobody on the pier had expected it."

Contents = dict[str, bytes]
Reader = Callable[[], Iterator[bytes]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--speech", type=Path, help="FLAC files; the small spoken world if absent")
    parser.add_argument("--clips", type=int, default=1_000, help="clips; files are repeated")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        speech = arguments.speech or spoken_corpus(Path(folder), hours=_HOURS)
        files = sorted(speech.glob("**/*.flac"))
        clips = {
            f"clip-{number:06d}": files[number % len(files)].read_bytes()
            for number in range(arguments.clips)
        }
        packs, readers = _ways(Path(folder), clips)
        reading = {
            name: _counted(_all_of(read, len), len(clips)) for name, read in readers.items()
        }
        for work in reading.values():
            work()  # imports, and what is made once
        read = alternate(reading, repeats=arguments.repeats)
        made = alternate(
            {"packs": _counted(packs, len(clips))}
            | {
                name: _counted(_all_of(read, _features), len(clips))
                for name, read in readers.items()
            },
            repeats=arguments.repeats,
        )
    print(machine("torch", "pyarrow", "datasets"))
    print(f"\n{len(clips)} clips of {len(files)} files, bytes alone\n")
    _report(read, len(clips), to="clips")
    print("\nDecoded, with features\n")
    _report(made, len(clips), to="packs")


def _report(timings: dict[str, list[Timing]], num_clips: int, *, to: str) -> None:
    print(header("way", "clips/s of CPU", "clips/s of wall", f"CPU time to that of {to}"))
    ours = [timing.cpu_s for timing in timings[to]]
    for name, runs in timings.items():
        cpu, wall = ([num_clips / value for value in values] for values in _times(runs))
        against = ratios([timing.cpu_s for timing in runs], ours)
        print(row(name, spread(cpu, 0), spread(wall, 0), spread(against)))


def _times(runs: list[Timing]) -> tuple[list[float], list[float]]:
    return [run.cpu_s for run in runs], [run.wall_s for run in runs]


def _counted(read: Callable[[], int], expected: int) -> Callable[[], Timing]:
    def work() -> None:
        found = read()
        if found != expected:
            raise RuntimeError(f"must give {expected} clips, gave {found}")

    return lambda: timed(work)


def _features(content: bytes) -> int:
    clip = decode(content)
    num_samples, rate = len(clip.samples), Hertz(clip.sampling_rate)
    num_heard = GEOMETRY.num_samples(num_samples, rate)
    heard = hear(clip, start=0, num_samples=num_samples, num_heard=num_heard)
    return len(log_mel(heard, mels=GEOMETRY.mels))


def _all_of(read: Reader, consume: Callable[[bytes], int]) -> Callable[[], int]:
    return lambda: sum(consume(content) > 0 for content in read())


def _ways(folder: Path, clips: Contents) -> tuple[Callable[[], int], dict[str, Reader]]:
    """Writes the clips in every layout; returns how packs and how bytes are made."""
    root = write_dataset(folder / "dataset", clips)
    config = DataConfig(datasets=(DatasetEntry(path=root),), workers=0)
    renderer = ChatRenderer.load(str(Path(sllm_data.__file__).parent / "testbed/assets/backbone"))

    def packs() -> int:
        stream = open_packs(config, renderer=renderer, geometry=GEOMETRY, seed=1, epochs=1)
        return sum(len(batch.sample_ids) for batch in stream)

    def of_plan() -> Iterator[bytes]:
        plan = Plan(config=config, renderer=renderer, geometry=GEOMETRY, seed=1, epochs=1)
        bytes_of = StoredClips(root).bytes_of
        for step in Planner(plan).rounds():
            for planned in step.packs[0]:
                for stretch in planned.encoded.stretches:
                    yield bytes_of(stretch.audio_part, stretch.audio_id)

    readers: dict[str, Reader] = {"clips": of_plan, "datasets": lambda: _from_datasets(root)}
    others: dict[str, tuple[Callable[[Path, Contents], None], Callable[[Path], Iterator[bytes]]]]
    others = {
        "webdataset": (_write_tar, _from_tar),
        "mds": (_write_mds, _from_mds),
        "shar": (_write_shar, _from_shar),
    }
    for name, (write, read) in others.items():
        if importlib.util.find_spec(_NEEDS[name]) is None:
            print(f"{name}: left out, {_NEEDS[name]} is not installed; see the top of this file")
            continue
        write(folder / name, clips)
        readers[name] = partial(read, folder / name)
    return packs, readers


def _blank(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {inner.name: _blank(inner.type) for inner in kind}
    if pa.types.is_list(kind):
        return []
    if pa.types.is_string(kind):
        return ""
    if pa.types.is_boolean(kind):
        return False
    return b"" if pa.types.is_binary(kind) else 0


def _blank_row(table: str) -> dict[str, Any]:
    return {f.name: None if f.nullable else _blank(f.type) for f in TABLES[table].arrow}


def write_dataset(root: Path, clips: Contents) -> Path:
    """Writes clips as a dataset of one row each; returns its folder."""
    items = list(clips.items())
    for part, start in enumerate(range(0, len(items), _PER_SHARD)):
        audio, samples = [], []
        for name, content in items[start : start + _PER_SHARD]:
            clip = decode(content)
            num_samples = len(clip.samples)
            audio.append(
                _blank_row("audio")
                | {
                    "audio_id": name,
                    "audio": {"bytes": content, "path": f"{name}.flac"},
                    "sampling_rate": clip.sampling_rate,
                    "num_samples": num_samples,
                }
            )
            samples.append(_sample(name, part, num_samples))
        for table, rows in (("audio", audio), ("samples", samples)):
            file = f"{table}/{part_name(part)}"
            write_part(root, file, rows, table=TABLES[table], identity="benchmark")
    return root


def _sample(name: str, part: int, num_samples: int) -> dict[str, Any]:
    heard = {"type": "audio", "audio_index": 0, "start_sample": 0, "num_samples": num_samples}
    asked = {"type": "text", "text": "Write down what is said.\n\n", "supervised": False}
    answer = {"type": "text", "text": _ANSWER, "supervised": True}
    return _blank_row("samples") | {
        "sample_id": name,
        "split": "train",
        "eval_group": "train",
        "finish_reason": "stop",
        "audio_refs": [{"audio_part": part, "audio_id": name}],
        "messages": [
            {"role": "user", "content": [asked, heard | {"supervised": False}]},
            {"role": "assistant", "content": [answer]},
        ],
        "text_messages": [],
    }


def _from_datasets(root: Path) -> Iterator[bytes]:
    import datasets  # noqa: PLC0415 - the library that is measured

    files = [str(path) for path in sorted((root / "audio").glob("*.parquet"))]
    rows = datasets.load_dataset(
        "parquet", data_files=files, split="train", streaming=True, columns=["audio"]
    )
    rows = rows.cast_column("audio", datasets.Audio(decode=False))
    for found in rows.shuffle(seed=1, buffer_size=_BUFFER):
        yield found["audio"]["bytes"]


def _write_tar(folder: Path, clips: Contents) -> None:
    folder.mkdir()
    items = list(clips.items())
    for number, start in enumerate(range(0, len(items), _PER_SHARD)):
        with tarfile.open(folder / f"{number:05d}.tar", "w") as tar:
            for name, content in items[start : start + _PER_SHARD]:
                entry = tarfile.TarInfo(f"{name}.flac")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def _from_tar(folder: Path) -> Iterator[bytes]:
    import webdataset  # noqa: PLC0415 - not in the project's environment

    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    for found in webdataset.WebDataset(urls, shardshuffle=100, seed=1).shuffle(_BUFFER):
        yield found["flac"]


def _write_mds(folder: Path, clips: Contents) -> None:
    from streaming import MDSWriter  # noqa: PLC0415 - not in the project's environment

    with MDSWriter(out=str(folder), columns={"name": "str", "audio": "bytes"}) as writer:
        for name, content in clips.items():
            writer.write({"name": name, "audio": content})


def _from_mds(folder: Path) -> Iterator[bytes]:
    from streaming import StreamingDataset  # noqa: PLC0415 - not in the project's environment
    from streaming.base.util import clean_stale_shared_memory  # noqa: PLC0415 - as above

    clean_stale_shared_memory()
    for found in StreamingDataset(local=str(folder), shuffle=True, batch_size=1):
        yield found["audio"]


def _write_shar(folder: Path, clips: Contents) -> None:
    from lhotse import Recording  # noqa: PLC0415 - not in the project's environment
    from lhotse.shar import SharWriter  # noqa: PLC0415 - as above

    folder.mkdir()
    fields = {"recording": "original"}
    with SharWriter(str(folder), fields=fields, shard_size=_PER_SHARD) as writer:
        for name, content in clips.items():
            writer.write(Recording.from_bytes(content, recording_id=name).to_cut())


def _from_shar(folder: Path) -> Iterator[bytes]:
    from lhotse import CutSet  # noqa: PLC0415 - not in the project's environment

    cuts = CutSet.from_shar(in_dir=str(folder), shuffle_shards=True, seed=1)
    for cut in cuts.shuffle(buffer_size=_BUFFER):
        yield cut.recording.sources[0].source


if __name__ == "__main__":
    main()
