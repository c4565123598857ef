"""Asking a trained model about clips that are in no dataset."""

from collections.abc import Sequence
from pathlib import Path

import torch

from sllm_data.audio.decode import DecodedClip
from sllm_data.records import Turn
from sllm_data.trainer.data.conversation import encode_prompt, prompts_batch
from sllm_data.trainer.distributed import chosen_device
from sllm_data.trainer.model.answering import answer
from sllm_data.trainer.trained import load_trained


def answer_to(
    folder: Path,
    turns: Sequence[Turn],
    *,
    clips: Sequence[DecodedClip] = (),
    max_tokens: int = 256,
    device: str = "auto",
) -> str:
    """Returns a trained model's greedy answer to a conversation.

    Args:
        folder: What `train` wrote.
        turns: Ends with a user turn; audio spans name clips by `audio_index`.
        clips: What is heard.
        max_tokens: Of the answer; a longer one is cut.
        device: auto, cpu or cuda.

    Raises:
        ModelError: There is no such model, or its template refuses the roles.
        ShardError: A span reaches beyond its clip.
        TrainingError: A GPU is asked for and there is none.
    """
    where = chosen_device(device)
    dtype = torch.bfloat16 if where == "cuda" else torch.float32
    model, renderer, _ = load_trained(folder, device=where, dtype=dtype)
    prompt = encode_prompt(turns, clips=clips, renderer=renderer, geometry=model.geometry)
    batch = prompts_batch([prompt]).to(where)
    stop_ids = renderer.stop_ids
    (found,) = answer(model, batch, max_tokens=max_tokens, stop_ids=stop_ids)
    return renderer.decode(found)
