"""Stock vLLM serves what was exported: one engine, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from model_exports import RATE, SHIPPED, as_pack, clip, trained_model

from sllm_data.chat import ChatRenderer
from sllm_data.records import Message
from sllm_data.trainer.model.answering import answer
from sllm_data.trainer.model.export import export_model
from sllm_data.trainer.model.hf_processing import SpeechLMProcessor

SECONDS = (0.5, 1.77, 4.1)  # the encoder hears 2 s at once


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_stock_vllm_gives_the_trainers_greedy_answers(whisper_folder, tmp_path):
    folder = tmp_path / "model"
    model = trained_model(whisper_folder, "mlp")
    export_model(model, folder)
    text = ChatRenderer.load(str(SHIPPED)).render(
        [Message(role="user", content="<|audio|>what is this?")]
    )
    clips = {f"clip{number}": clip(seconds) for number, seconds in enumerate(SECONDS)}
    np.savez(tmp_path / "questions.npz", text=text, **clips)
    subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("vllm_answers.py")),
            str(folder),
            str(tmp_path / "questions.npz"),
            str(tmp_path / "answers.json"),
        ],
        check=True,
        timeout=570,
    )
    processor = SpeechLMProcessor.from_pretrained(folder)
    wanted = []
    for samples in clips.values():
        inputs = processor(text=text, audio=[samples], sampling_rate=RATE)
        pack = as_pack(model, inputs, processor.audio_token_id)
        wanted.append(
            [len(pack.text.token_ids), *answer(model, pack, max_tokens=8, stop_ids=())[0]]
        )
    assert json.loads((tmp_path / "answers.json").read_text()) == wanted
    assert len({tuple(answer) for answer in wanted}) == len(wanted)
