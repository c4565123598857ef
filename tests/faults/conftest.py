"""A small corpus with flaws, run configurations over it, and datasets that nothing disturbed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sllm_data.testbed import write_common_voice, write_librispeech
from tests.faults.harness import recorded
from tests.faults.watching import Event

Document = dict[str, Any]
Write = Callable[..., Path]


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """About 50 utterances of two corpora, with the flaws of real releases."""
    folder = tmp_path_factory.mktemp("broken")
    write_librispeech(
        folder / "LibriSpeech",
        subsets={"train-clean-a": 14, "dev-clean-a": 4, "test-clean-a": 4},
        num_speakers=2,
        seed=3,
    )
    write_common_voice(
        folder / "cv-corpus-test", locales={"en": 14, "de": 10}, num_speakers=5, flaws=True, seed=3
    )
    return [
        {"kind": "librispeech", "path": str(folder / "LibriSpeech")},
        {"kind": "common_voice", "path": str(folder / "cv-corpus-test"), "version": "test"},
    ]


@pytest.fixture(scope="session")
def write_run(corpora: list[Document]) -> Write:
    """Writes FOLDER/run.yaml, whose dataset is FOLDER/dataset; arguments override fields."""

    def write(folder: Path, **fields: Any) -> Path:
        document = {
            "seed": 1,
            "output": str(folder / "dataset"),
            "part_size": 6,
            "corpora": corpora,
            "backbone": {"engine": "scripted"},
            "splits": {"validation": 0.2, "test": 0.2},
            "filters": {"wrong_language": False, "copied": False},
            "runner": {"kind": "serial"},
            "max_rejected_fraction": 0.5,
            "watch": {"log": "none"},  # a slow machine would add lines to what a test reads
        }
        folder.mkdir(parents=True, exist_ok=True)
        run_yaml = folder / "run.yaml"
        run_yaml.write_text(yaml.safe_dump(document | fields))
        return run_yaml

    return write


ALL_PASSES: Document = {
    "prompts": {"preparation": "restored"},
    "filters": {
        "wrong_language": False,
        "copied": False,
        "judge": True,
        "judge_unscored": "keep",
    },
}
"""A restore and a judge pass around the main one: every step that there is."""


Undisturbed = tuple[Path, list[Event]]
"""A finished dataset, and what happened to its files in their order."""


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, write_run: Write) -> Undisturbed:
    """What nothing disturbed, with the main pass alone."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder / "dataset", recorded(write_run(folder), folder / "dataset")


@pytest.fixture(scope="session")
def undisturbed_passes(tmp_path_factory: pytest.TempPathFactory, write_run: Write) -> Undisturbed:
    """What nothing disturbed, with all passes."""
    folder = tmp_path_factory.mktemp("passes")
    return folder / "dataset", recorded(write_run(folder, **ALL_PASSES), folder / "dataset")
