"""The command that tells what a run will take; `cli` puts it on the line."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sllm_data.config import load_config
from sllm_data.reporting.forecast_text import forecast_as_text
from sllm_data.steps import Progress
from sllm_data.steps.forecast import forecast as forecast_run


def forecast(  # noqa: PLR0913 - options of a command
    config: Annotated[Path, typer.Argument(help="run.yaml", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="name=value over the file; repeat it")
    ] = None,
    *,
    probe_seconds: Annotated[
        float | None,
        typer.Option(help="to measure the engine in each pass; budget.probe_seconds"),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="utterances to look at; budget.sample")
    ] = None,
    price_per_gpu_hour: Annotated[
        float | None, typer.Option(help="in any currency; budget.price_per_gpu_hour")
    ] = None,
    extend: Annotated[bool, typer.Option("--extend", help="of a dataset to be extended")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Tells what is left of a run: rows, tokens, engine hours, gigabytes and money."""
    given = {
        "probe_seconds": probe_seconds,
        "sample": sample,
        "price_per_gpu_hour": price_per_gpu_hour,
    }
    options = [f"budget.{name}={value}" for name, value in given.items() if value is not None]
    console = Console(stderr=True)
    found = forecast_run(
        load_config(config, [*(overrides or ()), *options]),
        Progress(console if console.is_terminal else None),
        extend=extend,
    )
    typer.echo(json.dumps(found.as_json()) if as_json else forecast_as_text(found))
