"""A replay as tables for a terminal."""

from collections.abc import Mapping

from sllm_data.reporting.replay import EngineMark, Figures, ReplayReport
from sllm_data.reporting.text import markdown_table

_HEADER = (
    "task",
    "asked",
    "same text",
    "share",
    "same token ids",
    "mean distance",
    "95 %",
    "stop, then",
    "now",
    "length, then",
    "now",
    "refused",
)


def replay_as_text(report: ReplayReport) -> str:
    """Returns the verdict, the engines and the figures by task."""
    rows = [_row(task, figures) for task, figures in report.tasks.items()]
    if report.reused is not None:
        rows.append(_row("(reused answers)", report.reused))
    rows.append(_row("all", report.total))
    of = sum(report.answers.values())
    head = [
        f"dataset: {report.dataset}, pass {report.turn}",
        *(f"then: {_mark(mark)}, {number:,} answers" for mark, number in report.then),
        f"now:  {_mark(report.now)}",
        f"asked: {report.total.asked:,} of {of:,}{_left_out(report.not_asked)}",
    ]
    verdict = (
        f"verdict: {report.verdict} (mean distance {report.total.mean_distance:.4f}; "
        f"close up to {report.max_distance:g})"
    )
    return "\n\n".join(["\n".join(head), markdown_table(_HEADER, rows), verdict])


def _mark(mark: EngineMark) -> str:
    return (
        f"{mark.engine} {mark.engine_version}, prompts as {mark.prompt_mode}, {mark.determinism}"
    )


def _left_out(not_asked: Mapping[str, int]) -> str:
    words = {
        "transcript": "whose answer is the transcript",
        "no_answer": "without an answer then",
    }
    return "".join(
        f"; not asked: {number:,} {words[reason]}"
        for reason, number in not_asked.items()
        if number
    )


def _row(name: str, figures: Figures) -> tuple[str, ...]:
    ids = f"{figures.identical_token_ids:,} of {figures.with_token_ids:,}"
    then, now = figures.finish_reasons["then"], figures.finish_reasons["now"]
    return (
        name,
        f"{figures.asked:,}",
        f"{figures.identical_text:,}",
        f"{figures.identical_text / figures.asked:.1%}",
        ids if figures.with_token_ids else "not told",
        f"{figures.mean_distance:.4f}",
        f"{figures.p95_distance:.4f}",
        *(f"{side.get(reason, 0):,}" for reason in ("stop", "length") for side in (then, now)),
        f"{figures.refused:,}",
    )
