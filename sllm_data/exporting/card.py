"""The README.md of an export: what it is, where it came from, whose it is, who reads it."""

from pathlib import Path
from typing import Any

import yaml

import sllm_data
from sllm_data.errors import one_line
from sllm_data.exporting.planning import Plan

_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}

_TEXT = """
# {title}

{rows:,} rows of the dataset `{dataset}` in the layout `{format}`, for {reader}: split `{split}`,
evaluation group `{eval_group}`{only}. Made by sllm-data {version} with the recipe {recipes}.

Digest of the dataset's rows: `{digest}`. Each row keeps its `sample_id`.

```
{usage}
```

## Sources

The licences of the sources hold for this copy.

| corpus | version | licence | attribution | rows |
|---|---|---|---|---:|
{sources}
"""


def card_of(plan: Plan, output: Path) -> str:
    """Returns the text of a card.

    Args:
        plan: Of the export.
        output: Where it will be; only its name is told.
    """
    title = output.resolve().name
    front: dict[str, Any] = {  # Any: YAML values
        **plan.layout.front(plan.selection.split, plan.mark),
        "tags": ["speech", "instruction-tuning", "sllm-data"],
    }
    several = plan.layout.usage_of_several if plan.several_clips else ""
    usage = (several or plan.layout.usage).strip()
    for name, value in (("{folder}", title), ("{stem}", plan.selection.split)):
        usage = usage.replace(name, value)
    selection = plan.selection
    only = [f"task `{task}`" for task in selection.tasks]
    only += [f"kind `{kind}`" for kind in selection.kinds]
    if selection.limit is not None:
        only.append(f"the first {selection.limit:,}")
    body = _TEXT.format(
        title=title,
        rows=plan.rows,
        dataset=plan.dataset.resolve().name,
        format=plan.format,
        reader=plan.layout.reader,
        split=selection.split,
        eval_group=selection.eval_group,
        only="".join(f", {each}" for each in only),
        version=sllm_data.__version__,
        recipes=" and ".join(f"`{recipe}`" for recipe in plan.recipes),
        digest=plan.digest,
        usage=usage,
        sources="\n".join(
            f"| {' | '.join(cell(text) for text in source)} | {rows:,} |"
            for source, rows in plan.sources.items()
        ),
    )
    if plan.left_out:
        body += (
            "\n## Left out\n\n| what the layout can't hold | rows | the first |\n|---|---:|---|\n"
        )
        body += "".join(
            f"| {cell(reason)} | {left.rows:,} | `{left.first}` |\n"
            for reason, left in plan.left_out.items()
        )
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n{body}"


def cell(text: str) -> str:
    """Returns what somebody wrote as a cell of a table: one line, no markup, no escape codes."""
    line = one_line(" ".join(text.split()), at_most=500)
    for character in "&<>":  # a card is shown as a page, where Markdown may hold HTML
        line = line.replace(character, _MARKUP[character])
    return line.replace("|", "\\|") or "-"
