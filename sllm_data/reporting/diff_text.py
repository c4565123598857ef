"""A difference as tables and marked texts for a terminal."""

from collections.abc import Iterator, Mapping, Sequence

from sllm_data.reporting.diff import Diff, Example
from sllm_data.reporting.marks import marked, visible
from sllm_data.reporting.text import markdown_table

_TITLES = {
    "removed": "in a only",
    "added": "in b only",
    "response": "another response",
    "metadata": "the same response, other metadata",
    "equal": "equal",
}
_LONGEST = 1_000


def diff_as_text(diff: Diff, *, configuration: Mapping[str, Sequence[str]]) -> str:
    """Returns the figures as Markdown tables, then the examples.

    Args:
        diff: Of the samples.
        configuration: Differences in run.yaml, by kind of field, one line each.
    """
    lines = [
        "\n".join([f"configuration, {kind}:", *(f"  {visible(line)}" for line in lines)])
        for kind, lines in configuration.items()
        if lines
    ]
    return "\n\n".join([f"a: {diff.a}\nb: {diff.b}", *lines, *_blocks(diff)])


def _blocks(diff: Diff) -> Iterator[str]:
    rows = [(title, f"{diff.rows[kind]:,}") for kind, title in _TITLES.items()]
    yield markdown_table(("samples", "rows"), rows)
    for side, names in (("a", diff.only_a), ("b", diff.only_b)):
        if names:
            yield f"columns in {side} only: {', '.join(names)}"
    if diff.is_equal:
        return
    yield _by_task(diff)
    yield _kinds_by_task(diff)
    yield from _by_split(diff)
    if diff.columns:
        columns = [
            (name, f"{column.rows:,}", f"{column.same_response:,}")
            for name, column in diff.columns.items()
        ]
        yield markdown_table(("column that differs", "rows", "with the same response"), columns)
    for kind, examples in diff.examples.items():
        if examples:
            title = f"{_TITLES[kind]}, {len(examples)} of {diff.rows[kind]:,}:"
            yield "\n".join([title, *(line for one in examples for line in _example(one))])


def _by_task(diff: Diff) -> str:
    header = ("task", "rows a", "b", "", "tokens a", "b", "", "mean characters a", "b", "")
    return markdown_table(
        header,
        [
            (
                name,
                *_delta(task.a.rows, task.b.rows),
                *_delta(task.a.response_tokens, task.b.response_tokens),
                *_delta(task.a.mean_characters, task.b.mean_characters, digits=1),
            )
            for name, task in diff.tasks.items()
        ],
    )


def _kinds_by_task(diff: Diff) -> str:
    kinds = tuple(_TITLES)
    rows = [
        (name, *(f"{task.rows[kind]:,}" for kind in kinds)) for name, task in diff.tasks.items()
    ]
    return markdown_table(("task", *kinds), rows)


def _by_split(diff: Diff) -> Iterator[str]:
    rows = [
        (name, split, *_delta(task.a.splits.get(split, 0), task.b.splits.get(split, 0)))
        for name, task in diff.tasks.items()
        for split in sorted(task.a.splits.keys() | task.b.splits.keys())
    ]
    moved = [row for row in rows if row[-1]]
    if moved:
        yield markdown_table(("task", "split with more or fewer", "rows a", "b", ""), moved)


def _delta(a: float, b: float, *, digits: int = 0) -> tuple[str, str, str]:
    delta = round(b - a, digits)
    return f"{a:,.{digits}f}", f"{b:,.{digits}f}", f"{delta:+,.{digits}f}" if delta else ""


def _example(example: Example) -> Iterator[str]:
    yield f"  {visible(example.sample_id)} {visible(example.task)}"
    if not (example.a and example.b):
        yield f"    {_cut(visible(str((example.a or example.b)['response'])))}"
        return
    shown = ["response"] if "response" in example.a else list(example.a)
    for name in shown:
        label = "" if name == "response" else f"{name}: "
        yield f"    {label}{_cut(marked(str(example.a[name]), str(example.b[name])))}"
    if others := [name for name in example.a if name not in shown]:
        yield f"    also: {', '.join(others)}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
