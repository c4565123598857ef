"""The section on anchor bias: what could be learnt from the corpus instead of listening."""

from collections.abc import Sequence

from sllm_data.reporting.report.charts import Charts
from sllm_data.reporting.report.figures import Figures
from sllm_data.reporting.report.losses import NEAR_COPY
from sllm_data.reporting.report.markup import details, note, number, share, table, text

_SHADES = 10


def anchors(figures: Figures, _: Sequence[Figures], charts: Charts) -> str:
    """Copies by task, what transcripts give away, likeness of responses, tasks of speakers."""
    found = figures.anchors
    if not found.rows:
        return note("There are no samples yet.")
    return "".join(
        (
            note(
                f"Measured on {found.rows:,} rows about {found.clips:,} clips, drawn by hash. A "
                "copy rate is 2L / (R + T): L words in common and in order, of R and T words "
                "(ROUGE-L)."
            ),
            _copies(figures, charts),
            _predicted(figures),
            _similarity(figures),
            _speakers(figures),
        )
    )


def _copies(figures: Figures, charts: Charts) -> str:
    known = {task: each for task, each in figures.quality.items() if each.near_copies is not None}
    if not known:
        return ""
    series = {
        "mean copy rate": [each.copy_rate or 0.0 for each in known.values()],
        f"share of copies, from {NEAR_COPY:g} on": [
            each.near_copies or 0.0 for each in known.values()
        ],
    }
    return charts.bars("How far responses copy the transcript", list(known), series)


def _predicted(figures: Figures) -> str:
    lines = [
        (
            f"{task} (the transcript is the answer)" if each.is_transcript else task,
            number(each.rows),
            number(each.own),
            number(each.other),
            number(each.gain),
            share(each.own_words),
            share(each.other_words),
        )
        for task, each in figures.anchors.tasks.items()
    ]
    header = ("task", "rows", "own", "other's", "gain", "words in own", "words in other's")
    return note(
        "How well the transcript alone predicts the response: its copy rate against the own "
        "transcript, and against that of another row of the same task and language; the gain is "
        "what can be said without having read the instruction. The share of its words that stand "
        "in either transcript tells the same without their order."
    ) + table("Transcript alone", header, lines)


def _similarity(figures: Figures) -> str:
    found = figures.anchors
    tasks = sorted({name for a, row in found.similarity.items() for name in (a, *row)})
    if not tasks:
        return note("No clip has responses to two tasks.")
    head = "".join(f'<th scope="col"><span>{text(task)}</span></th>' for task in tasks)
    body = "".join(
        f'<tr><th scope="row">{text(a)}</th>'
        + "".join(_cell(found.similarity.get(min(a, b), {}).get(max(a, b))) for b in tasks)
        + "</tr>"
        for a in tasks
    )
    caption = "Mean copy rate of two responses about one clip, by their tasks"
    grid = (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}"><table class="grid">'
        f"<caption>{caption}</caption><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
    return note(
        f"Two responses to different tasks about one clip have a copy rate of "
        f"{number(found.same_clip)} on average, about two clips {number(found.other_clip)} "
        "(without tasks whose answer is the transcript). The closer the first is to 1, the less "
        "the instruction matters."
    ) + details(caption, grid)


def _cell(rate: float | None) -> str:
    if rate is None:
        return "<td></td>"
    return f'<td class="figure h{min(_SHADES - 1, int(rate * _SHADES))}">{rate:.2f}</td>'


def _speakers(figures: Figures) -> str:
    found = figures.anchors
    lines = [(str(tasks), number(num)) for tasks, num in found.speakers.items()]
    return note(
        "Tasks by speaker: a speaker who is heard with one task only gives the task away. "
        f"{found.unknown_speaker_rows:,} rows have no known speaker."
    ) + (table("Tasks by speaker", ("different tasks", "speakers"), lines) if lines else "")
