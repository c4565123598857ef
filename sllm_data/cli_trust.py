"""The commands that tell whether a dataset can be trusted; `cli` puts them on the line."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from sllm_data.cli_places import dataset_place
from sllm_data.records import PASSES, Pass
from sllm_data.reporting.diff_text import diff_as_text
from sllm_data.reporting.replay_text import replay_as_text
from sllm_data.steps import Progress
from sllm_data.steps.diff import diff_datasets
from sllm_data.steps.replay import MAX_DISTANCE
from sllm_data.steps.replay import replay as replay_dataset
from sllm_data.validation.formats import FORMATS
from sllm_data.validation.opening import Options
from sllm_data.validation.runner import validate as validate_dataset


def validate(  # noqa: PLR0913 - options of a command
    dataset: Annotated[
        Path,
        typer.Argument(
            parser=dataset_place,
            metavar="DATASET",
            help="a dataset, or a folder of parts",
            show_default=False,
        ),
    ],
    *,
    level: Annotated[
        int,
        typer.Option(
            min=0, max=3, help="0 footers, 1 columns too, 2 all bytes too, 3 across parts too"
        ),
    ] = 1,
    form: Annotated[
        Literal["text", "json", "junit", "markdown"],
        typer.Option("--format", help="of the report"),
    ] = "text",
    sample: Annotated[
        float, typer.Option(help="share of the rows to look at one by one: 0.01")
    ] = 1.0,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="processes, or Ray tasks at once; all cores where absent"),
    ] = None,
    runner: Annotated[
        Literal["processes", "ray"], typer.Option(help="of this machine, or of a Ray cluster")
    ] = "processes",
    address: Annotated[
        str | None,
        typer.Option(help="of the cluster: host:port, ray://host:port, auto; else RAY_ADDRESS"),
    ] = None,
    contract: Annotated[
        Path | None, typer.Option(help="instead of contract.yaml in the dataset")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="instead of schema.json in the dataset")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            parser=dataset_place,
            metavar="DATASET",
            help="a benchmark or dataset that train must have nothing of; repeat it",
        ),
    ] = None,
    max_findings: Annotated[
        int, typer.Option(min=1, help="findings to list of each rule; all are counted")
    ] = 20,
) -> None:
    """Judges a dataset; exit status 1 where it falls short."""
    report = validate_dataset(
        dataset,
        Options(
            level=level,
            contract=contract,
            schema=schema,
            sample=sample,
            jobs=jobs,
            runner=runner,
            address=address,
            keep=max_findings,
            against=tuple(against or ()),
            progress=_progress(),
        ),
    )
    typer.echo(FORMATS[form](report))
    if not report.passed:
        raise typer.Exit(1)


def diff(
    a: Annotated[
        Path,
        typer.Argument(
            parser=dataset_place, metavar="DATASET", help="a dataset", show_default=False
        ),
    ],
    b: Annotated[
        Path,
        typer.Argument(
            parser=dataset_place, metavar="DATASET", help="another one", show_default=False
        ),
    ],
    *,
    examples: Annotated[int, typer.Option(min=0, help="rows to show of each kind")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Compares the samples of two datasets; exit status 1 where they differ."""
    found = diff_datasets(a, b, examples=examples, progress=_progress())
    if as_json:
        typer.echo(json.dumps(found.as_json(), default=str))
    else:
        typer.echo(diff_as_text(found.samples, configuration=found.configuration))
    if not found.samples.is_equal:
        raise typer.Exit(1)


def replay(
    dataset: Annotated[
        Path,
        typer.Argument(
            parser=dataset_place, metavar="DATASET", help="a dataset", show_default=False
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="name=value: where things are now; repeat it"),
    ] = None,
    *,
    sample: Annotated[int, typer.Option(min=1, help="requests to ask again")] = 200,
    turn: Annotated[Pass, typer.Option("--pass", help=", ".join(PASSES))] = "main",
    max_distance: Annotated[
        float, typer.Option(min=0, max=1, help="largest mean distance of texts that is close")
    ] = MAX_DISTANCE,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Asks the engine again and compares; exit status 1 where the answers are different."""
    report = replay_dataset(
        dataset,
        turn=turn,
        sample=sample,
        max_distance=max_distance,
        overrides=overrides or (),
        progress=_progress(),
    )
    typer.echo(json.dumps(report.as_json()) if as_json else replay_as_text(report))
    if report.verdict == "different":
        raise typer.Exit(1)


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console if console.is_terminal else None)
