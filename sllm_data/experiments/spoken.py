"""The data of a study: hours of the spoken world, and every task asked about every utterance.

Utterances are single sentences: what a model hears is learnt from many of them, and half as
long ones cost half as much.
"""

from pathlib import Path

import yaml

from sllm_data.config import load_config
from sllm_data.files import write_text
from sllm_data.runners import RunnerConfig
from sllm_data.steps import Progress, run_all
from sllm_data.steps.speak import speak_world
from sllm_data.testbed.assets import shipped
from sllm_data.testbed.spoken_world import WorldCorpus

_TASKS = 12  # of the recipe, that are trained


def make_dataset(folder: Path, *, hours: float, seed: int, progress: Progress) -> Path:
    """Speaks the world and lets the shipped backbone answer, by vLLM; returns the dataset.

    Args:
        folder: Holds all of it; what is there already is kept.
        hours: Of speech, of all subsets together.
        seed: Of texts, voices and draws.
        progress: Shows bars.

    Raises:
        SllmDataError: A step can't do its work.
    """
    corpus = WorldCorpus(hours=hours, layout="librispeech", seed=seed, num_events=1)
    speak_world(folder / "world", corpus, RunnerConfig(), progress)
    document = {
        "seed": seed,
        "output": str(folder / "dataset"),
        "recipe": "testbed",
        "part_size": 200,
        "corpora": [
            {
                "kind": "librispeech",
                "path": str(folder / "world"),
                "version": "world",
                "licence": "CC0-1.0",
                "attribution": "synthetic speech by espeak-ng",
            }
        ],
        "draw": {"mode": "draw", "multi_task_share": 1.0, "multi_task_count": _TASKS},
        "backbone": {
            "engine": "vllm",
            "model": str(shipped("backbone")),
            "max_model_len": 512,
            "enforce_eager": True,
            "dtype": "float32",  # as fast where there are instructions for bfloat16, else far more
        },
    }
    run_yaml = folder / "run.yaml"
    write_text(run_yaml, yaml.safe_dump(document, sort_keys=False))
    config = load_config(run_yaml)
    for _ in run_all(config, progress):
        pass
    return config.output
