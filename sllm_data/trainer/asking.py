"""Asking a trained model about clips that are in no dataset, many at once."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from sllm_data.audio.decode import DecodedClip
from sllm_data.records import Turn
from sllm_data.trainer.data.conversation import encode_prompt, prompts_batch
from sllm_data.trainer.data.packing import in_packs
from sllm_data.trainer.distributed import chosen_device, told_of_memory
from sllm_data.trainer.model.answering import answer
from sllm_data.trainer.trained import load_trained

_MEMORY = (
    "the GPU's memory must hold the model and what is asked at once, and does not; ask for "
    "shorter answers, on a GPU with more memory, or with --device cpu"
)


class Question(NamedTuple):
    """A conversation that ends with a user turn; audio spans name clips by `audio_index`."""

    turns: Sequence[Turn]
    clips: Sequence[DecodedClip] = ()


def answers_to(
    folder: Path,
    questions: Iterable[Question],
    *,
    max_tokens: int = 256,
    budget: int = 4096,
    device: str = "auto",
) -> Iterator[str]:
    """Yields a trained model's greedy answers, in the order of the questions.

    Args:
        folder: What `train` wrote.
        questions: Read as far as the next pack needs them.
        max_tokens: Of an answer; a longer one is cut.
        budget: Positions that are answered at once; a longer question is answered alone.
        device: auto, cpu or cuda.

    Raises:
        ModelError: There is no such model, or its template refuses the roles.
        ShardError: A span reaches beyond its clip.
        TrainingError: A GPU is asked for and there is none.
    """
    where = chosen_device(device)
    dtype = torch.bfloat16 if where == "cuda" else torch.float32
    with told_of_memory(_MEMORY):
        trained = load_trained(folder, device=where, dtype=dtype)
    stop_ids = trained.renderer.stop_ids
    prompts = (
        encode_prompt(
            turns, clips=clips, renderer=trained.renderer, geometry=trained.model.geometry
        )
        for turns, clips in questions
    )
    for pack in in_packs(prompts, size_of=lambda each: len(each.row.text), budget=budget):
        with told_of_memory(_MEMORY):
            batch = prompts_batch(pack).to(where)
            found = answer(trained.model, batch, max_tokens=max_tokens, stop_ids=stop_ids)
        for ids in found:
            yield trained.renderer.decode(ids)
