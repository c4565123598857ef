"""The report as one HTML page: works from disk, asks for nothing outside, escapes everything.

A content security policy in the page forbids whatever is not in it: should a text of a corpus
ever come through as markup, it could load and run nothing.
"""

import base64
import hashlib
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from sllm_data.reporting.report import guard, sections
from sllm_data.reporting.report.charts import Charts
from sllm_data.reporting.report.examples import Example
from sllm_data.reporting.report.figures import Figures
from sllm_data.reporting.report.markup import MISSING, note, table, text
from sllm_data.reporting.report.players import Players, sample

_SECTIONS: tuple[tuple[str, str, sections.Section], ...] = (
    ("amounts", "Hours, rows and tokens", sections.amounts),
    ("quotas", "Quotas asked and got", sections.quotas),
    ("lengths", "Lengths and durations", sections.lengths),
    ("rejections", "Rejections", sections.rejections),
    ("quality", "Quality", sections.quality),
    ("duplicates", "Duplicates", sections.duplicates),
    ("anchors", "Anchor bias", guard.anchors),
    ("throughput", "Throughput", sections.throughput),
)

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>{style}</style></head><body class="{kind}">
<a class="skip" href="#main">Skip to the figures</a>
<header><h1>{title}</h1><nav aria-label="Sections"><ul>{links}</ul></nav></header>
<main id="main" tabindex="-1">
{content}
</main>
<script>{script}</script>
</body></html>
"""


def page(
    datasets: Sequence[Figures], examples: Sequence[Sequence[Example]], *, max_audio_bytes: int
) -> str:
    """Returns the page.

    Args:
        datasets: One, or two to stand side by side.
        examples: Samples of each.
        max_audio_bytes: How large all clips in the page may be together.
    """
    charts = Charts()
    content = [_section("headline", "Headline", _headline(datasets))]
    content += [
        _section(name, title, _sides(datasets, make, charts)) for name, title, make in _SECTIONS
    ]
    content.append(_section("samples", "Samples", _samples(datasets, examples, max_audio_bytes)))
    titles = {"headline": "Headline"} | {name: title for name, title, _ in _SECTIONS}
    links = "".join(
        f'<li><a href="#{name}">{title}</a></li>'
        for name, title in (titles | {"samples": "Samples"}).items()
    )
    style, script = (_beside(name) for name in ("page.css", "page.js"))
    return _PAGE.format(
        title=text(" and ".join(each.name for each in datasets)),
        policy=(
            f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
            "media-src data:; img-src data:; base-uri 'none'; form-action 'none'"
        ),
        kind="two" if len(datasets) > 1 else "one",
        style=style,
        script=script,
        links=links,
        content="\n".join(content),
    )


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _section(name: str, title: str, content: str) -> str:
    return (
        f'<section id="{name}" aria-labelledby="{name}-heading"><h2 id="{name}-heading">{title}'
        f"</h2>{content}</section>"
    )


def _headline(datasets: Sequence[Figures]) -> str:
    found = [dict(sections.headline(each)) for each in datasets]
    names = list(dict.fromkeys(name for each in found for name in each))
    lines = [(name, *(each.get(name, MISSING) for each in found)) for name in names]
    header = ("", *(each.name for each in datasets))
    return table("Headline figures", header, lines, kind="plain")


def _sides(datasets: Sequence[Figures], make: sections.Section, charts: Charts) -> str:
    if len(datasets) == 1:
        return make(datasets[0], datasets, charts)
    sides = (
        f"<div>{sections.heading(each)}{make(each, datasets, charts)}</div>" for each in datasets
    )
    return f'<div class="sides">{"".join(sides)}</div>'


def _samples(
    datasets: Sequence[Figures], examples: Sequence[Sequence[Example]], max_audio_bytes: int
) -> str:
    players = Players(max_audio_bytes)
    tasks = sorted({each.row["task"] for found in examples for each in found})
    if not tasks:
        return note("There are no samples yet.")
    articles = "".join(
        f'<article data-task="{text(task)}"><h3>{text(task)}</h3><div class="sides">'
        + "".join(
            sample(each, players, dataset=figures.name if len(datasets) > 1 else "")
            if each
            else "<div></div>"
            for figures, each in zip(datasets, row, strict=True)
        )
        + "</div></article>"
        for task in tasks
        for row in _beside_each_other(
            [[each for each in found if each.row["task"] == task] for found in examples]
        )
    )
    options = "".join(f'<option value="{text(task)}">{text(task)}</option>' for task in tasks)
    left_out = (
        f" {players.left_out:,} players were left out to keep the page below its size."
        if players.left_out
        else ""
    )
    return (
        note(
            "Of every task those with the lowest ids, which are hashes. Text that is trained is "
            "green and underlined with dots." + left_out
        )
        + '<p id="filter" hidden><label for="task">Task</label> <select id="task">'
        f'<option value="">all tasks</option>{options}</select> '
        f'<output id="shown" for="task" aria-live="polite"></output></p>{articles}'
    )


def _beside_each_other(sides: Sequence[Sequence[Example]]) -> list[tuple[Example | None, ...]]:
    """Puts samples of one id beside each other, then what is left in the order of each side."""
    ids = [{each.row["sample_id"] for each in side} for side in sides]
    common = set.intersection(*ids)
    first = [[each for each in side if each.row["sample_id"] in common] for side in sides]
    rest = [[each for each in side if each.row["sample_id"] not in common] for side in sides]
    return [*zip(*first, strict=True), *zip_longest(*rest)]
