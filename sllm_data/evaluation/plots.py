"""The figures as pictures: PNG, one idea each."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sllm_data.evaluation.bootstrap import Estimate
from sllm_data.evaluation.forced import AS_IT_IS
from sllm_data.evaluation.report import group_name
from sllm_data.evaluation.tables import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#3867b7", "#d9822b", "#6b7785", "#2f9e6e", "#9a5bbf")
_PER_GROUP = 0.8  # of the space between two groups is taken by their bars


def figure_plots(report: Report, losses: Mapping[str, Estimate]) -> dict[str, bytes]:
    """Returns PNG files by name; a picture that would be empty is left out."""
    groups = [group for group in report.groups if group.rows]
    names = list(dict.fromkeys(group_name(each.split, each.eval_group) for each in groups))
    by_group = {
        side: {
            group_name(each.split, each.eval_group): each for each in groups if each.side == side
        }
        for side in report.models
    }
    plots = {
        "scores": bars(
            "Mean score of the tasks",
            names,
            {side: [each[name].score for name in names] for side, each in by_group.items()},
        ),
        "following": bars(
            "Share of answers that break no rule",
            names,
            {side: [each[name].following for name in names] for side, each in by_group.items()},
        ),
        "anchor": bars(
            "Share of answers that copy the transcript",
            *_by_task(report, "anchor"),
        ),
        "nll_gap": _gaps(report),
        "counterfactuals": _changes(losses),
    }
    return {name: content for name, content in plots.items() if content is not None}


def _by_task(report: Report, metric: str) -> tuple[list[str], dict[str, list[Estimate | None]]]:
    cells = [cell for cell in report.cells if cell.task_params is None and metric in cell.scores]
    keys = sorted({(cell.split, cell.eval_group, cell.task) for cell in cells})
    found = {
        (cell.split, cell.eval_group, cell.task, cell.side): cell.scores[metric] for cell in cells
    }
    names = [f"{task}\n({group_name(split, group)})" for split, group, task in keys]
    return names, {side: [found.get((*key, side)) for key in keys] for side in report.models}


def _gaps(report: Report) -> bytes | None:
    pairs = [
        pair
        for pair in report.pairs
        if pair.task is not None and (pair.side, pair.other) == ("speech", "text")
    ]
    names = [f"{each.task}\n({group_name(each.split, each.eval_group)})" for each in pairs]
    gaps: dict[str, list[Estimate | None]] = {"speech less text": [each.nll_gap for each in pairs]}
    return bars("Loss of the reference: nats a token, speech less text", names, gaps)


def _changes(losses: Mapping[str, Estimate]) -> bytes | None:
    changes = [name for name in losses if name != AS_IT_IS]
    added: list[Estimate | None] = [losses[name] for name in changes]
    title = "What a change adds to the loss of the reference: nats a token"
    return bars(title, changes, {"added": added})


def bars(
    title: str, names: Sequence[str], series: Mapping[str, Sequence[Estimate | None]]
) -> bytes | None:
    """Draws horizontal bars with intervals; None where there is not one figure.

    Args:
        title: What the length of a bar is.
        names: One for each place.
        series: Figures by name, as many as places; a missing one leaves its place empty.
    """
    if not any(each is not None and each.value is not None for s in series.values() for each in s):
        return None
    figure, (axes,) = new_figure(height=1.2 + 0.24 * len(names) * (len(series) + 1))
    thickness = _PER_GROUP / len(series)
    for number, (label, estimates) in enumerate(series.items()):
        places = [
            place
            for place, each in enumerate(estimates)
            if each is not None and each.value is not None
        ]
        found = [each for each in estimates if each is not None and each.value is not None]
        values = [each.value or 0.0 for each in found]
        below, above = zip(*map(_reach, found), strict=True) if found else ((), ())
        axes.barh(
            [place + number * thickness for place in places],
            values,
            height=thickness,
            xerr=[below, above],
            label=label,
            color=_COLOURS[number % len(_COLOURS)],
            ecolor="#444",
        )
    middle = (len(series) - 1) * thickness / 2
    axes.set_yticks([place + middle for place in range(len(names))], _plain(names), fontsize=8)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=10)
    if len(series) > 1:
        figure.legend(fontsize=8, loc="outside lower right", ncols=4, frameon=False)
    return as_png(figure)


def _reach(found: Estimate) -> tuple[float, float]:
    """Returns how far the interval reaches to both sides; the score may lie outside of it."""
    value = found.value or 0.0
    low, high = found.low, found.high
    return (
        0.0 if low is None else max(0.0, value - low),
        0.0 if high is None else max(0.0, high - value),
    )


def _plain(names: Sequence[str]) -> list[str]:
    return [name.replace("$", r"\$") for name in names]  # matplotlib would read formulas


def new_figure(
    *, height: float, width: float = 8.0, columns: int = 1
) -> tuple["Figure", list["Axes"]]:
    """Returns a white figure of so many inches with axes beside each other."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - its import takes a second

    figure = Figure(figsize=(width, min(height, 40.0)), layout="constrained")
    panels = list(figure.subplots(1, columns, squeeze=False)[0])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def as_png(figure: "Figure") -> bytes:
    """Returns a figure as the bytes of a PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    return content.getvalue()
