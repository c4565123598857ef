"""Which budget of positions fits into memory: found by trying packs that are made up.

A pack of random tokens would hold no audio, and leave out what the encoder and the connector
need; so these hold clips, in two mixes, of which the worse counts:

    longest      one conversation that fills the budget, with clips of 30 s
    shortest     many conversations of a clip of 2 s: most labels, most borders
"""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch

from sllm_data.errors import TrainingError
from sllm_data.trainer.batch import PackedBatch, PackedText
from sllm_data.trainer.figures import peak_memory_gib
from sllm_data.trainer.geometry import AudioGeometry
from sllm_data.trainer.model.config import LossConfig
from sllm_data.trainer.model.speech_lm import SpeechLM

_SHARE_OF_GPU = 0.9
_GRANULE = 64
"""Budgets are multiples of it."""
_ADAM_BYTES = 8
"""Two means for each trained number; there are none before the first update."""
_GIB = 2**30
_TEXT = 24
"""Positions of a short conversation that are text, half of them trained."""


def measured_budget(
    model: SpeechLM, losses: LossConfig, *, at_most: int, memory_gib: float | None
) -> int:
    """Returns the largest budget whose packs fit, up to `at_most`.

    Args:
        model: In training, on its device.
        losses: What is minimised.
        at_most: Positions; a bound from above.
        memory_gib: What may be taken; needed on the CPU.

    Raises:
        TrainingError: Not even the smallest pack fits, or no bound is given on the CPU.
    """
    bound = _memory_bound(model, memory_gib)
    kept = model.encoder.kept
    bound -= kept.most_bytes / _GIB if kept is not None else 0.0

    def fits(granules: int) -> bool:
        budget = granules * _GRANULE
        peaks = (_peak_gib(model, losses, budget, long=long) for long in (True, False))
        return all(peak <= bound for peak in peaks)

    model.encoder.kept = None  # it would know each made-up clip from the second on
    try:
        found = largest(fits, at_most=at_most // _GRANULE)
    finally:
        model.encoder.kept = kept
    if not found:
        raise TrainingError(
            f"a pack of {_GRANULE} positions must fit into {bound:.2f} GiB beside the model, and "
            "does not; choose a smaller model, activation checkpointing, or more memory"
        )
    return found * _GRANULE


def largest(fits: Callable[[int], bool], *, at_most: int) -> int:
    """Returns the largest number in [1, at_most] that fits, 0 where none does.

    Bisection between the largest that is known to fit and the smallest that is known not to,
    after doubling from 1; so nothing more than twice as large as what fits is ever tried.

    >>> largest(lambda number: number <= 37, at_most=100)
    37
    """
    good, bad = 0, at_most + 1
    trial = 1
    while trial < bad:
        if fits(trial):
            good = trial
        else:
            bad = trial
        trial = min(2 * good, at_most) if bad == at_most + 1 and good else (good + bad) // 2
        if trial == good:
            break
    return good


def synthetic_pack(budget: int, geometry: AudioGeometry, *, long: bool, twin: bool) -> PackedBatch:
    """Returns a made-up pack that fills a budget.

    Args:
        budget: Positions.
        geometry: How many of them a clip takes.
        long: Whether it is one conversation; else as many as there is room for.
        twin: Whether it has a side that reads.
    """
    seconds = 30 if long else 2
    frames = seconds * geometry.rate_hz // geometry.hop
    per_clip = geometry.num_positions(frames)
    lengths: list[int] = []
    num_clips: list[int] = []
    if long:
        lengths, num_clips = [budget], [max(1, budget * 2 // 3 // per_clip)]
    else:
        each = min(budget, per_clip + _TEXT)
        lengths = [each] * (budget // each)
        num_clips = [1] * len(lengths)
    if per_clip * num_clips[0] >= lengths[0]:  # too small for such clips: shorter ones
        windows = max(1, lengths[0] // 2 // geometry.queries)
        num_clips = [1] * len(lengths)
        frames = 2 * geometry.window * windows
        per_clip = geometry.num_positions(frames)
    return _pack(lengths, num_clips, (frames, per_clip), mels=geometry.mels, twin=twin)


def _pack(
    lengths: list[int], num_clips: list[int], clip: tuple[int, int], *, mels: int, twin: bool
) -> PackedBatch:
    frames, per_clip = clip
    audio, labelled = [], []
    start = 0
    for length, clips in zip(lengths, num_clips, strict=True):
        heard = min(length - 2, clips * per_clip) if length > 1 else 0
        audio.append(torch.arange(start, start + heard))
        first = start + heard + (length - heard) // 2
        labelled.append(torch.arange(first, start + length))
        start += length
    text = _text(lengths, torch.cat(labelled))
    total = sum(num_clips)
    return PackedBatch(
        text=text,
        audio_positions=torch.cat(audio),
        features=torch.zeros(total * frames, mels),
        clip_frames=torch.full((total,), frames, dtype=torch.int32),
        clip_positions=torch.full((total,), per_clip, dtype=torch.int32),
        twin=text if twin else None,
        sample_ids=tuple(map(str, range(len(lengths)))),
    )


def _text(lengths: list[int], label_positions: torch.Tensor) -> PackedText:
    size = sum(lengths)
    return PackedText(
        token_ids=torch.zeros(size, dtype=torch.int64),
        position_ids=torch.cat([torch.arange(length) for length in lengths]),
        lengths=torch.tensor(lengths, dtype=torch.int32),
        label_positions=label_positions,
        labels=torch.zeros(len(label_positions), dtype=torch.int64),
    )


def _memory_bound(model: SpeechLM, memory_gib: float | None) -> float:
    device = model.device
    if memory_gib is None:
        if device.type != "cuda":
            raise TrainingError(
                "budget.memory_gib must be given where a budget is to be measured on the CPU; "
                "or set budget.automatic to false, and data.budget is taken"
            )
        memory_gib = _SHARE_OF_GPU * torch.cuda.get_device_properties(device).total_memory / _GIB
    means = _ADAM_BYTES * sum(param.numel() for param in model.trainable_parameters().values())
    return memory_gib - float(means) / _GIB


def _peak_gib(model: SpeechLM, losses: LossConfig, budget: int, *, long: bool) -> float:
    """Returns the most memory that a step over a made-up pack takes; infinity where it fails."""
    pack = synthetic_pack(budget, model.geometry, long=long, twin=losses.needs_twin)
    device = model.device
    _forget_peak(device)
    try:
        model(pack.to(device), losses).total.backward()
        return peak_memory_gib(str(device))
    except torch.cuda.OutOfMemoryError:
        return float("inf")
    finally:
        model.zero_grad(set_to_none=True)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    _return_freed_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError as error:
        raise TrainingError(
            "budget.automatic must be false here: this machine does not let a process measure "
            f"its own memory ({error.strerror or error})"
        ) from error


def _return_freed_memory() -> None:
    """Lets the C library return what it keeps; else a small pack looks like the largest before."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is not None:
        trim(0)
