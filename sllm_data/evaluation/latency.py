"""How long an answer takes end to end and by a cascade, as a curve over its length.

The same LLM, as it was trained, answers the same rows in one batch on the same machine; the
clock runs from the decoded samples to the last token. What a cascade pays beside is the
transcript, once for each clip, so the two come together as answers grow longer.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from sllm_data.audio.decode import DecodedClip
from sllm_data.evaluation.cascade import Transcriber, as_written_down, utterances_of
from sllm_data.evaluation.plots import as_png, new_figure
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Seconds from sound to the last token, for all rows at once; medians."""

    rows: int
    """In the batch."""
    audio_seconds: float
    transcriber: str
    lengths: tuple[int, ...]
    """Tokens of each answer; nothing ends one earlier."""
    speech: tuple[float, ...]
    cascade: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as long the cascade takes."""
        return tuple(b / a for a, b in zip(self.speech, self.cascade, strict=True))


def measure(
    trained: Trained,
    rows: Sequence[tuple[Row, Sequence[DecodedClip]]],
    transcriber: Transcriber,
    *,
    max_tokens: int,
) -> Latency:
    """Measures both on rows, one or more, that can be asked.

    Args:
        trained: The model.
        rows: With their clips; answered at once.
        transcriber: Of the cascade.
        max_tokens: The longest answer that is of interest.
    """
    lengths = tuple(each for each in _LENGTHS if each <= max_tokens) or (max_tokens,)
    _end_to_end(trained, rows, lengths[0])  # what is first compiled or loaded is not measured
    _cascade(trained, rows, transcriber, lengths[0])
    speech, cascade = [], []
    for length in lengths:
        speech.append(_seconds(trained, partial(_end_to_end, trained, rows, length)))
        cascade.append(_seconds(trained, partial(_cascade, trained, rows, transcriber, length)))
    utterances = [each for row, clips in rows for each in utterances_of(row, clips)]
    return Latency(
        rows=len(rows),
        audio_seconds=sum(each.num_samples / each.clip.sampling_rate for each in utterances),
        transcriber=transcriber.name,
        lengths=lengths,
        speech=tuple(speech),
        cascade=tuple(cascade),
    )


def _seconds(trained: Trained, work: Callable[[], None]) -> float:
    found = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        if trained.model.device.type == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


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


def latency_plot(found: Sequence[Latency]) -> bytes:
    """Draws both curves over the length of an answer, for each number of rows at once."""
    figure, axes = new_figure(height=3.0, width=4.5 * len(found), columns=len(found))
    for plot, each in zip(axes, found, strict=True):
        for name in ("speech", "cascade"):
            plot.plot(each.lengths, getattr(each, name), marker=".", label=name)
        plot.set_xscale("log", base=2)
        plot.set_xticks(each.lengths, [str(length) for length in each.lengths], fontsize=8)
        plot.set_ylim(bottom=0)
        plot.set_xlabel("tokens of an answer", fontsize=8)
        at_once = "one answer" if each.rows == 1 else f"{each.rows} answers at once"
        plot.set_title(f"seconds for {at_once}", loc="left", fontsize=10)
        plot.legend(fontsize=8, frameon=False)
    return as_png(figure)
