"""A small dataset, and a small model that has learnt nothing of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sllm_data.chat import ChatRenderer
from sllm_data.testbed.assets import shipped
from sllm_data.trainer.trained import Trained
from tests.evaluation.eval_dataset import write_dataset


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips; five rows of `test` and one of `train` about each."""
    return write_dataset(tmp_path_factory.mktemp("evaluation") / "dataset")


@pytest.fixture(scope="session")
def new_trained() -> Callable[[str], Trained]:
    """Makes a model of the shipped encoder and backbone whose connector is random.

    Where its LLM is trained, that is moved a little away from the backbone.
    """
    import torch

    from sllm_data.trainer.model.config import (
        ConnectorConfig,
        EncoderConfig,
        LLMConfig,
        ModelConfig,
    )
    from sllm_data.trainer.model.speech_lm import load_speech_lm

    def make(llm_mode: str) -> Trained:
        config = ModelConfig(
            encoder=EncoderConfig(model=str(shipped("encoder"))),
            connector=ConnectorConfig(hidden_size=48, heads=4, layers=1),
            llm=LLMConfig(model=str(shipped("backbone")), mode=llm_mode),
        )
        model = load_speech_lm(config, seed=3, dtype=torch.float32, device="cpu")
        torch.manual_seed(4)
        with torch.no_grad():
            for name, value in model.llm.named_parameters():
                if value.requires_grad and ("lora_B" in name or llm_mode == "full"):
                    value.add_(0.1 * torch.randn_like(value))
        return Trained(model.eval(), ChatRenderer.load(config.llm.model), config)

    return make


@pytest.fixture(scope="session")
def trained(new_trained: Callable[[str], Trained]) -> Trained:
    """One whose LLM has LoRA."""
    return new_trained("lora")
