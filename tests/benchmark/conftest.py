"""A dataset of real synthesised speech in all groups, and a benchmark frozen from it."""

from pathlib import Path

import pytest

from sllm_data.benchmark import Benchmark, Wanted, build_benchmark, read_benchmark
from sllm_data.config import resolve
from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.runners import RunnerConfig
from sllm_data.steps import Progress, run_all
from sllm_data.steps.speak import speak_world
from sllm_data.testbed.spoken_world import WorldCorpus

WANTED = Wanted(per_task=4, at_least=0)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech of the small world in LibriSpeech's layout, of many voices."""
    folder = tmp_path_factory.mktemp("world") / "World"
    corpus = WorldCorpus(hours=0.12, layout="librispeech", seed=2)
    speak_world(folder, corpus, RunnerConfig(kind="serial"), Progress(None))
    return folder


@pytest.fixture(scope="session")
def dataset(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tasks about each utterance; several parts."""
    root = tmp_path_factory.mktemp("dataset") / "dataset"
    document = {
        "seed": 1,
        "output": str(root),
        "part_size": 40,
        "recipe": "testbed",
        "corpora": [{"kind": "librispeech", "path": str(world)}],
        "backbone": {"engine": "scripted"},
        "draw": {"multi_task_share": 1.0, "multi_task_count": 6},
        "filters": {"copied": False},
        "runner": {"kind": "serial"},
    }
    list(run_all(resolve(document, where="test"), Progress(None)))
    return root


@pytest.fixture(scope="session")
def frozen(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """At most four questions of each task in each group."""
    output = tmp_path_factory.mktemp("frozen") / "benchmark"
    build_benchmark(
        dataset, output, wanted=WANTED, scoring=EvaluationConfig(), progress=Progress(None)
    )
    return read_benchmark(output)
