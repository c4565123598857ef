"""Runs the real command line in this process: its exit status and what it says."""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sllm_data.cli import main
from sllm_data.testbed import write_librispeech
from tests.bad_input.faulty_corpora import entries, write_faulty_corpora
from tests.bad_input.planted import Planted
from tests.chat.conftest import FAMILIES, load_family, write_model

__all__ = ["load_family"]  # a fixture of the chat tests

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one sentence that it ends in; libraries may have logged lines before it."""
        assert "Traceback" not in self.err
        (line,) = (line for line in self.err.splitlines() if line.startswith("error: "))
        assert self.err.endswith(f"{line}\n")
        return line.removeprefix("error: ")


Command = Callable[..., Said]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs `sllm-data ...`; an exception that escapes fails the test."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["sllm-data", *map(str, arguments)])
        # its handler would write to the stderr of the test that imported it first
        logging.getLogger("datasets").setLevel(logging.CRITICAL)
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capfd.readouterr()
        return Said(status=status, out=out, err=err)

    return run


@pytest.fixture(scope="session")
def good_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LibriSpeech folder without faults."""
    folder = tmp_path_factory.mktemp("good") / "LibriSpeech"
    write_librispeech(folder, subsets={"train-clean-a": 6}, num_speakers=2, seed=3)
    return folder


@pytest.fixture
def here(tmp_path: Path, good_speech: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory but for `data/LibriSpeech`; sentences name paths as given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/LibriSpeech").symlink_to(good_speech)
    return tmp_path


def write_run(folder: Path, **fields: Any) -> Path:
    """Writes run.yaml over data/LibriSpeech with the scripted engine; fields override."""
    document: Document = {
        "seed": 1,
        "output": "out",
        "corpora": [{"kind": "librispeech", "path": "data/LibriSpeech"}],
        "backbone": {"engine": "scripted"},
        "filters": {"wrong_language": False, "copied": False},
        "runner": {"kind": "serial"},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(document | fields), encoding="utf-8")
    return path


@dataclass(frozen=True, kw_only=True)
class FaultyRun:
    """A whole run over the faulty corpora."""

    planted: Planted
    root: Path
    """The dataset."""


@pytest.fixture(scope="session")
def faulty_run(tmp_path_factory: pytest.TempPathFactory) -> FaultyRun:
    """Runs the faulty corpora to the end: each utterance is transcribed and repeated."""
    folder = tmp_path_factory.mktemp("faulty")
    planted = write_faulty_corpora(folder)
    (qwen,) = (family for family in FAMILIES if family.name == "qwen")
    model = write_model(folder / "model", qwen)
    shares = {"intent": 0, "sentiment": 0, "keywords": 0, "translation": 0, "continuation": 0}
    run_yaml = write_run(
        folder,
        output=str(folder / "dataset"),
        corpora=entries(folder),
        backbone={"engine": "scripted", "function": "echo", "tokenizer": str(model)},
        tasks={name: {"weight": weight} for name, weight in shares.items()},
        draw={"mode": "draw", "multi_task_share": 1.0, "multi_task_count": 2},
        splits={"validation": 0.0, "test": 0.0},
        part_size=16,
        max_rejected_fraction=0.9,
    )
    arguments, sys.argv = sys.argv, ["sllm-data", "run", str(run_yaml)]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code  # noqa: PT017 - the exit status is what is tested
    finally:
        sys.argv = arguments
    return FaultyRun(planted=planted, root=folder / "dataset")
