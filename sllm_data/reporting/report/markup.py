"""HTML of figures: tables, facts, numbers. Whatever comes in as text is escaped here."""

import html
from collections.abc import Iterable, Mapping, Sequence

MISSING = "\u2013"


def text(value: object) -> str:
    """Returns a text that is only text, also inside an attribute."""
    return html.escape(str(value))


def table(
    caption: str, header: Sequence[str], lines: Iterable[Sequence[str]], *, kind: str = "figures"
) -> str:
    """Returns a table: the first column names its line, the others are figures or texts.

    Args:
        caption: What it tells.
        header: Names of the columns.
        lines: Its cells.
        kind: A class of the style sheet: `plain` has all cells on the left.
    """
    head = "".join(
        f'<th scope="col">{text(name)}</th>' if name else "<td></td>" for name in header
    )
    body = "".join(
        f'<tr><th scope="row">{text(first)}</th>'
        f"{''.join(f'<td{_kind(cell)}>{text(cell)}</td>' for cell in rest)}</tr>"
        for first, *rest in lines
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{text(caption)}">'
        f'<table class="{kind}">'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _kind(cell: str) -> str:
    is_figure = cell == MISSING or cell.strip("-+%, .0123456789") == ""
    return ' class="figure"' if is_figure else ""


def facts(lines: Mapping[str, object]) -> str:
    """Returns names with what stands for each."""
    items = (f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in lines.items())
    return f"<dl>{''.join(items)}</dl>"


def note(sentence: str) -> str:
    """Returns a paragraph that explains."""
    return f'<p class="note">{text(sentence)}</p>'


def details(summary: str, content: str) -> str:
    """Returns what is shown on demand, and in print."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def share(value: float | None) -> str:
    """Returns a share in per cent."""
    return MISSING if value is None else f"{value:.1%}"


def number(value: float | None, *, digits: int = 2) -> str:
    """Returns a figure; whole ones with thousands parted."""
    if value is None:
        return MISSING
    if isinstance(value, int):
        return f"{value:,}"
    return f"{round(value, digits) + 0.0:,.{digits}f}"  # the sum of -0.0 and 0.0 is 0.0
