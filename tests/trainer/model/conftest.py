"""Small models with random weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from model_packs import CONNECTORS, LLMS, MELS
from transformers import AutoModelForCausalLM, WhisperConfig, WhisperModel

from sllm_data.trainer.model.config import EncoderConfig, LLMConfig, LoraConfig, ModelConfig
from sllm_data.trainer.model.speech_lm import SpeechLM, load_speech_lm


@pytest.fixture(scope="session")
def llm_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of small LLMs by architecture."""
    folders = {}
    for name, config in LLMS.items():
        torch.manual_seed(1)
        folders[name] = tmp_path_factory.mktemp("llms") / name
        AutoModelForCausalLM.from_config(config).save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper that hears 2 s at once: 200 frames, 100 positions."""
    torch.manual_seed(2)
    config = WhisperConfig(
        num_mel_bins=MELS,
        d_model=24,
        encoder_layers=4,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        max_source_positions=100,
        init_std=0.2,
        decoder_layers=0,
        vocab_size=1,
        max_target_positions=1,
        **dict.fromkeys(
            ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0
        ),
    )
    folder = tmp_path_factory.mktemp("whispers") / "whisper"
    WhisperModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_config(whisper_folder, llm_folders) -> Callable[..., ModelConfig]:
    """Makes configurations of small models."""

    def make(
        connector: str = "window_qformer",
        llm: str = "llama",
        *,
        encoder_mode: str = "frozen",
        llm_mode: str = "lora",
        **changes: object,
    ) -> ModelConfig:
        checkpointing = bool(changes.pop("activation_checkpointing", False))
        return ModelConfig(
            encoder=EncoderConfig(
                model=str(whisper_folder),
                mode=encoder_mode,
                activation_checkpointing=checkpointing,
            ),
            connector=CONNECTORS[connector],
            llm=LLMConfig(
                model=str(llm_folders[llm]),
                mode=llm_mode,
                lora=LoraConfig(rank=4),
                activation_checkpointing=checkpointing,
                **changes,
            ),
        )

    return make


@pytest.fixture(scope="session")
def new_model(model_config) -> Callable[..., SpeechLM]:
    """Makes small models whose LoRA is no longer zero."""

    def make(*names: str, dtype: torch.dtype = torch.float32, **choices: object) -> SpeechLM:
        model = load_speech_lm(model_config(*names, **choices), seed=3, dtype=dtype, device="cpu")
        torch.manual_seed(4)
        with torch.no_grad():
            for name, value in model.trainable_parameters().items():
                if "lora_B" in name:
                    value.normal_(std=0.1)
        return model

    return make
