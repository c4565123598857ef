"""A dataset of the small spoken world, and configurations that train on it in seconds."""

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from spoken_rows import spoken_rows

from sllm_data.steps import Progress
from sllm_data.testbed.assets import shipped
from sllm_data.trainer.config import TrainConfig, resolve_train
from sllm_data.trainer.loop import train

Document = dict[str, Any]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small models are faster so, and other processes have the other cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of the testbed's tasks; answers are drawn words, prompts those of its backbone."""
    return spoken_rows(tmp_path_factory.mktemp("loop"))


@pytest.fixture(scope="session")
def document(world: Path) -> Callable[..., Document]:
    """Makes the document of a train.yaml; arguments override its sections."""

    def make(output: Path, **sections: Any) -> Document:
        return {
            "output": str(output),
            "seed": 1,
            "device": "cpu",
            "data": {"datasets": [{"path": str(world)}], "budget": 96, "workers": 0},
            "model": {
                "encoder": {"model": str(shipped("encoder"))},
                "connector": {
                    "window_seconds": 0.34,
                    "hidden_size": 32,
                    "heads": 2,
                    "layers": 1,
                },
                "llm": {"model": str(shipped("backbone")), "lora": {"rank": 2, "dropout": 0.1}},
            },
            "stages": [
                {"steps": 2, "learning_rates": {"connector": 0.002, "llm": 0}},
                {"steps": 5, "learning_rates": {"connector": 0.002, "llm": 0.001}},
            ],
            "checkpoints": {"every_steps": 2},
            "logging": {"boards": []},
        } | sections

    return make


@pytest.fixture(scope="session")
def configured(document: Callable[..., Document]) -> Callable[..., TrainConfig]:
    """The same, checked."""

    def make(output: Path, **sections: Any) -> TrainConfig:
        return resolve_train(document(output, **sections), where="test")

    return make


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Starts processes that have imported the trainer already, and done nothing else."""
    context = multiprocessing.get_context("forkserver")
    # not loop_processes: before Python 3.12 the server knows no sys.path, and says nothing
    context.set_forkserver_preload(["sllm_data.steps", "sllm_data.trainer.loop"])
    return context


@pytest.fixture(scope="session")
def straight(
    configured: Callable[..., TrainConfig], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a training that nothing stopped."""
    output = tmp_path_factory.mktemp("straight") / "out"
    train(configured(output), Progress(None))
    return output


@pytest.fixture
def copied(straight: Path, tmp_path: Path) -> Path:
    """A copy of that folder, to damage."""
    return Path(shutil.copytree(straight, tmp_path / "out"))
