"""All of an evaluation as one page: figures, pictures, and answers side by side with the sound.

The page is one file without outside requests. Whatever a corpus, a wording or a model wrote is
escaped; it is never markup.
"""

import base64
import html
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sllm_data.evaluation.bootstrap import Estimate
from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.evaluation.diagnostics import Diagnostics
from sllm_data.evaluation.following import judge
from sllm_data.evaluation.forced import AS_IT_IS, Retention
from sllm_data.evaluation.measures import METRICS
from sllm_data.evaluation.players import asked
from sllm_data.evaluation.predictions import SIDES, Prediction
from sllm_data.evaluation.report import (
    digits_of,
    group_lines,
    group_name,
    pair_lines,
    shown,
)
from sllm_data.evaluation.rows import rows_by_id
from sllm_data.evaluation.tables import Cell, Report
from sllm_data.evaluation.timed import Latency
from sllm_data.words import words

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
h2 {{ border-top: 2px solid; padding-top: 1rem; margin-top: 2.5rem; }}
table {{ border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .15rem .8rem .15rem 0; border-bottom: 1px solid #8884; }}
.wide, pre {{ overflow-x: auto; }} pre {{ font-size: .8rem; }}
.lines td {{ white-space: pre; font-size: .85rem; }}
.turn {{ margin: .5rem 0; padding: .4rem .75rem; border-left: .25rem solid #8886; }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
.answers {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr));
  gap: .75rem; }}
.answers > div {{ background: #8881; padding: .4rem .75rem; border-radius: .3rem; }}
.answers h4 {{ margin: 0; font-size: .85rem; }} .mark {{ font-weight: 400; opacity: .75; }}
.right {{ border-left: .25rem solid #2f9e6e; }} .copied {{ border-left: .25rem solid #d03b3b; }}
audio {{ vertical-align: middle; height: 2rem; }} img {{ max-width: 100%; height: auto; }}
article {{ border-top: 1px solid #8886; padding: .75rem 0; }} article h3 {{ font-size: .9rem;
  overflow-wrap: anywhere; }}
dt {{ float: left; clear: left; width: 9rem; opacity: .7; }} dd {{ margin-left: 9rem; }}
</style></head><body><h1>{title}</h1>
{content}
</body></html>
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """A set of predictions with its figures: all that a page shows."""

    predictions: Sequence[Prediction]
    config: EvaluationConfig
    """As it was scored."""
    report: Report
    facts: Mapping[str, str]
    """What stands on top: dataset, split, date."""
    dataset: Path | None
    """Where instructions and audio of the examples are; without it they are left out."""
    diagnostics: Diagnostics | None = None
    """What was seen inside the model, where somebody looked."""
    losses: Mapping[str, Estimate] = field(default_factory=dict)
    """Of references as the rows are, and what each change adds, see `forced`."""
    latency: Sequence[Latency] = ()
    """Of answers end to end and by a cascade, where one was asked."""
    retention: Retention | None = None
    """Of plain text, where some was read."""


def page(evaluated: Evaluated, *, plots: Mapping[str, bytes], num_examples: int) -> str:
    """Returns the page.

    Args:
        evaluated: The figures.
        plots: PNG files by name.
        num_examples: Answers to show of each task in each group, those with the lowest ids.

    Raises:
        ShardError: The dataset lacks the clip of an example.
    """
    title, report = "Evaluation", evaluated.report
    note = (
        "Score: mean over the tasks of their main metric, 1 is best. Following: share of answers "
        "that break no rule. Anchor: share of answers that copy the transcript where something "
        f"else was asked. In brackets: {evaluated.config.bootstrap.confidence:.0%} confidence."
    )
    content = [
        _facts(
            {**evaluated.facts, **{f"model, {side}": name for side, name in report.models.items()}}
        ),
        "<h2>Groups</h2>",
        table(
            ("group", "side", "tasks", "rows", "score", "following", "anchor"), group_lines(report)
        ),
        f"<p>{html.escape(note)}</p>",
        *_pairs(report),
        *(picture(name, plot) for name, plot in plots.items()),
        *_changes(evaluated.losses),
        *_latency(evaluated.latency),
        *_retention(evaluated.retention),
        "<h2>Tasks</h2>",
        *_tasks(report),
        "<h2>Answers</h2>",
        *_examples(evaluated, num_examples),
        "<h2>Metrics</h2>",
        _facts({name: metric.meaning for name, metric in METRICS.items()} | dict(SIDES)),
        _facts({f"sacrebleu, {name}": value for name, value in report.signatures.items()}),
    ]
    return document(title, content)


def document(title: str, content: Iterable[str]) -> str:
    """Returns a page with a title over its content, which is markup."""
    return _PAGE.format(title=html.escape(title), content="\n".join(content))


def _facts(facts: Mapping[str, str]) -> str:
    lines = (f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items())
    return f"<dl>{''.join(lines)}</dl>"


def table(header: Sequence[str], lines: Iterable[Sequence[str]], *, kind: str = "wide") -> str:
    """Returns a table; whatever its cells hold is escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(value)}</td>' for value in line)}</tr>" for line in lines
    )
    return f'<div class="{kind}"><table><tr>{head}</tr>{rows}</table></div>'


def _pairs(report: Report) -> Iterable[str]:
    if not report.pairs:
        return
    header = ("group", "sides", "score ratio", "following ratio", "NLL gap")
    yield "<h2>Sides against each other</h2>"
    yield table(header, pair_lines(report))
    tasks = sorted({pair.task for pair in report.pairs if pair.task})
    lines = [(task, *line) for task in tasks for line in pair_lines(report, task=task)]
    yield f"<details><summary>by task</summary>{table(('task', *header), lines)}</details>"


def _changes(losses: Mapping[str, Estimate]) -> Iterable[str]:
    if not losses:
        return
    rows = losses[AS_IT_IS].rows
    yield "<h2>Loss of the reference when the row is another</h2>"
    yield (
        f"<p>Nats a token, over {rows:,} rows that were looked into: as it is, and what each "
        "change adds.</p>"
    )
    lines = [(name, shown(found), f"{found.rows:,}") for name, found in losses.items()]
    yield table(("row", "nats", "rows"), lines)


def _latency(latency: Sequence[Latency]) -> Iterable[str]:
    if latency:
        yield "<h2>End to end against the cascade: time</h2>"
    for found in latency:
        yield (
            f"<p>Seconds from sound to the last token, median of three, {found.rows} rows with "
            f"{found.audio_seconds:.1f} s of speech at once; transcriber: "
            f"{html.escape(found.transcriber)}.</p>"
        )
        lines = [
            (str(length), f"{speech:.3f}", f"{cascade:.3f}", f"{ratio:.2f}")
            for length, speech, cascade, ratio in zip(
                found.lengths, found.speech, found.cascade, found.ratios, strict=True
            )
        ]
        yield table(("tokens of an answer", "speech", "cascade", "ratio"), lines)


def _retention(found: Retention | None) -> Iterable[str]:
    if found is None:
        return
    yield "<h2>Plain text</h2>"
    yield f"<p>Nats a token, over {found.texts:,} texts of {found.tokens:,} tokens.</p>"
    sides = {"trained": found.trained, "backbone": found.backbone, "added": found.added}
    yield table(("model", "nats"), [(name, shown(each)) for name, each in sides.items()])


def picture(name: str, plot: bytes) -> str:
    """Returns a PNG inside the page."""
    content = base64.b64encode(plot).decode()
    return f'<p><img alt="{html.escape(name)}" src="data:image/png;base64,{content}"></p>'


def _tasks(report: Report) -> Iterable[str]:
    tasks: defaultdict[str, list[Cell]] = defaultdict(list)
    for cell in report.cells:
        tasks[cell.task].append(cell)
    for task, cells in sorted(tasks.items()):
        names = list(dict.fromkeys(name for cell in cells for name in cell.scores))
        header = ("group", "parameters", "side", "rows", *names, "rules broken")
        lines = [
            (
                group_name(cell.split, cell.eval_group),
                "all" if cell.task_params is None else cell.task_params,
                cell.side,
                f"{cell.rows:,}",
                *(
                    _in_lines(shown(cell.scores.get(name), digits=digits_of(name)))
                    for name in names
                ),
                ", ".join(f"{rule} {rows:,}" for rule, rows in cell.broken_rules.items()),
            )
            for cell in cells
        ]
        yield f"<h3>{html.escape(task)}</h3>{table(header, lines, kind='wide lines')}"


def _in_lines(figure: str) -> str:
    """Puts an interval below its score, so that a table of many metrics stays narrow."""
    return figure.replace(" [", "\n[")


def _examples(evaluated: Evaluated, num_examples: int) -> Iterable[str]:
    dataset = evaluated.dataset
    samples: defaultdict[str, list[Prediction]] = defaultdict(list)
    for each in sorted(evaluated.predictions, key=lambda found: found.sample_id):
        samples[each.sample_id].append(each)
    cells: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for sample_id, answers in samples.items():
        first = answers[0]
        cells[first.task, first.split, first.eval_group].append(sample_id)
    chosen = [sample_id for _, ids in sorted(cells.items()) for sample_id in ids[:num_examples]]
    rows = rows_by_id(dataset, chosen) if dataset else {}
    for sample_id in chosen:
        question = asked(dataset, rows[sample_id]) if dataset and sample_id in rows else ""
        yield _example(samples[sample_id], evaluated.config, question)


def _example(answers: Sequence[Prediction], config: EvaluationConfig, question: str) -> str:
    first = answers[0]
    heading = f"{first.task} {first.task_params if first.task_params != '{}' else ''}"
    boxes = [box("reference", first.reference, "", "")]
    for each in answers:
        judged = judge(each, config)
        is_right = words(each.prediction) == words(each.reference)
        mark = "right" if is_right else (judged.broken_rule or "")
        kind = "right" if is_right else "copied" if judged.is_anchored else ""
        side = f"{each.side} ({each.written_down})" if each.written_down else each.side
        boxes.append(box(side, each.prediction, mark, kind))
    return (
        f"<article><h3>{html.escape(heading)} \u00b7 "
        f"{html.escape(group_name(first.split, first.eval_group))} \u00b7 "
        f"{html.escape(first.instruction_id)} \u00b7 {html.escape(first.sample_id)}</h3>"
        f'{question}<div class="turn"><b>transcript</b> '
        f'<span class="text">{html.escape(first.heard)}</span></div>'
        f'<div class="answers">{"".join(boxes)}</div></article>'
    )


def box(side: str, text: str, mark: str, kind: str) -> str:
    """Returns an answer under the name of who gave it; `right` and `copied` are kinds."""
    return (
        f'<div class="{kind}"><h4>{html.escape(side)} <span class="mark">{html.escape(mark)}'
        f'</span></h4><div class="text">{html.escape(text)}</div></div>'
    )
