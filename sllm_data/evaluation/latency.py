"""How long an answer takes end to end and by a cascade, as a curve over its length.

The same LLM, as it was trained, answers the same rows in one batch on the same machine; the
clock runs from the decoded samples to the last token. What a cascade pays beside is the
transcript, once for each clip, so the two come together as answers grow longer.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch

from sllm_data.audio.decode import DecodedClip
from sllm_data.evaluation.cascade import Transcriber, as_written_down, utterances_of
from sllm_data.evaluation.timed import Timed
from sllm_data.trainer.data.conversation import (
    encode_prompt,
    prompts_batch,
    question_of,
    read_question_of,
)
from sllm_data.trainer.data.reading import Row
from sllm_data.trainer.model.answering import answer
from sllm_data.trainer.trained import Trained

_LENGTHS = (1, 4, 16, 64, 256)
_REPEATS = 3


def measure(
    trained: Trained,
    rows: Sequence[tuple[Row, Sequence[DecodedClip]]],
    transcriber: Transcriber,
    *,
    max_tokens: int,
) -> list[Timed]:
    """Times both on rows, one or more, that can be asked.

    Args:
        trained: The model.
        rows: With their clips; answered at once.
        transcriber: Of the cascade.
        max_tokens: The longest answer that is of interest.

    Returns:
        Each side three times for each length.
    """
    lengths = tuple(each for each in _LENGTHS if each <= max_tokens) or (max_tokens,)
    utterances = [each for row, clips in rows for each in utterances_of(row, clips)]
    audio_seconds = sum(each.num_samples / each.clip.sampling_rate for each in utterances)
    sides: dict[str, Callable[[int], None]] = {
        "speech": partial(_end_to_end, trained, rows),
        "cascade": partial(_cascade, trained, rows, transcriber),
    }
    for work in sides.values():
        work(lengths[0])  # what is first compiled or loaded is not measured
    return [
        Timed(
            rows=tuple(row.sample_id for row, _ in rows),
            audio_seconds=audio_seconds,
            transcriber=transcriber.name,
            side=side,
            tokens=length,
            seconds=_seconds(trained, partial(work, length)),
        )
        for length in lengths
        for side, work in sides.items()
        for _ in range(_REPEATS)
    ]


def _seconds(trained: Trained, work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    if trained.model.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _end_to_end(
    trained: Trained, rows: Sequence[tuple[Row, Sequence[DecodedClip]]], length: int
) -> None:
    model, renderer, _ = trained
    prompts = [
        encode_prompt(
            question_of(row),
            clips=clips,
            gains_db=row.gains_db,
            renderer=renderer,
            geometry=model.geometry,
        )
        for row, clips in rows
    ]
    answer(model, prompts_batch(prompts).to(model.device), max_tokens=length, stop_ids=())


def _cascade(
    trained: Trained,
    rows: Sequence[tuple[Row, Sequence[DecodedClip]]],
    transcriber: Transcriber,
    length: int,
) -> None:
    model, renderer, _ = trained
    utterances = [utterances_of(row, clips) for row, clips in rows]
    texts = iter(transcriber([each for found in utterances for each in found]))
    prompts = [
        encode_prompt(
            read_question_of(as_written_down(row, [next(texts) for _ in found])),
            renderer=renderer,
            geometry=model.geometry,
        )
        for (row, _), found in zip(rows, utterances, strict=True)
    ]
    answer(model, prompts_batch(prompts).to(model.device), max_tokens=length, stop_ids=())
