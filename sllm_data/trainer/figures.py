"""What is told of a step: figures for people, `metrics.jsonl` for programs.

loss                       of the step, before its update: a mean over trained tokens
tokens_per_second          real positions of the LLM, text and audio, of all ranks
trained_tokens_per_second  labels, of all ranks
audio_hours_per_hour       of audio heard by all ranks, by the clock
mfu                        model FLOPs of real tokens over what the machine can do (`flops`)
skipped                    rows that were left out since the training began
seconds                    of the step, without validation and checkpoints behind it
useful_share               of the budget of positions that packs fill
loader_wait_share          of the step's time, spent waiting for packs
peak_memory_gib            of the largest rank: GPU memory, else of the process
"""

import json
import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from sllm_data.files import write_text, writing
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.distributed import Ranks
from sllm_data.trainer.flops import ModelCost

METRICS = "metrics.jsonl"
_GIB = 2**30
_KIB = 2**10


@dataclass(frozen=True, kw_only=True, slots=True)
class StepFigures:
    """One step, over all ranks."""

    step: int
    """How many updates are done, this one included."""
    stage: int
    loss: float
    parts: Mapping[str, float]
    """Each loss without its weight, a mean over trained tokens."""
    rates: Mapping[str, float]
    """Learning rates by part of the model."""
    grad_norm: float
    labels: int
    positions: int
    audio_seconds: float
    useful_share: float
    seconds: float
    loader_wait_share: float
    tokens_per_second: float
    trained_tokens_per_second: float
    audio_hours_per_hour: float
    peak_memory_gib: float
    mfu: float | None
    skipped: int = 0
    """Rows that were left out so far, by the first rank's count."""
    validation_loss: float | None = None

    def flat(self) -> dict[str, float]:
        """Returns all numbers by name, those within others as `rates/llm`."""
        found: dict[str, float] = {}
        for name, value in asdict(self).items():
            if isinstance(value, dict):
                found |= {f"{name}/{inner}": float(number) for inner, number in value.items()}
            elif value is not None:
                found[name] = float(value)
        return found

    def note(self) -> str:
        """Returns what stands behind the progress bar."""
        return (
            f"loss {self.loss:.3f}  {self.tokens_per_second:,.0f} tokens/s  "
            f"{self.audio_hours_per_hour:,.0f} h/h  useful {self.useful_share:.0%}"
        )


@dataclass(kw_only=True, slots=True)
class Totals:
    """Sums over steps and ranks."""

    seconds: float = 0.0
    """By the clock."""
    waited: float = 0.0
    """For packs, on average over the ranks."""
    labels: int = 0
    positions: int = 0
    audio_seconds: float = 0.0
    flops: float = 0.0
    room: int = 0
    """Positions that the budgets had room for."""

    def add(self, other: "Totals") -> None:
        """Adds other sums to these."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def shares(self, peak_flops: float | None) -> dict[str, Any]:  # Any: of StepFigures' fields
        """Returns the figures that are one sum over another."""
        seconds = max(self.seconds, 1e-9)
        return {
            "seconds": self.seconds,
            "useful_share": self.positions / max(self.room, 1),
            "loader_wait_share": self.waited / seconds,
            "tokens_per_second": self.positions / seconds,
            "trained_tokens_per_second": self.labels / seconds,
            "audio_hours_per_hour": self.audio_seconds / seconds,
            "mfu": None if peak_flops is None else self.flops / seconds / peak_flops,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Meter:
    """Weighs the packs of a step."""

    costs: Sequence[ModelCost]
    """Of packs, in each stage."""
    budget: int
    peak_flops: float | None
    """Of all ranks' machines in a second, where it is known."""
    ranks: Ranks

    def weigh(
        self, packs: Sequence[PackedBatch], *, stage: int, seconds: float, waited: float
    ) -> Totals:
        """Returns the sums of a step; all ranks call it."""
        mine = [
            sum(len(pack.text.labels) for pack in packs),
            sum(len(pack.text.token_ids) for pack in packs),
            sum(pack.audio_seconds for pack in packs),
            sum(self.costs[stage].flops(pack) for pack in packs),
            len(packs) * self.budget,
            waited,
        ]
        labels, positions, audio_seconds, flops, room, all_waited = self.ranks.sums(mine)
        return Totals(
            seconds=seconds,
            waited=all_waited / self.ranks.world_size,
            labels=int(labels),
            positions=int(positions),
            audio_seconds=audio_seconds,
            flops=flops,
            room=int(room),
        )

    def peak_memory_gib(self) -> float:
        """Returns the most memory that any rank took."""
        return self.ranks.largest(peak_memory_gib(self.ranks.device))


def peak_memory_gib(device: str) -> float:
    """Returns the most memory that was taken: of the GPU, else of this process."""
    if torch.device(device).type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / _GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB / _GIB


class MetricsFile:
    """`metrics.jsonl`: a line for each step, in order, none twice, however often one began."""

    def __init__(self, path: Path, *, steps_done: int) -> None:
        """Keeps the lines of the steps that are done; those behind were lost with their run."""
        self._path = path
        kept = [line for line in _lines(path) if line["step"] <= steps_done]
        write_text(path, "".join(f"{json.dumps(line)}\n" for line in kept))

    def add(self, figures: StepFigures) -> None:
        """Writes the line of a step.

        Raises:
            OutputError: The disk is full.
        """
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(asdict(figures))}\n")


def last_figures(path: Path) -> dict[str, Any]:  # Any: JSON
    """Returns the figures of the last step, with the validation loss that was seen last."""
    found: dict[str, Any] = {}
    for line in _lines(path):
        seen = found.get("validation_loss")
        found = line
        if line.get("validation_loss") is None:
            found["validation_loss"] = seen
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:  # Any: JSON
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # the last one, of a run that was killed while it wrote
            return
