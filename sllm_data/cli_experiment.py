"""The command that runs a whole study; `cli` puts it on the line."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from sllm_data.errors import ConfigError
from sllm_data.steps import Progress


def experiment(  # noqa: PLR0913 - options of a command
    name: Annotated[
        Literal[
            "anchor-bias",
            "attention",
            "diversity",
            "interleaving",
            "losses",
            "connectors",
            "cascade",
            "data-size",
        ],
        typer.Argument(help="which study", show_default=False),
    ],
    folder: Annotated[Path, typer.Argument(help="holds all of it", show_default=False)],
    *,
    arms: Annotated[
        str, typer.Option(help="core, all, or names of arms with commas between them")
    ] = "core",
    seeds: Annotated[int, typer.Option(min=1, help="trainings of each arm")] = 1,
    hours: Annotated[float, typer.Option(help="of speech")] = 2.0,
    steps: Annotated[int, typer.Option(min=4, help="of each training")] = 700,
    budget: Annotated[int, typer.Option(min=64, help="positions of a pack")] = 1536,
    rows: Annotated[
        int, typer.Option(min=1, help="of each task in each group, that are asked")
    ] = 40,
    split: Annotated[
        Literal["validation", "test"], typer.Option(help="whose rows are asked")
    ] = "test",
    jobs: Annotated[int, typer.Option(min=1, help="trainings at once, of a thread each")] = 2,
) -> None:
    """Builds data, trains arms, evaluates and compares them; goes on where it was stopped."""
    from sllm_data.experiments.arms import Scale  # noqa: PLC0415 - as below
    from sllm_data.experiments.study import as_text, run_study  # noqa: PLC0415 - takes seconds

    if hours <= 0:
        raise ConfigError(f"--hours must be above 0, got {hours:g}")
    study = run_study(
        name,
        folder,
        arms=[each.strip() for each in arms.split(",")],
        hours=hours,
        scale=Scale(steps=steps, budget=budget, rows=rows, split=split),
        seeds=range(1, seeds + 1),
        jobs=jobs,
        progress=_progress(),
        say=lambda text: typer.echo(text, err=True),
    )
    typer.echo(as_text(study))
    typer.echo(f"page: {folder}/{name}/index.html")


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console if console.is_terminal else None)
