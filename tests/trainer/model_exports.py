"""Models to export on the shipped LLM, which has a tokenizer; clips; a processor's inputs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from model_packs import CONNECTORS
from torch import Tensor

from sllm_data.trainer.batch import PackedBatch, PackedText
from sllm_data.trainer.model.config import EncoderConfig, LLMConfig, LoraConfig, ModelConfig
from sllm_data.trainer.model.speech_lm import SpeechLM, load_speech_lm

RATE = 16_000
SHIPPED = Path(__file__).parents[2] / "sllm_data" / "testbed" / "assets" / "backbone"


def trained_model(
    whisper_folder: Path, connector: str, mode: str = "lora", *, pad_to_30s: bool = False
) -> SpeechLM:
    """A model whose LoRA is not zero."""
    config = ModelConfig(
        encoder=EncoderConfig(model=str(whisper_folder), mode=mode, pad_to_30s=pad_to_30s),
        connector=CONNECTORS[connector],
        llm=LLMConfig(model=str(SHIPPED), mode=mode, lora=LoraConfig(rank=4)),
    )
    model = load_speech_lm(config, seed=1, dtype=torch.float32, device="cpu")
    torch.manual_seed(2)
    with torch.no_grad():
        for name, value in model.trainable_parameters().items():
            if "lora_B" in name:
                value.normal_(std=0.02)
    return model


def clip(seconds: float) -> np.ndarray:
    noise = np.random.default_rng(int(seconds * 10)).normal(size=int(seconds * RATE))
    return (noise * 0.1).astype(np.float32)


def as_pack(model: SpeechLM, inputs: Mapping[str, Tensor], audio_id: int) -> PackedBatch:
    """The processor's inputs of one prompt as the trainer has them."""
    ids = inputs["input_ids"][0]
    is_audio = ids == audio_id
    frames, rest = [], inputs["audio_lens"].tolist()
    for count in inputs["audio_num_chunks"].tolist():
        frames.append(sum(rest[:count]))
        rest = rest[count:]
    features = torch.cat(
        [
            values[:, :length].T
            for values, length in zip(
                inputs["audio_values"], inputs["audio_lens"].tolist(), strict=True
            )
        ]
    )
    return PackedBatch(
        text=PackedText(
            token_ids=ids.masked_fill(is_audio, 0),
            position_ids=torch.arange(len(ids)),
            lengths=torch.tensor([len(ids)], dtype=torch.int32),
            label_positions=torch.tensor([len(ids) - 1]),
            labels=torch.tensor([0]),
        ),
        audio_positions=is_audio.nonzero()[:, 0],
        features=features,
        clip_frames=torch.tensor(frames, dtype=torch.int32),
        clip_positions=torch.tensor([model.geometry.num_positions(f) for f in frames]),
    )
