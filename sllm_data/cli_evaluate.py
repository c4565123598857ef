"""The command that evaluates a model; `cli` puts it on the line."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from sllm_data.cli_places import dataset_place, disk_place
from sllm_data.errors import ConfigError
from sllm_data.evaluation.config import load_evaluation_config
from sllm_data.evaluation.evaluating import Outcome, rescore
from sllm_data.evaluation.evaluating import evaluate as evaluate_model
from sllm_data.evaluation.report import as_json as figures_of
from sllm_data.evaluation.report import as_text

Watch = Callable[[int, int], None]
RESCORED = "rescored"


def evaluate(  # noqa: PLR0913 - options of a command
    model: Annotated[
        Path | None, typer.Argument(help="what `train` wrote", show_default=False)
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Argument(
            parser=dataset_place, metavar="DATASET", help="a dataset", show_default=False
        ),
    ] = None,
    *,
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="rows of this split")
    ] = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="rows of each task in each eval group")
    ] = None,
    sides: Annotated[
        str, typer.Option(help="who is asked: speech, text, backbone, cascade; with commas")
    ] = "speech,text",
    output: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=disk_place,
            metavar="FOLDER",
            help="folder; without it `evaluation` in MODEL, or `rescored` beside --from",
        ),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="score these predictions, ask nobody")
    ] = None,
    scoring: Annotated[
        Path | None, typer.Option(help="YAML of other metrics and thresholds")
    ] = None,
    examples: Annotated[
        int, typer.Option(min=0, help="answers on the page for each task of each group")
    ] = 2,
    budget: Annotated[
        int, typer.Option(min=16, help="positions that are answered at once")
    ] = 4096,
    max_tokens: Annotated[int, typer.Option(min=1, help="of an answer")] = 256,
    asr: Annotated[
        str,
        typer.Option(help="who writes down for the cascade: self, or a model of transformers"),
    ] = "self",
    texts: Annotated[
        Path | None,
        typer.Option(help="plain texts, one a line: what did the training cost on them?"),
    ] = None,
    diagnose: Annotated[
        int, typer.Option(min=0, help="also look into the model, on so many rows of each task")
    ] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="where the model computes")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Asks a trained model on speech and on text, scores what it says, and makes a page of it."""
    config = load_evaluation_config(scoring)
    if source is not None:
        folder = output or source.parent / RESCORED
        outcome = rescore(source, folder, config=config, dataset=dataset, num_examples=examples)
    else:
        from sllm_data.evaluation.asking import Asking  # noqa: PLC0415 - imports torch
        from sllm_data.evaluation.retention import read_texts  # noqa: PLC0415 - as above

        if model is None or dataset is None:
            raise ConfigError(
                "evaluate must be given a MODEL and a DATASET, or --from and predictions that "
                "were saved"
            )
        asking = Asking(
            dataset=dataset,
            split=split,
            limit=limit,
            sides=tuple(sides.split(",")),
            budget=budget,
            max_tokens=max_tokens,
            asr=asr,
            diagnose=diagnose,
            device=device,
        )
        with _watching() as watch:
            outcome = evaluate_model(
                model,
                asking,
                output or model / "evaluation",
                config=config,
                texts=() if texts is None else read_texts(texts),
                num_examples=examples,
                watch=watch,
                say=partial(typer.echo, err=True),
            )
    _say(outcome, as_json=as_json)


def _say(outcome: Outcome, *, as_json: bool) -> None:
    if outcome.skipped:
        first = outcome.skipped[0]
        typer.echo(
            f"{len(outcome.skipped):,} rows were left out on every side; the first: "
            f"{first.sample_id}: {first.reason}",
            err=True,
        )
    if as_json:
        typer.echo(json.dumps(figures_of(outcome.report), allow_nan=False))
    else:
        typer.echo(as_text(outcome.report))
        typer.echo(f"page: {outcome.files[-1]}")


@contextmanager
def _watching() -> Iterator[Watch]:
    """Shows a bar while the block runs, where somebody sees it."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("evaluate", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
