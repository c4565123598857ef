"""One small dataset of many shapes, built once and copied for each fault that is planted."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from steps_datasets import build

from sllm_data.config import RunConfig, resolve
from sllm_data.testbed import write_common_voice, write_librispeech

Document = dict[str, Any]


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoken")
    write_librispeech(
        folder / "LibriSpeech",
        subsets={"train-clean-a": 16, "dev-clean-a": 3, "test-clean-a": 3},
        num_speakers=2,
        seed=3,
    )
    write_common_voice(
        folder / "cv-corpus-test", locales={"en": 10, "de": 8}, num_speakers=4, flaws=True, seed=3
    )
    return folder


@pytest.fixture(scope="session")
def configured(spoken: Path) -> Callable[..., RunConfig]:
    """Makes a configuration over the small corpora; arguments override fields."""

    def make(output: Path, **fields: Any) -> RunConfig:
        document = {
            "seed": 1,
            "output": str(output),
            "part_size": 11,
            "corpora": [{"kind": "librispeech", "path": str(spoken / "LibriSpeech")}],
            "backbone": {"engine": "scripted"},
            "splits": {"validation": 0.2, "test": 0.2},
            "filters": {"wrong_language": False, "copied": False},
            "runner": {"kind": "serial"},
            "max_rejected_fraction": 1.0,
        } | fields
        return resolve(document, where="test")

    return make


@pytest.fixture(scope="session")
def plain(configured: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One corpus, one run: two parts, nothing but what every dataset has."""
    root = tmp_path_factory.mktemp("plain") / "dataset"
    build(configured(root))
    return root


@pytest.fixture(scope="session")
def rich(
    spoken: Path,
    configured: Callable[..., RunConfig],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Two corpora and an empty part, an extension by a corpus and a task, quotas, two passes."""
    root = tmp_path_factory.mktemp("rich") / "dataset"
    shapes: Document = {
        "draw": {"mode": "quota", "multi_task_share": 0.5},
        "prompts": {"preparation": "restored"},
        "filters": {"wrong_language": False, "copied": False, "judge": True}
        | {"judge_unscored": "keep"},
    }
    first = [
        {"kind": "librispeech", "path": str(spoken / "LibriSpeech")},
        # every clip is too short for this entry: a part of it holds no audio
        {
            "kind": "librispeech",
            "path": str(spoken / "LibriSpeech"),
            "name": "long",
            "min_duration_s": 39,
        },
    ]
    added = {"kind": "common_voice", "path": str(spoken / "cv-corpus-test"), "version": "test"}
    build(configured(root, corpora=first, tasks={"intent": {"weight": 0}}, **shapes))
    build(configured(root, corpora=[*first, added], **shapes), extend=True)
    return root


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a dataset to where it may be damaged."""

    def copy(dataset: Path) -> Path:
        return Path(shutil.copytree(dataset, tmp_path / "dataset"))

    return copy


@pytest.fixture
def dataset(plain: Path, copied: Callable[[Path], Path]) -> Path:
    """A plain dataset to damage."""
    return copied(plain)


@pytest.fixture(scope="session")
def sound(
    spoken: Path,
    configured: Callable[..., RunConfig],
    tiny_backbone: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Two corpora, token ids, all three passes, a held-out task: nothing is wrong with it."""
    root = tmp_path_factory.mktemp("sound") / "dataset"
    config = configured(
        root,
        corpora=[
            {"kind": "librispeech", "path": str(spoken / "LibriSpeech")},
            {
                "kind": "common_voice",
                "path": str(spoken / "cv-corpus-test"),
                "version": "test",
            },
        ],
        backbone={"engine": "scripted", "tokenizer": str(tiny_backbone)},
        alignment={"backend": "auto", "min_aligned_fraction": 0.0},
        tasks={"summary": {"weight": 1.0, "held_out": True, "min_words": 3}},
        prompts={"preparation": "restored"},
        filters={"wrong_language": False, "copied": False, "judge": True}
        | {"judge_unscored": "keep"},
    )
    build(config)
    return root
