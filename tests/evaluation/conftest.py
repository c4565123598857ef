"""A small dataset, and a small model that has learnt nothing of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sllm_data.trainer.trained import Trained
from tests.evaluation.eval_dataset import write_dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips; five rows of `test` and one of `train` about each."""
    return write_dataset(tmp_path_factory.mktemp("evaluation") / "dataset")


@pytest.fixture(scope="session")
def new_trained() -> Callable[[str], Trained]:
    """Makes a model by the mode of its LLM."""
    from tests.evaluation.eval_models import untaught  # imports torch

    return untaught


@pytest.fixture(scope="session")
def trained(new_trained: Callable[[str], Trained]) -> Trained:
    """One whose LLM has LoRA."""
    return new_trained("lora")
