"""The seconds that answers took, request by request, as a file beside the predictions.

    latency.jsonl   rows that were answered at once: by which side, how many tokens, how long

The curve over the length of an answer is made of the medians. Who runs the clock stands in
`latency`; here are no models.
"""

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from sllm_data.errors import ShardError
from sllm_data.evaluation.lines import check_answered, numbered_json, parsed_line
from sllm_data.evaluation.plots import as_png, new_figure

LATENCY = "latency.jsonl"
TIMED = ("speech", "cascade")
"""The sides that are compared."""

_Batch = tuple[tuple[str, ...], float, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """One request by the clock."""

    rows: tuple[str, ...]
    """The sample_id of each row that was answered at once."""
    audio_seconds: float
    """Of all of them."""
    transcriber: str
    side: str
    """One of TIMED."""
    tokens: int
    """Of each answer; nothing ends one earlier."""
    seconds: float
    """From sound to the last token."""

    def __post_init__(self) -> None:
        if self.side not in TIMED:
            raise ValueError(f"side must be one of {', '.join(TIMED)}, got {self.side!r}")
        if not self.rows or self.tokens < 1:
            raise ValueError("rows and tokens must be 1 or more")
        if not (math.isfinite(self.audio_seconds) and self.audio_seconds >= 0):
            raise ValueError(f"audio_seconds must be finite, 0 or more, got {self.audio_seconds}")
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"seconds must be finite and above 0, got {self.seconds}")


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


def latencies(timed: Sequence[Timed]) -> tuple[Latency, ...]:
    """Returns a curve for each batch of rows, in the order in which they were timed."""
    found = []
    for batch, lengths in _by_batch(timed).items():
        rows, audio_seconds, transcriber = batch
        medians = {
            side: tuple(statistics.median(taken[side]) for taken in lengths.values())
            for side in TIMED
        }
        found.append(
            Latency(
                rows=len(rows),
                audio_seconds=audio_seconds,
                transcriber=transcriber,
                lengths=tuple(lengths),
                **medians,
            )
        )
    return tuple(found)


def _by_batch(timed: Sequence[Timed]) -> dict[_Batch, dict[int, dict[str, list[float]]]]:
    """Returns the seconds by batch, tokens and side."""
    found: dict[_Batch, dict[int, dict[str, list[float]]]] = {}
    for each in timed:
        batch = (each.rows, each.audio_seconds, each.transcriber)
        by_side = found.setdefault(batch, {}).setdefault(each.tokens, {})
        by_side.setdefault(each.side, []).append(each.seconds)
    return found


def read_timed(path: Path, *, known: Collection[str]) -> list[Timed]:
    """Reads what `lines.write_lines` wrote, and checks that all curves can be drawn.

    Args:
        path: The file.
        known: The rows that there are.

    Raises:
        ShardError: The file can't be read; a line is broken or of a row that is not known; a
            batch was not timed as often on both sides; there is no line.
    """
    timed = []
    for number, line in numbered_json(path):
        each = parsed_line(_reader(), path, number, line, what="timed request")
        check_answered(f"{path}, line {number}", each.rows, known)
        timed.append(each)
    if not timed:
        raise ShardError(f"{path}: must hold timed requests, holds none; remove it")
    for (rows, *_), lengths in _by_batch(timed).items():
        for tokens, by_side in lengths.items():
            times = [len(by_side.get(side, ())) for side in TIMED]
            if len(set(times)) > 1:
                raise ShardError(
                    f"{path}: {len(rows)} rows at once must be timed as often on both sides, "
                    f"answers of {tokens} tokens are {times[0]} times on {TIMED[0]} and "
                    f"{times[1]} on {TIMED[1]}; the file is cut, evaluate again"
                )
    return timed


@cache
def _reader() -> TypeAdapter[Timed]:
    return TypeAdapter(Timed)


def latency_plot(found: Sequence[Latency]) -> bytes:
    """Draws both curves over the length of an answer, for each number of rows at once."""
    figure, axes = new_figure(height=3.0, width=4.5 * len(found), columns=len(found))
    for plot, each in zip(axes, found, strict=True):
        for name in TIMED:
            plot.plot(each.lengths, getattr(each, name), marker=".", label=name)
        plot.set_xscale("log", base=2)
        plot.set_xticks(each.lengths, [str(length) for length in each.lengths], fontsize=8)
        plot.set_ylim(bottom=0)
        plot.set_xlabel("tokens of an answer", fontsize=8)
        at_once = "one answer" if each.rows == 1 else f"{each.rows} answers at once"
        plot.set_title(f"seconds for {at_once}", loc="left", fontsize=10)
        plot.legend(fontsize=8, frameon=False)
    return as_png(figure)
