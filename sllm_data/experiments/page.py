"""A study as one page: the comparison, pictures, answers with their sound, what was run."""

import html
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sllm_data.evaluation.page import box, document, picture, table
from sllm_data.evaluation.players import asked
from sllm_data.evaluation.report import MISSING
from sllm_data.evaluation.rows import rows_by_id
from sllm_data.experiments.arms import Outcome
from sllm_data.experiments.figures import (
    FIGURES,
    LENGTHS,
    by_length,
    copies,
    figures_of,
    is_exact,
    scores_of,
)
from sllm_data.experiments.result import Study

_TRAINED_EXAMPLES = 6  # of tasks that were trained
_NEW_EXAMPLES = 2  # of those that were held out


def page(study: Study, pictures: Mapping[str, bytes], at: Path) -> str:
    """Returns the page.

    Args:
        study: What was found.
        pictures: PNG files by name.
        at: The folder in which the page will lie, for its links.

    Raises:
        ShardError: The dataset lacks the clip of an example.
    """
    scale = study.scale
    lines = table(("arm", *study.plan.shows), study.lines())
    return document(
        study.plan.title,
        [
            f"<p>{html.escape(study.plan.asks)}</p>",
            (
                f"<p>{study.hours:g} hours of the small spoken world; each training "
                f"{scale.steps:,} steps of {scale.budget:,} positions; {scale.rows} rows of each "
                f"task in each group of the split {html.escape(scale.split)} were asked. Over "
                "several seeds: the mean, in brackets the lowest and the highest; where some of "
                "them have no such figure, how many have.</p>"
            ),
            lines,
            *(picture(name, content) for name, content in pictures.items()),
            *_by_length(study),
            *_by_task(study),
            "<h2>Answers</h2>",
            *_examples(study),
            "<h2>What the figures are</h2>",
            table(("figure", "meaning"), [(name, FIGURES[name]) for name in study.plan.shows]),
            *_by_seed(study),
            "<h2>What was run</h2>",
            *_what_was_run(study, at),
        ],
    )


def _by_length(study: Study) -> Iterator[str]:
    """What is answered rightly by the length of the answer, where a cascade was asked."""
    if not study.plan.cascades:
        return
    yield "<h2>Exact answers by the words of the right one</h2>"
    lines = []
    for each in study.outcomes:
        for side in ("speech", "cascade"):
            found = by_length(each, side)
            cells = [
                f"{found[n][1]:.3f} of {found[n][0]}" if n in found else MISSING for n in LENGTHS
            ]
            lines.append((each.arm.name, str(each.seed), side, *cells))
    yield table(("arm", "seed", "side", *LENGTHS), lines)


def _by_task(study: Study) -> Iterator[str]:
    """Exact answers of each task: speech and text, the mean over seeds."""
    found: defaultdict[tuple[str, str], dict[str, dict[str, list[float]]]] = defaultdict(dict)
    rows: dict[tuple[str, str], int] = {}
    for outcome in study.outcomes:
        for score in scores_of(outcome):
            if score.side in ("speech", "text"):
                cell = found[score.group, score.task].setdefault(outcome.arm.name, {})
                cell.setdefault(score.side, []).append(score.exact)
                rows[score.group, score.task] = score.rows
    arms = list(study.figures)
    yield "<h2>Tasks</h2>"
    yield "<p>Exact answers to speech / on text, the mean over seeds.</p>"
    yield table(
        ("group", "task", "rows", *arms),
        [
            (group, task, str(rows[group, task]), *(_both(cells.get(arm, {})) for arm in arms))
            for (group, task), cells in sorted(found.items())
        ],
    )


def _both(cell: Mapping[str, Sequence[float]]) -> str:
    return " / ".join(
        f"{statistics.fmean(cell[side]):.2f}" if side in cell else MISSING
        for side in ("speech", "text")
    )


def _examples(study: Study) -> Iterator[str]:
    """Some rows with their sound, and what each arm's first training answered to them."""
    firsts: dict[str, Outcome] = {}
    for each in study.outcomes:
        firsts.setdefault(each.arm.name, each)
    heard = {
        arm: {answer.sample_id: answer for answer in each.answers if answer.side == "speech"}
        for arm, each in firsts.items()
    }
    one = next(iter(heard.values()))
    first_of_task: dict[tuple[str, str], str] = {}
    for sample_id in sorted(set.intersection(*(set(answers) for answers in heard.values()))):
        first_of_task.setdefault((one[sample_id].eval_group, one[sample_id].task), sample_id)
    trained = [found for (group, _), found in sorted(first_of_task.items()) if group == "train"]
    new = [found for (group, _), found in sorted(first_of_task.items()) if "task" in group]
    chosen = (*trained[:_TRAINED_EXAMPLES], *new[:_NEW_EXAMPLES])
    rows = rows_by_id(study.dataset, chosen)
    for sample_id in chosen:
        row = one[sample_id]
        boxes = [box("reference", row.reference, "", "")]
        for arm, answers in heard.items():
            answer = answers[sample_id]
            right, copied = is_exact(answer), copies(answer)
            boxes.append(
                box(
                    arm,
                    answer.prediction,
                    "right" if right else "copies the transcript" if copied else "",
                    "right" if right else "copied" if copied else "",
                )
            )
        question = asked(study.dataset, rows[sample_id]) if sample_id in rows else ""
        yield (
            f"<article><h3>{html.escape(row.task)} \u00b7 {html.escape(row.eval_group)}</h3>"
            f'{question}<div class="turn"><b>transcript</b> '
            f'<span class="text">{html.escape(row.transcript)}</span></div>'
            f'<div class="answers">{"".join(boxes)}</div></article>'
        )


def _by_seed(study: Study) -> Iterator[str]:
    if len(study.outcomes) == len(study.figures):
        return
    yield "<h2>Each training</h2>"
    shows = study.plan.shows
    lines = []
    for each in study.outcomes:
        found = figures_of(each)
        cells = [MISSING if (value := found[name]) is None else f"{value:.3f}" for name in shows]
        lines.append((each.arm.name, str(each.seed), *cells))
    yield table(("arm", "seed", *shows), lines)


def _what_was_run(study: Study, at: Path) -> Iterable[str]:
    yield f"<pre>{html.escape(study.command())}</pre>"
    yield (
        f"<p>All calls of it that came to an end took {study.seconds / 60:.0f} minutes, "
        f"{study.jobs} trainings at once, on {html.escape(study.machine)}.</p>"
    )
    for run_yaml in study.run_yamls:
        name = os.path.relpath(run_yaml, at.parent)
        yield _folded(f"the data: {name}", run_yaml.read_text("utf-8"))
    plan = study.plan
    drawn = ["states.png"] * bool(plan.looked) + ["latency.png"] * bool(plan.cascades)
    for each in study.outcomes:
        report = each.report
        link = html.escape(os.path.relpath(each.evaluation / "index.html", at))
        yield (
            f"<h3>{html.escape(each.arm.name)}, seed {each.seed}</h3>"
            f"<p>{html.escape(each.arm.means)}. {report['labels']:,} tokens trained in "
            f"{report['seconds'] / 60:.1f} minutes, loss {report['loss']:.3f} at the end. "
            f'<a href="{link}">{html.escape(each.evaluation.name)}</a></p>'
        )
        if each.seed == study.outcomes[0].seed:
            for path in (each.evaluation / name for name in drawn):
                if path.is_file():  # a few clips have no map
                    yield picture(f"{path.name} of {each.arm.name}", path.read_bytes())
        yield _folded("train.yaml", (each.folder / "train.yaml").read_text("utf-8"))


def _folded(name: str, content: str) -> str:
    return (
        f"<details><summary>{html.escape(name)}</summary><pre>{html.escape(content)}</pre>"
        "</details>"
    )
