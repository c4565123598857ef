"""Does the loader's memory grow with the dataset? One pass over few and over many rows.

    python benchmarks/bench_loader_memory.py --speech FOLDER_OF_FLAC

Half a second of each file, repeated; each pass in a process of its own, whose peak of resident
memory is what counts. The first pass is over as many rows as the shuffle window holds several
times, so that it is full in both.
"""

import argparse
import io
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile
from bench_loader import GEOMETRY, write_dataset
from measuring import header, machine, row
from spoken import spoken_corpus

import sllm_data
from sllm_data.chat import ChatRenderer
from sllm_data.trainer.data.config import DataConfig, DatasetEntry
from sllm_data.trainer.data.loader import open_packs

_WINDOW = 1024
_SHARE_S = 0.5
_HOURS = 0.3  # of speech, where none is given


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--speech", type=Path, help="FLAC files; the small spoken world if absent")
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--times", type=int, default=8, help="how many times as many rows")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(_read(arguments.read))
        return
    with tempfile.TemporaryDirectory() as folder:
        speech = arguments.speech or spoken_corpus(Path(folder), hours=_HOURS)
        beginnings = [_beginning(path) for path in sorted(speech.glob("**/*.flac"))]
    print(machine("torch", "pyarrow"))
    print(f"\nshuffle window of {_WINDOW:,} rows\n")
    print(header("rows", "peak MiB", "to the first"))
    peaks: list[float] = []
    for rows in (arguments.rows, arguments.rows * arguments.times):
        with tempfile.TemporaryDirectory() as folder:
            clips = {f"clip-{k:07d}": beginnings[k % len(beginnings)] for k in range(rows)}
            root = write_dataset(Path(folder) / "dataset", clips)
            command = [sys.executable, __file__, "--read", str(root)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(float(done.stdout.split()[-1]))
        print(row(f"{rows:,}", f"{peaks[-1]:,.0f}", f"{peaks[-1] / peaks[0]:.2f}"), flush=True)


def _beginning(path: Path) -> bytes:
    samples, rate = soundfile.read(path, dtype="int16")
    content = io.BytesIO()
    soundfile.write(content, samples[: int(rate * _SHARE_S)], rate, format="FLAC")
    return content.getvalue()


def _read(root: Path) -> float:
    """Reads all packs of a pass; returns the peak of this process in MiB."""
    config = DataConfig(
        datasets=(DatasetEntry(path=root),), workers=0, shuffle_window=_WINDOW, budget=2048
    )
    renderer = ChatRenderer.load(str(Path(sllm_data.__file__).parent / "testbed/assets/backbone"))
    for _ in open_packs(config, renderer=renderer, geometry=GEOMETRY, seed=1, epochs=1):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
