"""The figures of a dataset as tables for a terminal or a Markdown page."""

from collections.abc import Iterable, Mapping, Sequence

from sllm_data.errors import one_line
from sllm_data.reporting.stats import Stats

Rows = Iterable[Sequence[str]]


def as_text(stats: Stats) -> str:
    """Returns all figures as Markdown tables, which read well as plain text too."""
    blocks = [_headline(stats)]
    if stats.languages:
        blocks.append(_by_language(stats))
    if stats.tasks:
        blocks.append(_by_task(stats))
    if stats.splits:
        blocks.append(markdown_table(("split", "samples"), _counts(stats.splits)))
        blocks.append(markdown_table(("eval group", "samples"), _counts(stats.eval_groups)))
    if stats.flags:
        blocks.append(markdown_table(("kept, but flagged", "requests"), _counts(stats.flags)))
    if stats.rejections:
        rows = [
            (step, reason, f"{count:,}")
            for step, reasons in stats.rejections.items()
            for reason, count in sorted(reasons.items(), key=lambda item: -item[1])
        ]
        blocks.append(markdown_table(("rejected by step", "reason", "rows"), rows))
    return "\n\n".join(blocks)


def _headline(stats: Stats) -> str:
    clips = sum(language.clips for language in stats.languages.values())
    hours = sum(language.hours for language in stats.languages.values())
    lines = [
        ("candidates listed", f"{stats.selection.get('listed', 0):,}"),
        ("candidates chosen", f"{stats.rows.get('candidates', 0):,}"),
        ("clips stored", f"{clips:,}"),
        ("hours of speech", f"{hours:,.2f}"),
        ("requests", f"{stats.rows.get('requests', 0):,}"),
        ("samples", f"{stats.rows.get('samples', 0):,}"),
        ("rejections", f"{stats.rows.get('rejections', 0):,}"),
    ]
    if stats.tokens:
        lines.append(("prompt tokens", f"{stats.tokens.get('prompt', 0):,}"))
        lines.append(("response tokens", f"{stats.tokens.get('response', 0):,}"))
    if stats.throughput.get("responses"):
        lines.append(("responses/s, last run", f"{stats.throughput['rows_per_second']:,.1f}"))
        lines.append(
            (
                "response tokens/s, last run",
                f"{stats.throughput['response_tokens_per_second']:,.0f}",
            )
        )
        lines.append(("engine busy, last run", f"{stats.throughput['engine_busy_share']:.0%}"))
    return markdown_table(("dataset", ""), lines)


def _by_language(stats: Stats) -> str:
    rows = [
        (name, f"{language.clips:,}", f"{language.hours:,.3f}", f"{language.samples:,}")
        for name, language in stats.languages.items()
    ]
    return markdown_table(("language", "clips", "hours", "samples"), rows)


def _by_task(stats: Stats) -> str:
    rows = [
        (
            name,
            f"{task.asked_share:.1%}",
            f"{task.requests:,}",
            f"{task.request_share:.1%}",
            f"{task.samples:,}",
            f"{task.sample_share:.1%}",
            f"{task.response_tokens:,}",
            f"{task.token_share:.1%}",
        )
        for name, task in stats.tasks.items()
    ]
    header = ("task", "asked", "requests", "share", "samples", "share", "tokens", "share")
    return markdown_table(header, rows)


def _counts(counts: Mapping[str, int]) -> Rows:
    return [(name, f"{count:,}") for name, count in counts.items()]


def markdown_table(header: Sequence[str], rows: Rows) -> str:
    """Returns an aligned table: the first column to the left, the others to the right."""
    lines = [tuple(map(_plain, line)) for line in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def shown(line: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return "| " + " | ".join((first, *rest)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([shown(lines[0]), rule, *(shown(line) for line in lines[1:])])


def _plain(cell: str) -> str:
    """A cell without line breaks and escape codes: names of languages come from corpora."""
    return one_line(cell, at_most=300).replace("|", "\\|")
