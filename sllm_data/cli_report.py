"""The command that writes a dataset's report; `cli` puts it on the line."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sllm_data.cli_places import dataset_place, disk_place
from sllm_data.reporting.report import MAX_AUDIO_BYTES, NUM_STAGES, write_report
from sllm_data.steps import Progress


def report(
    dataset: Annotated[
        Path,
        typer.Argument(
            parser=dataset_place, metavar="DATASET", help="a dataset", show_default=False
        ),
    ],
    *,
    beside: Annotated[
        Path | None,
        typer.Option(parser=dataset_place, metavar="DATASET", help="another, to stand beside it"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=disk_place,
            metavar="FILE",
            help="the page; reports/report.html of the dataset",
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=0, max=10_000, help="samples to show of each dataset")
    ] = 50,
    audio_mb: Annotated[
        int, typer.Option(min=0, help="size of all clips in the page, at most")
    ] = MAX_AUDIO_BYTES // 2**20,
    as_json: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
) -> None:
    """Writes all figures of a dataset, and samples to listen to, as one page."""
    roots = [dataset] if beside is None else [dataset, beside]
    page = output or dataset / "reports/report.html"
    console = Console(stderr=True)
    progress = Progress(console if console.is_terminal else None)
    with progress.bar("report", len(roots) * NUM_STAGES) as bar:
        datasets = write_report(
            roots,
            page,
            num_samples=samples,
            advance=bar.advance,
            max_audio_bytes=audio_mb * 2**20,
        )
    if as_json:
        typer.echo(json.dumps([figures.as_json() for figures in datasets]))
    else:
        typer.echo(f"report: {page}")
