"""Speech for a benchmark that is given none: the small spoken world, asked without an engine."""

from pathlib import Path

from sllm_data.config import resolve
from sllm_data.runners import RunnerConfig
from sllm_data.steps import Progress, run_all
from sllm_data.steps.speak import speak_world
from sllm_data.testbed.assets import shipped
from sllm_data.testbed.spoken_world import WorldCorpus


def spoken_corpus(folder: Path, *, hours: float) -> Path:
    """Speaks a corpus in LibriSpeech's layout, FLAC; what is there is kept."""
    world = folder / "world"
    corpus = WorldCorpus(hours=hours, layout="librispeech", seed=1)
    speak_world(world, corpus, RunnerConfig(), Progress(None))
    return world


def spoken_dataset(folder: Path, *, hours: float) -> Path:
    """Makes a dataset of such a corpus, answers by the scripted engine."""
    config = resolve(
        {
            "seed": 1,
            "output": str(folder / "dataset"),
            "recipe": "testbed",
            "corpora": [
                {
                    "kind": "librispeech",
                    "path": str(spoken_corpus(folder, hours=hours)),
                    "version": "world",
                    "licence": "CC0-1.0",
                    "attribution": "synthetic speech by espeak-ng",
                }
            ],
            "backbone": {"engine": "scripted", "tokenizer": str(shipped("backbone"))},
        },
        where="the benchmark",
    )
    for _ in run_all(config, Progress(None)):
        pass
    return config.output
