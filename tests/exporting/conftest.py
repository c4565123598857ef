"""Datasets to export: one of the spoken world with everything the pipeline makes, and odd rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from made_datasets import Made, audio_row, flac, noise

from sllm_data.config import resolve
from sllm_data.exporting import Report, Selection, plan_export, write_export
from sllm_data.runners import RunnerConfig
from sllm_data.steps import Progress, run_all
from sllm_data.steps.speak import speak_world
from sllm_data.testbed.spoken_world import WorldCorpus
from tests.exporting.shapes import RATE, plain_row

Row = dict[str, Any]


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the pipeline: whole and cut clips, one turn and several."""
    folder = tmp_path_factory.mktemp("spoken")
    world = folder / "LibriSpeech"
    corpus = WorldCorpus(hours=0.03, layout="librispeech", seed=4)
    speak_world(world, corpus, RunnerConfig(kind="serial"), Progress(None))
    terms = {"version": "demo", "licence": "CC0-1.0", "attribution": "the world | its voices"}
    document = {
        "seed": 1,
        "output": str(folder / "dataset"),
        "part_size": 8,
        "corpora": [{"kind": "librispeech", "path": str(world)} | terms],
        "recipe": "testbed",
        "backbone": {"engine": "scripted"},
        "alignment": {"backend": "files", "files": str(world)},
        "interleave": {"chance": 0.5, "speech_share": 0.5, "span_words": [3, 6]},
        "followup": {"chance": 0.3},
        "filters": {"wrong_language": False, "copied": False, "truncated": "drop"},
        "runner": {"kind": "serial"},
        "max_rejected_fraction": 1.0,
    }
    for _ in run_all(resolve(document, where="test"), Progress(None)):
        pass
    return folder / "dataset"


@pytest.fixture(scope="session")
def spoken_rows(spoken: Path) -> list[Row]:
    """The rows of that dataset that an export takes."""
    return [
        row
        for path in sorted((spoken / "samples").iterdir())
        for row in pq.read_table(path).to_pylist()
        if (row["split"], row["eval_group"]) == ("train", "train")
    ]


@pytest.fixture(scope="session")
def clips(spoken: Path) -> dict[str, Row]:
    """Its clips by id."""
    return {
        row["audio_id"]: row
        for path in sorted((spoken / "audio").iterdir())
        for row in pq.read_table(path).to_pylist()
    }


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., Path]:
    """Writes a dataset of two clips and given rows; by default the plain one."""

    def write(*rows: Row, change: Callable[[Row], Any] = lambda _row: None) -> Path:
        given = rows or (plain_row(),)
        for row in given:
            change(row)
        sounds = {"a": noise(RATE), "b": noise(RATE // 2, seed=1)}
        audio = [
            audio_row(f"made/1/x/{name}", flac(sound, RATE), num_samples=len(sound), rate=RATE)
            | {"codec": "flac/pcm_16", "num_channels": 1, "transcript": "rain", "language": "en"}
            for name, sound in sounds.items()
        ]
        return Made(samples=[list(given)], audio=[audio]).write(tmp_path / "made")

    return write


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Path]:
    """Exports a dataset; rows that the layout can't hold are left out."""

    def write(root: Path, name: str, *, rows_per_shard: int = 7, **selection: Any) -> Path:
        plan = plan_export(root, name, Selection(**selection), skip=True)
        output = tmp_path / f"out-{name}"
        report: Report = write_export(plan, output, rows_per_shard=rows_per_shard)
        assert report.is_checked
        return output

    return write
