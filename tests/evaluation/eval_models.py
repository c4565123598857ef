"""Small models that have learnt nothing, and their folders."""

from pathlib import Path

import torch

from sllm_data.chat import ChatRenderer
from sllm_data.testbed.assets import shipped
from sllm_data.trainer.model.config import ConnectorConfig, EncoderConfig, LLMConfig, ModelConfig
from sllm_data.trainer.model.speech_lm import load_speech_lm
from sllm_data.trainer.provenance import facts_of_models
from sllm_data.trainer.trained import Trained, save_trained


def untaught(llm_mode: str) -> Trained:
    """Makes a model of the shipped encoder and backbone whose connector is random.

    Where its LLM is trained, that is moved a little away from the backbone.
    """
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


def write_model(folder: Path, trained: Trained) -> Path:
    """Writes what `train` leaves of a model."""
    facts = facts_of_models(trained.config, trained.renderer)
    save_trained(folder, trained.model.trainable_state(), config=trained.config, facts=facts)
    return folder
