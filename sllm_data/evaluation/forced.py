"""What forced texts cost, row by row, as files beside the predictions, and the figures of them.

    counterfactuals.jsonl   the reference of a row: as the row is, and with each change
    retention.jsonl         a plain text: by the trained model, and by its backbone as it was

Who measures it stands in `probing` and `retention`; here are no models, so that figures and
intervals can be made again from what was saved.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from sllm_data.errors import ShardError
from sllm_data.evaluation.bootstrap import Estimate
from sllm_data.evaluation.config import BootstrapConfig
from sllm_data.evaluation.lines import check_answered, numbered_json, parsed_line
from sllm_data.evaluation.scores import difference, paired_ratios

COUNTERFACTUALS = "counterfactuals.jsonl"
RETENTION = "retention.jsonl"
AS_IT_IS = "as it is"
TRAINED, BACKBONE = "trained", "backbone"

NEEDED = {COUNTERFACTUALS: (AS_IT_IS,), RETENTION: (TRAINED, BACKBONE)}
"""By file: the conditions that every row of it must have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForcedLoss:
    """Of one text under one condition."""

    row: str
    """A sample_id, or the number of a plain text, from 1."""
    condition: str
    """`as it is` or a change of the row; of a plain text who reads it."""
    nll: float
    """Sum over its tokens of -log p, in nats."""
    nll_tokens: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.nll):
            raise ValueError(f"nll must be finite, got {self.nll}")
        if self.nll_tokens < 1:
            raise ValueError(f"nll_tokens must be 1 or more, got {self.nll_tokens}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """Nats a token of plain texts; intervals over texts, both models drawn in pairs."""

    texts: int
    tokens: int
    """That are predicted."""
    trained: Estimate
    backbone: Estimate
    added: Estimate
    """By the training."""


def added_losses(losses: Sequence[ForcedLoss], config: BootstrapConfig) -> dict[str, Estimate]:
    """Returns nats a token of the reference: as it is, and what each change adds to that.

    A row counts for the changes that it has.
    """
    found = _by_condition(losses)
    added = {}
    for name, rows in found.items():
        counts = np.array([(*found[AS_IT_IS][row], *own) for row, own in rows.items()])
        base, changed = paired_ratios(counts, config, "counterfactual", name)
        score = base if name == AS_IT_IS else difference(changed, base)
        added[name] = score.estimate(config)
    return added


def retention_of(losses: Sequence[ForcedLoss], config: BootstrapConfig) -> Retention | None:
    """Returns what the training cost on plain texts; None where none was read."""
    if not losses:
        return None
    found = _by_condition(losses)
    counts = np.array([(*now, *found[BACKBONE][row]) for row, now in found[TRAINED].items()])
    after, before = paired_ratios(counts, config, "retention")
    return Retention(
        texts=len(counts),
        tokens=int(counts[:, 1].sum()),
        trained=after.estimate(config),
        backbone=before.estimate(config),
        added=difference(after, before).estimate(config),
    )


def _by_condition(losses: Sequence[ForcedLoss]) -> Mapping[str, dict[str, tuple[float, float]]]:
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for each in losses:
        found.setdefault(each.condition, {})[each.row] = each.nll, float(each.nll_tokens)
    return found


def read_forced(path: Path, *, known: Collection[str] | None = None) -> list[ForcedLoss]:
    """Reads losses and checks that all their figures can be computed.

    Args:
        path: Named like one of NEEDED.
        known: The rows that there are; None where any may be.

    Raises:
        ShardError: The file can't be read; a line is broken, stands there twice, or is of a row
            that is not known; a row lacks a condition; there is no line.
    """
    found: dict[tuple[str, str], ForcedLoss] = {}
    for number, line in numbered_json(path):
        each = parsed_line(_reader(), path, number, line, what="loss")
        if found.setdefault((each.row, each.condition), each) is not each:
            raise ShardError(
                f"{path}, line {number}: each row must stand once for each condition, {each.row} "
                f"with {each.condition!r} stands before already; remove one of them"
            )
        if known is not None:
            check_answered(f"{path}, line {number}", [each.row], known)
    if not found:
        raise ShardError(f"{path}: must hold losses, holds none; remove it")
    for row, condition in found:
        lacking = [name for name in NEEDED[path.name] if (row, name) not in found]
        if lacking:
            raise ShardError(
                f"{path}: row {row} must have the condition {lacking[0]!r}, has {condition!r} "
                "alone; remove its lines"
            )
    return list(found.values())


@cache
def _reader() -> TypeAdapter[ForcedLoss]:
    return TypeAdapter(ForcedLoss)
