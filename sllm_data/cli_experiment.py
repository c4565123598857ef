"""The command that runs a whole study; `cli` puts it on the line."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer
from rich.console import Console

from sllm_data.errors import ConfigError
from sllm_data.steps import Progress


class _Preset(NamedTuple):
    hours: float
    steps: int
    budget: int
    jobs: int


_SCALES = {
    "cpu": _Preset(hours=2.0, steps=700, budget=1536, jobs=2),
    "gpu": _Preset(hours=20.0, steps=3000, budget=8192, jobs=1),
}


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
    scale: Annotated[
        Literal["cpu", "gpu"], typer.Option(help="what stands for the options below")
    ] = "cpu",
    hours: Annotated[
        float | None, typer.Option(help="of speech (cpu: 2, gpu: 20)", show_default=False)
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=4, help="of each training (cpu: 700, gpu: 3000)", show_default=False),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            min=64, help="positions of a pack (cpu: 1536, gpu: 8192)", show_default=False
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="trainings at once, of a thread each (cpu: 2, gpu: 1)",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, help="of each task in each group, that are asked")
    ] = 40,
    split: Annotated[
        Literal["validation", "test"], typer.Option(help="whose rows are asked")
    ] = "test",
) -> None:
    """Builds data, trains arms, evaluates and compares them; goes on where it was stopped."""
    from sllm_data.experiments.arms import Scale  # noqa: PLC0415 - as below
    from sllm_data.experiments.study import (  # noqa: PLC0415 - takes seconds
        as_text,
        place_of,
        run_study,
    )

    preset = _SCALES[scale]
    hours = preset.hours if hours is None else hours
    if hours <= 0:
        raise ConfigError(f"--hours must be above 0, got {hours:g}")
    study = run_study(
        name,
        folder,
        arms=[each.strip() for each in arms.split(",")],
        hours=hours,
        scale=Scale(
            steps=steps or preset.steps, budget=budget or preset.budget, rows=rows, split=split
        ),
        seeds=range(1, seeds + 1),
        jobs=jobs or preset.jobs,
        progress=_progress(),
        say=lambda text: typer.echo(text, err=True),
    )
    typer.echo(as_text(study))
    typer.echo(f"page: {place_of(folder, name, split)}/index.html")


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console if console.is_terminal else None)
