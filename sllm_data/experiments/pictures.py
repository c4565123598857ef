"""A study as pictures: PNG, one idea each."""

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sllm_data.evaluation.plots import as_png, bars, new_figure
from sllm_data.experiments.arms import Outcome
from sllm_data.experiments.figures import DRAWN
from sllm_data.experiments.result import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BY_LAYER: Mapping[str, str] = {
    "share": "instruction's share\nof attention",
    "saliency_share": "instruction's share\nof saliency",
    "instruction": "attention that the\ninstruction gets",
    "content": "attention that\nspeech or text gets",
}
_BACKBONE = "backbone on text"

Series = Mapping[str, Sequence[Sequence[float]]]
"""By what a line is called: values by layer, of each training."""


def pictures_of(study: Study) -> dict[str, bytes]:
    """Returns PNG files by name; a picture that would be empty is left out."""
    figures = study.figures
    drawn = {
        "figures": bars(
            study.plan.title,
            list(figures),
            {DRAWN[name]: [each[name] for each in figures.values()] for name in study.plan.draws},
        ),
        "layers": _layers(study.outcomes) if study.plan.looked else None,
    }
    return {name: content for name, content in drawn.items() if content is not None}


def _layers(outcomes: Sequence[Outcome]) -> bytes:
    """Draws what was seen inside by layer: the mean over seeds, from the lowest to the highest."""
    figure, panels = new_figure(height=3.6, width=15.0, columns=len(_BY_LAYER) + 1)
    for axes, (name, title) in zip(panels, _BY_LAYER.items(), strict=False):
        _lines(axes, _attention(outcomes, name), first=1)
        axes.set_title(title, loc="left", fontsize=9)
    similar: defaultdict[str, list[list[float]]] = defaultdict(list)
    for each in outcomes:
        values = each.inside["cka"] if each.inside else ()
        similar[each.arm.name].append([math.nan if value is None else value for value in values])
    _lines(panels[-1], similar, first=0)
    panels[-1].set_title("CKA of the states of\nspeech and of text", loc="left", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower left", ncols=5, frameon=False)
    return as_png(figure)


def _attention(outcomes: Sequence[Outcome], name: str) -> Series:
    found: defaultdict[str, list[Sequence[float]]] = defaultdict(list)
    for each in outcomes:
        if each.inside:
            found[each.arm.name].append(each.inside["attention"]["speech"][name])
    backbone = [
        each.inside["attention"]["backbone"][name]
        for each in outcomes
        if each.inside and "backbone" in each.inside["attention"]
    ]
    return {**found, _BACKBONE: backbone}


def _lines(axes: "Axes", series: Series, *, first: int) -> None:
    for label, trainings in series.items():
        by_layer = list(zip(*trainings, strict=True))
        layers = range(first, first + len(by_layer))
        (line,) = axes.plot(layers, list(map(statistics.fmean, by_layer)), marker=".", label=label)
        if label == _BACKBONE:
            line.set(color="black", linestyle="--")
        lowest, highest = list(map(min, by_layer)), list(map(max, by_layer))
        axes.fill_between(layers, lowest, highest, color=line.get_color(), alpha=0.15)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("layer", fontsize=8)
