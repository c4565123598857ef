"""A dataset of the small spoken world to train on, made by the pipeline."""

from pathlib import Path

from sllm_data.config import resolve
from sllm_data.runners import RunnerConfig
from sllm_data.steps import Progress, run_all
from sllm_data.steps.speak import speak_world
from sllm_data.testbed.assets import shipped
from sllm_data.testbed.spoken_world import WorldCorpus


def spoken_rows(folder: Path) -> Path:
    """Makes rows of the testbed's tasks: answers are drawn words, prompts its backbone's."""
    corpus = WorldCorpus(hours=0.03, layout="librispeech", seed=4)
    speak_world(folder / "LibriSpeech", corpus, RunnerConfig(kind="serial"), Progress(None))
    document = {
        "seed": 1,
        "output": str(folder / "dataset"),
        "part_size": 16,
        "corpora": [{"kind": "librispeech", "path": str(folder / "LibriSpeech")}],
        "recipe": "testbed",
        "backbone": {"engine": "scripted", "tokenizer": str(shipped("backbone"))},
        "filters": {"wrong_language": False, "copied": False},
        "runner": {"kind": "serial"},
        "max_rejected_fraction": 1.0,
    }
    for _ in run_all(resolve(document, where="test"), Progress(None)):
        pass
    return folder / "dataset"
