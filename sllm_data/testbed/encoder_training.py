"""Trains the speech encoder of the small spoken world from scratch, and examines it.

The same arguments on the same machine, with the same versions of torch and transformers,
give the same files.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sllm_data.errors import RejectedError
from sllm_data.seeding import seed_for
from sllm_data.testbed.clips import speak_clip
from sllm_data.testbed.encoder import (
    ENCODER_RATE_HZ,
    Encoder,
    EncoderSize,
    new_encoder,
    word_error_rate,
)
from sllm_data.testbed.encoder_speech import Batch, batches
from sllm_data.testbed.events import stories
from sllm_data.testbed.speech import Synthesizer
from sllm_data.testbed.training import Optimizers, Report, num_parameters, repeatable, schedule
from sllm_data.testbed.voices import HELD_OUT_VOICES, WORLD_VOICES, Voice

if TYPE_CHECKING:
    import torch
    from torch import nn

_CHARACTERS = " abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderTraining:
    """How the encoder is trained; the defaults are those of the one that is shipped."""

    seed: int = 1
    size: EncoderSize = field(
        default_factory=lambda: EncoderSize(hidden=128, layers=4, heads=4, feed_forward=512)
    )
    steps: int = 5_400
    batch_frames: int = 2_000
    """Of one step, padding included; 100 are a second."""
    learning_rate: float = 8e-3
    """At its highest; it rises over the first `warm_up` of the steps and falls to almost none."""
    warm_up: float = 0.05
    hard: tuple[float, ...] = (0.0, 0.3, 0.6, 0.8, 0.9, 0.9, 0.9, 0.9)
    """Share of hard clips (`encoder_speech.batches`) in each of so many equal parts."""
    exam_texts: int = 300
    required_seen: float = 0.02
    """The highest word error rate on unseen texts by the voices of the training."""
    required_unseen: float = 0.05
    """The same by voices that it never heard."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderFigures:
    """What a trained encoder can do."""

    parameters: int
    """With those of the head and the table of positions."""
    seen: float
    """Word error rate on unseen texts by the voices of the training."""
    unseen: float
    """The same by voices that it never heard."""
    hours: float
    """Of speech heard in training."""


def train_encoder(
    folder: Path,
    training: EncoderTraining,
    *,
    minutes: float,
    report: Report = lambda _steps, _note: None,
) -> EncoderFigures:
    """Trains an encoder and writes its model folder, in float16.

    Args:
        folder: Created; files in it are overwritten.
        training: Size, length, seed.
        minutes: What the steps may take; checked after every one.
        report: Called after every step.

    Raises:
        RejectedError: The time ran out, and nothing is written; or too many words are heard
            wrongly, and the folder can be looked at.
    """
    ends = time.monotonic() + 60 * minutes
    num_frames = 0
    with repeatable(training.seed):
        encoder = new_encoder(training.size)
        for step, loss, size in _steps(encoder, training):
            num_frames += size
            report(1, f"loss {loss:.3f}")
            if time.monotonic() > ends and step + 1 < training.steps:
                raise RejectedError(
                    f"{folder}: the encoder must be trained in {minutes:g} minutes, but these "
                    f"were over after step {step + 1:,} of {training.steps:,}, with a loss of "
                    f"{loss:.3f} a character; allow more minutes"
                )
        for weights in (encoder.whisper, encoder.head):
            weights.half().float()  # examined is what is saved
        encoder.save(folder)
        seen, unseen = (
            examine_encoder(encoder, voices, num_texts=training.exam_texts, seed=training.seed)
            for voices in (WORLD_VOICES, HELD_OUT_VOICES)
        )
    if seen > training.required_seen or unseen > training.required_unseen:
        raise RejectedError(
            f"{folder}: the encoder may get {training.required_seen:.0%} of the words wrong by "
            f"voices of its training and {training.required_unseen:.0%} by others, but got "
            f"{seen:.1%} and {unseen:.1%} wrong after {training.steps:,} steps; train longer"
        )
    return EncoderFigures(
        parameters=num_parameters(_weights(encoder)),
        seen=seen,
        unseen=unseen,
        hours=num_frames / 360_000,
    )


def examine_encoder(
    encoder: Encoder, voices: Sequence[Voice], *, num_texts: int, seed: int
) -> float:
    """Returns the word error rate on stories of the half `test`, the voices taking turns."""
    texts = [story.text for story in stories(num_texts, seed=seed, half="test")]
    synthesizer = Synthesizer()
    heard = []
    for number, text in enumerate(texts):
        clip = speak_clip(synthesizer, text, voices[number % len(voices)], ENCODER_RATE_HZ)
        heard.append(encoder.transcribe(clip.samples))
    return word_error_rate(texts, heard)


def _steps(encoder: Encoder, training: EncoderTraining) -> Iterator[tuple[int, float, int]]:
    """Makes all steps; yields number, loss per character, and frames of speech."""
    import torch  # noqa: PLC0415 - its import takes seconds

    spelling = torch.nn.Linear(training.size.hidden, len(_CHARACTERS) + 1)
    weights = [*_weights(encoder), *spelling.parameters()]
    weights = [weight for weight in weights if weight.requires_grad]
    optimizers = Optimizers(encoder.whisper.encoder.layers, weights)
    for step, batch in enumerate(_batches(training)):
        loss = _loss(encoder, spelling, batch)
        loss.backward()
        optimizers.step(training.learning_rate * schedule(step / training.steps, training.warm_up))
        yield step, loss.item(), int(batch.num_frames.sum())


def _batches(training: EncoderTraining) -> Iterator[Batch]:
    ends = [training.steps * part // len(training.hard) for part in range(len(training.hard) + 1)]
    for part, hard in enumerate(training.hard):
        speech = batches(
            WORLD_VOICES,
            seed=seed_for(training.seed, "testbed-encoder", part),
            max_frames=training.batch_frames,
            hard=hard,
        )
        yield from islice(speech, ends[part + 1] - ends[part])


def _loss(encoder: Encoder, spelling: "nn.Linear", batch: Batch) -> "torch.Tensor":
    """Returns CTC's loss of words and of characters, by the number of characters.

    From words alone nothing is learnt for long: a word is a line that has 200 names.
    """
    states = encoder.encode(batch.features, batch.num_frames)
    num_positions = (batch.num_frames + 1) // 2
    words = [[encoder.words.index(word) + 1 for word in text.split()] for text in batch.texts]
    characters = [[_CHARACTERS.index(each) + 1 for each in text] for text in batch.texts]
    lost = _ctc(encoder.head(states), num_positions, words)
    lost = lost + _ctc(spelling(states), num_positions, characters)
    return lost / sum(map(len, characters))


def _ctc(
    logits: "torch.Tensor", num_positions: "torch.Tensor", labels: Sequence[Sequence[int]]
) -> "torch.Tensor":
    import torch  # noqa: PLC0415 - its import takes seconds

    return torch.nn.functional.ctc_loss(
        logits.log_softmax(dim=-1).transpose(0, 1),
        torch.tensor([label for each in labels for label in each]),
        num_positions,
        torch.tensor([len(each) for each in labels]),
        reduction="sum",
    )


def _weights(encoder: Encoder) -> "list[torch.nn.Parameter]":
    return [*encoder.whisper.encoder.parameters(), *encoder.head.parameters()]
