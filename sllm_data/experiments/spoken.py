"""The data of a study: hours of the spoken world, and every task asked about every utterance.

Utterances are single sentences: what a model hears is learnt from many of them, and half as
long ones cost half as much.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from sllm_data.config import load_config
from sllm_data.files import shipped_folder, write_text
from sllm_data.prompting.pools import load_pools
from sllm_data.runners import RunnerConfig
from sllm_data.steps import Progress, run_all
from sllm_data.steps.speak import speak_world
from sllm_data.testbed.assets import shipped
from sllm_data.testbed.spoken_world import WorldCorpus

_TASKS = 12  # of the recipe, that are trained
_SHORTEST_S = 0.4  # of a stretch that is heard: a sentence has 2 to 4 s
_WORDS = (2, 4)  # of a stretch
_LANGUAGE = "en-testbed"  # of the wordings

Policy = Literal["word", "span", "poisson", "alternate"]
Pattern = Literal["repeat", "next"]
_PATTERNS: Mapping[Pattern, str] = {
    "repeat": "stretch_transcription",
    "next": "stretch_continuation",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """What an arm trains on, where it is not what all others do."""

    hours_share: float = 1.0
    """Of the study's utterances, by hash: a smaller share lies in a larger one."""
    heard_share: float = 1.0
    """Of the words of rows that are cut, that is heard; 1: no row is cut."""
    policy: Policy = "span"
    """How rows are cut."""
    patterns: tuple[Pattern, ...] = ()
    """Which of these each utterance is asked for, too, cut. Where there are none, and something
    is cut, half of the rows are."""
    tasks_each: int = _TASKS
    """How many tasks an utterance is asked for."""
    wordings: int | None = None
    """Of each task, that are trained; the six of its pool where None. More than six are taken
    from `wordings.yaml`, too."""

    @property
    def folder(self) -> str:
        """The name of its folder."""
        parts = ["data"]
        if self.hours_share < 1:
            parts.append(f"{self.hours_share:g}-of-it")
        if self.heard_share < 1:
            parts.append(f"{self.policy}-{self.heard_share:g}")
        parts += self.patterns
        if self.tasks_each < _TASKS:
            parts.append(f"{self.tasks_each}-each")
        if self.wordings is not None:
            parts.append(f"{self.wordings}-wordings")
        return "-".join(parts)


WHOLE = Data()
"""All of it, each row heard from its first word to the last: what all arms are asked about."""


def make_dataset(folder: Path, data: Data, *, hours: float, seed: int, progress: Progress) -> Path:
    """Speaks the world and lets the shipped backbone answer, by vLLM; returns the dataset.

    Args:
        folder: Of the study; each data has a folder in it, and what is there already is kept.
        data: Which part of it, and how it is cut.
        hours: Of speech, of all subsets together, of the whole study.
        seed: Of texts, voices and draws.
        progress: Shows bars.

    Raises:
        SllmDataError: A step can't do its work.
    """
    at, spoken = folder / data.folder, folder / WHOLE.folder
    corpus = WorldCorpus(hours=hours, layout="librispeech", seed=seed, num_events=1)
    speak_world(spoken / "world", corpus, RunnerConfig(), progress)
    document = {
        "seed": seed,
        "output": str(at / "dataset"),
        "recipe": "testbed",
        "part_size": 200,
        "corpora": [
            {
                "kind": "librispeech",
                "path": str(spoken / "world"),
                "version": "world",
                "licence": "CC0-1.0",
                "attribution": "synthetic speech by espeak-ng",
                **({"sample": data.hours_share} if data.hours_share < 1 else {}),
            }
        ],
        "draw": {
            "mode": "draw",
            "multi_task_share": 0.0 if data.tasks_each == 1 else 1.0,
            "multi_task_count": max(2, data.tasks_each + len(data.patterns)),
        },
        "tasks": {_PATTERNS[name]: {"weight": 1.0} for name in data.patterns},
        "backbone": {
            "engine": "vllm",
            "model": str(shipped("backbone")),
            "max_model_len": 512,
            "enforce_eager": True,
            "dtype": "float32",  # as fast where there are instructions for bfloat16, else far more
        },
    }
    if data != WHOLE:
        document["reuse"] = [str(spoken / "dataset")]
    if data.heard_share < 1:
        document |= {
            "alignment": {"backend": "files", "files": str(spoken / "world")},
            "interleave": {
                "chance": 0.0 if data.patterns else 0.5,
                "policy": data.policy,
                "speech_share": data.heard_share,
                "min_audio_s": _SHORTEST_S,
                "span_words": list(_WORDS),
                "poisson_mean": sum(_WORDS) / 2,
                "alternate": [_WORDS[0], _WORDS[0]],
            },
            "max_rejected_fraction": 0.5,  # a short sentence has no room for both
        }
    if data.wordings is not None:
        _write_pools(at / "pools", data.wordings)
        document["prompts"] = {"pools": [str(at / "pools")]}
    run_yaml = at / "run.yaml"
    write_text(run_yaml, yaml.safe_dump(document, sort_keys=False))
    config = load_config(run_yaml)
    for _ in run_all(config, progress):
        pass
    return config.output


def _write_pools(folder: Path, wordings: int) -> None:
    """Writes the world's pools with the first so many wordings to train, and all held out."""
    more = yaml.safe_load(Path(__file__).with_name("wordings.yaml").read_text("utf-8"))
    for pool in load_pools((shipped_folder("instruction_pools"),)):
        if pool.language != _LANGUAGE:
            continue
        document = yaml.safe_load(pool.path.read_text("utf-8"))
        known = document["instructions"]
        trained = [each for each in known if not each["held_out"]]
        for number, sides in enumerate(more["instructions"].get(pool.task, ()), len(known) + 1):
            name = f"{pool.task}.{_LANGUAGE}.{number:02d}"
            trained.append({"id": name, "held_out": False, **sides})
        held_out = [each for each in known if each["held_out"]]
        document["instructions"] = trained[:wordings] + held_out
        write_text(folder / pool.path.name, yaml.safe_dump(document, sort_keys=False))
