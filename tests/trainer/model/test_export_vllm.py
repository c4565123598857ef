"""Stock vLLM serves what was exported: two engines, one after the other, in one process."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from model_exports import RATE, SHIPPED, as_pack, clip, trained_model
from transformers import AutoModel

from sllm_data.chat import ChatRenderer
from sllm_data.records import Message
from sllm_data.trainer.model.answering import answer
from sllm_data.trainer.model.export import export_model
from sllm_data.trainer.model.hf_processing import SpeechLMProcessor

SECONDS = (0.5, 1.2, 1.77, 4.1)  # the encoder hears 2 s at once
ODD = 2
"""The clip of 177 frames. vLLM pads clips that are heard at once to the longest, and what it puts
behind an odd number of frames reaches the last position through the second convolution, of which
two frames are one; behind an even number it does not."""
TEXT = ChatRenderer.load(str(SHIPPED)).render(
    [Message(role="user", content="<|audio|>what is this?")]
)


@pytest.fixture(scope="module")
def models(whisper_folder, tmp_path_factory):
    """An mlp model, one with a Q-Former, and their folders."""
    root = tmp_path_factory.mktemp("served")
    made = {}
    for kind in ("mlp", "window_qformer"):
        made[kind] = (trained_model(whisper_folder, kind), root / kind)
        export_model(*made[kind])
    return made


@pytest.fixture(scope="module")
def served(models, tmp_path_factory):
    """What vLLM answers."""
    root = tmp_path_factory.mktemp("answers")
    clips = {f"clip{number}": clip(seconds) for number, seconds in enumerate(SECONDS)}
    np.savez(root / "questions.npz", text=TEXT, **clips)
    _, folder = models["window_qformer"]
    processor = SpeechLMProcessor.from_pretrained(folder)
    speech = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    speech.language_model.save_pretrained(root / "llm")
    processor.tokenizer.save_pretrained(root / "llm")
    with torch.no_grad():
        inputs = [processor(text=TEXT, audio=[clip(seconds)]) for seconds in SECONDS]
        torch.save([speech.embed(**each)[0] for each in inputs], root / "embeds.pt")
    names = ("questions.npz", "llm", "embeds.pt", "answers.json")
    subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("vllm_answers.py")),
            str(models["mlp"][1]),
            *(str(root / name) for name in names),
        ],
        check=True,
        timeout=570,
    )
    return json.loads((root / "answers.json").read_text())


def _wanted(model, folder) -> list[list[int]]:
    """Positions of each prompt, and the trainer's greedy answer."""
    processor = SpeechLMProcessor.from_pretrained(folder)
    wanted = []
    for seconds in SECONDS:
        inputs = processor(text=TEXT, audio=[clip(seconds)], sampling_rate=RATE)
        pack = as_pack(model, inputs, processor.audio_token_id)
        wanted.append(
            [len(pack.text.token_ids), *answer(model, pack, max_tokens=8, stop_ids=())[0]]
        )
    assert len({tuple(each) for each in wanted}) == len(wanted)
    return wanted


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_stock_vllm_gives_the_trainers_greedy_answers(models, served):
    assert served["heard"] == _wanted(*models["mlp"])


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_stock_vllm_gives_them_to_clips_of_several_lengths_at_once(models, served):
    wanted = _wanted(*models["mlp"]) * 2
    for number, (found, alone) in enumerate(zip(served["heard at once"], wanted, strict=True)):
        assert number % len(SECONDS) == ODD or found == alone, number


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_a_qformers_llm_in_vllm_answers_to_prompts_that_are_embeddings(models, served):
    wanted = [each[1:] for each in _wanted(*models["window_qformer"])]
    assert [each[1:] for each in served["read"]] == wanted


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_it_gives_them_to_prompts_of_several_lengths_at_once(models, served):
    wanted = [each[1:] for each in _wanted(*models["window_qformer"])]
    assert [each[1:] for each in served["read at once"]] == wanted * 2
