"""The command that hands a dataset on to other trainers; `cli` puts it on the line."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from sllm_data.cli_places import dataset_place, disk_place
from sllm_data.exporting import FORMATS, Report, Selection, plan_export, write_export
from sllm_data.files import check_is_free
from sllm_data.steps import Progress

Groups = Literal["train", "held_out_instruction", "held_out_task", "all"]


def export(  # noqa: PLR0913 - options of a command
    dataset: Annotated[
        Path,
        typer.Argument(
            parser=dataset_place, metavar="DATASET", help="a dataset", show_default=False
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(
            parser=disk_place, metavar="FOLDER", help="a new folder", show_default=False
        ),
    ],
    *,
    layout: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))],
    split: Annotated[str, typer.Option(help="train, validation or test")] = "train",
    eval_group: Annotated[Groups, typer.Option(help="which rows of the split")] = "train",
    task: Annotated[
        list[str] | None, typer.Option(help="only this task; repeat it for several")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="only this kind, as `instruct`; repeat it")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only so many rows, the first")] = None,
    on_unsupported: Annotated[
        Literal["refuse", "skip"],
        typer.Option(help="what to do where the layout can't hold a row"),
    ] = "refuse",
    rows_per_shard: Annotated[
        int, typer.Option(min=1, help="of layouts that have shards: at most so many rows in one")
    ] = 1000,
    check: Annotated[bool, typer.Option(help="read back what was written")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Writes the rows of a dataset with their sound as another trainer or library reads them."""
    selection = Selection(
        split=split,
        eval_group=eval_group,
        tasks=tuple(task or ()),
        kinds=tuple(kind or ()),
        limit=limit,
    )
    check_is_free(output)
    plan = plan_export(dataset, layout, selection, skip=on_unsupported == "skip")
    console = Console(stderr=True)
    progress = Progress(console if console.is_terminal else None)
    with progress.bar(f"export {layout}", plan.rows) as bar:
        report = write_export(
            plan, output, rows_per_shard=rows_per_shard, check=check, advance=bar.advance
        )
    typer.echo(json.dumps(report.as_json()) if as_json else _as_text(report))


def _as_text(report: Report) -> str:
    plan = report.plan
    checked = "read back" if report.is_checked else "not read back"
    size = f"{report.bytes / 1e6:,.1f} MB"
    lines = [f"{plan.rows:,} rows, {plan.stretches:,} stretches of speech, {size}, {checked}"]
    lines += [
        f"left out, {reason}: {left.rows:,} rows, the first is {left.first}"
        for reason, left in plan.left_out.items()
    ]
    return "\n".join((*lines, f"export: {report.output}"))
