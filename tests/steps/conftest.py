"""A small spoken corpus in two layouts, and run configurations over it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sllm_data.config import RunConfig, resolve
from sllm_data.runners import RunnerConfig
from sllm_data.steps import Progress
from sllm_data.steps.speak import speak_world
from sllm_data.testbed import write_common_voice, write_librispeech
from sllm_data.testbed.spoken_world import WorldCorpus

Document = dict[str, Any]


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LibriSpeech/ and cv-corpus-test/, about 50 utterances, with the flaws of real releases."""
    folder = tmp_path_factory.mktemp("spoken")
    write_librispeech(
        folder / "LibriSpeech",
        subsets={"train-clean-a": 14, "dev-clean-a": 4, "test-clean-a": 4},
        num_speakers=2,
        seed=3,
    )
    write_common_voice(
        folder / "cv-corpus-test", locales={"en": 14, "de": 10}, num_speakers=5, flaws=True, seed=3
    )
    return folder


@pytest.fixture(scope="session")
def document(spoken: Path) -> Callable[..., Document]:
    """Makes the document of a run.yaml over the small corpus; arguments override fields."""

    def make(output: Path, **fields: Any) -> Document:
        return {
            "seed": 1,
            "output": str(output),
            "part_size": 12,
            "corpora": [
                {"kind": "librispeech", "path": str(spoken / "LibriSpeech")},
                {
                    "kind": "common_voice",
                    "path": str(spoken / "cv-corpus-test"),
                    "version": "test",
                },
            ],
            "backbone": {"engine": "scripted"},
            "splits": {"validation": 0.2, "test": 0.2},
            "filters": {"wrong_language": False, "copied": False},
            "runner": {"kind": "serial"},
            "max_rejected_fraction": 0.5,
        } | fields

    return make


@pytest.fixture(scope="session")
def configured(document: Callable[..., Document]) -> Callable[..., RunConfig]:
    """The same, checked."""

    def make(output: Path, **fields: Any) -> RunConfig:
        return resolve(document(output, **fields), where="test")

    return make


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small spoken world in LibriSpeech's layout, with the true word times beside it."""
    folder = tmp_path_factory.mktemp("world") / "LibriSpeech"
    corpus = WorldCorpus(hours=0.03, layout="librispeech", seed=4)
    speak_world(folder, corpus, RunnerConfig(kind="serial"), Progress(None))
    return folder


@pytest.fixture(scope="session")
def world_document(world: Path) -> Callable[..., Document]:
    """Makes the document of a run.yaml over that world; arguments override fields."""

    def make(output: Path, **fields: Any) -> Document:
        return {
            "seed": 1,
            "output": str(output),
            "part_size": 8,
            "corpora": [{"kind": "librispeech", "path": str(world)}],
            "recipe": "testbed",
            "backbone": {"engine": "scripted"},
            "filters": {"wrong_language": False, "copied": False},
            "runner": {"kind": "serial"},
            "max_rejected_fraction": 1.0,
        } | fields

    return make
