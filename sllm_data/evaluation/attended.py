"""What the answer attended to, row by row, as a file beside the predictions, and shares of it.

    attention.jsonl   a looked-at row on one side: masses, saliencies and places by layer

What a mass, a saliency and a sink are, and how they are measured, stands in `probing.attention`;
here are no models, so that shares can be made again from what was saved.

    share     instruction / (instruction + content), of masses, of masses divided by the number
              of places ("by length": speech has many more), or of saliencies
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from sllm_data.errors import ShardError
from sllm_data.evaluation.lines import check_answered, numbered_json, parsed_line

ATTENTION = "attention.jsonl"
LOOKED_AT = ("speech", "text", "backbone")
"""The sides of a row that is looked into."""

ByLayer = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attended:
    """One row on one side: sums over the places of a segment, sinks left out, by layer."""

    row: str
    """A sample_id."""
    side: str
    """One of LOOKED_AT."""
    instruction: tuple[float, ...]
    """Mass."""
    content: tuple[float, ...]
    """Mass."""
    sink: tuple[float, ...]
    """Mass on sinks anywhere."""
    instruction_saliency: tuple[float, ...]
    content_saliency: tuple[float, ...]
    instruction_places: tuple[int, ...]
    """How many are no sinks."""
    content_places: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.side not in LOOKED_AT:
            raise ValueError(f"side must be one of {', '.join(LOOKED_AT)}, got {self.side!r}")
        _, _, *by_layer = astuple(self)
        if {len(values) for values in by_layer} - {len(self.sink)} or not self.sink:
            raise ValueError("masses, saliencies and places must have a number for each layer")
        if not all(math.isfinite(each) and each >= 0 for values in by_layer for each in values):
            raise ValueError("masses, saliencies and places must be finite and 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionShares:
    """Means over rows, each (layers,)."""

    rows: int
    instruction: ByLayer
    """Mass."""
    content: ByLayer
    """Mass."""
    sink: ByLayer
    """Mass on sinks anywhere."""
    share: ByLayer
    share_by_length: ByLayer
    saliency_share: ByLayer


def attention_shares(attended: Sequence[Attended]) -> dict[str, AttentionShares]:
    """Returns the means of each side; shares are taken row by row and then averaged."""
    sides: dict[str, list[ByLayer]] = {}
    for each in attended:
        sides.setdefault(each.side, []).append(_shares_of(each))
    return {side: _means(np.stack(found)) for side, found in sides.items()}


def _means(found: npt.NDArray[np.float64]) -> AttentionShares:
    instruction, content, sink, share, by_length, saliency = found.mean(axis=0)
    return AttentionShares(
        rows=len(found),
        instruction=instruction,
        content=content,
        sink=sink,
        share=share,
        share_by_length=by_length,
        saliency_share=saliency,
    )


def _shares_of(row: Attended) -> ByLayer:
    """Returns mass of instruction, content, sinks, and the three shares: (6, layers)."""
    instruction, content = np.asarray(row.instruction), np.asarray(row.content)
    places = [np.maximum(each, 1) for each in (row.instruction_places, row.content_places)]
    return np.stack(
        [
            instruction,
            content,
            np.asarray(row.sink),
            _share(instruction, content),
            _share(instruction / places[0], content / places[1]),
            _share(np.asarray(row.instruction_saliency), np.asarray(row.content_saliency)),
        ]
    )


def _share(a: ByLayer, b: ByLayer) -> ByLayer:
    """Returns a / (a + b); a half where both are nothing."""
    total = a + b
    return np.divide(a, total, out=np.full_like(total, 0.5), where=total > 0)


def read_attended(path: Path, *, known: Collection[str]) -> list[Attended]:
    """Reads what `lines.write_lines` wrote, and checks that all shares can be computed.

    Args:
        path: The file.
        known: The rows that there are.

    Raises:
        ShardError: The file can't be read; a line is broken, stands there twice, is of a row
            that is not known, or has other layers than the first; a row lacks a side; there is
            no line.
    """
    found: dict[tuple[str, str], Attended] = {}
    layers: int | None = None
    for number, line in numbered_json(path):
        where = f"{path}, line {number}"
        each = parsed_line(_reader(), path, number, line, what="row that was looked into")
        if found.setdefault((each.row, each.side), each) is not each:
            raise ShardError(
                f"{where}: each row must stand once for each side, {each.row} of side "
                f"{each.side} stands before already; remove one of them"
            )
        check_answered(where, [each.row], known)
        layers = layers or len(each.sink)
        if len(each.sink) != layers:
            raise ShardError(
                f"{where}: must have the {layers} layers of the first line, has "
                f"{len(each.sink)}; remove the lines of one model"
            )
    _check_whole(path, found)
    return list(found.values())


def _check_whole(path: Path, found: Mapping[tuple[str, str], Attended]) -> None:
    if not found:
        raise ShardError(f"{path}: must hold rows that were looked into, holds none; remove it")
    for row, side in found:
        for other in LOOKED_AT:
            if (row, other) not in found:
                raise ShardError(
                    f"{path}: row {row} must have the side {other}, has {side}; the file is "
                    "cut, evaluate again"
                )


@cache
def _reader() -> TypeAdapter[Attended]:
    return TypeAdapter(Attended)
