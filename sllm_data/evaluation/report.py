"""The figures as text for a terminal, and as JSON for a script."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sllm_data.evaluation.bootstrap import Estimate
from sllm_data.evaluation.tables import EVAL_GROUPS, Cell, Report
from sllm_data.reporting.text import markdown_table

MISSING = "\u2013"
"""What stands where there is no figure."""

POINTS = frozenset({"bleu", "chrf"})
"""Metrics that people read with 100 as the best."""


def shown(estimate: Estimate | None, *, digits: int = 3) -> str:
    """Returns a figure with its interval.

    >>> shown(Estimate(value=0.5, low=0.25, high=0.75, rows=8))
    '0.500 [0.250, 0.750]'
    >>> shown(Estimate(value=None, rows=0))
    '\u2013'
    """
    if estimate is None or estimate.value is None:
        return MISSING
    value = f"{estimate.value:.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def digits_of(metric: str) -> int:
    """Returns how many decimals of a metric are read."""
    return 1 if metric in POINTS else 3


def group_name(split: str, eval_group: str) -> str:
    """Returns what a group is called: `test: held-out task`."""
    return f"{split}: {EVAL_GROUPS.get(eval_group, eval_group)}"


def as_text(report: Report) -> str:
    """Returns the figures as Markdown tables, which read well as plain text too."""
    blocks = [
        markdown_table(
            ("group", "side", "tasks", "rows", "score", "following", "anchor"), group_lines(report)
        )
    ]
    if report.pairs:
        blocks.append(
            markdown_table(
                ("group", "sides", "score ratio", "following ratio", "NLL gap"),
                pair_lines(report),
            )
        )
    blocks.append(
        markdown_table(
            ("group", "task", "side", "rows", "metric", "score", "following", "anchor"),
            [_cell_line(cell) for cell in report.cells if cell.task_params is None],
        )
    )
    return "\n\n".join(blocks)


def group_lines(report: Report) -> list[Sequence[str]]:
    """Returns a line for each group and side."""
    return [
        (
            group_name(group.split, group.eval_group),
            group.side,
            str(group.tasks),
            f"{group.rows:,}",
            shown(group.score),
            shown(group.following),
            shown(group.anchor),
        )
        for group in report.groups
    ]


def pair_lines(report: Report, *, task: str | None = None) -> list[Sequence[str]]:
    """Returns a line for each pair of sides, of all tasks together or of one."""
    return [
        (
            group_name(pair.split, pair.eval_group),
            f"{pair.side} / {pair.other}",
            shown(pair.score_ratio),
            shown(pair.following_ratio),
            shown(pair.nll_gap),
        )
        for pair in report.pairs
        if pair.task == task and pair.score_ratio.rows
    ]


def _cell_line(cell: Cell) -> Sequence[str]:
    return (
        group_name(cell.split, cell.eval_group),
        cell.task,
        cell.side,
        f"{cell.rows:,}",
        cell.main,
        shown(cell.scores.get(cell.main), digits=digits_of(cell.main)),
        shown(cell.scores.get("following")),
        shown(cell.scores.get("anchor")),
    )


def as_json(report: Report) -> dict[str, Any]:  # Any: JSON document
    """Returns the figures as plain values; one that is not defined is null."""
    return asdict(report)
