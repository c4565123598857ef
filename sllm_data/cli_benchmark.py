"""The commands of the benchmark; `cli` puts them on the line."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from sllm_data.benchmark.building import build_benchmark
from sllm_data.benchmark.frozen import read_benchmark
from sllm_data.benchmark.judging import judged, load_judge
from sllm_data.benchmark.scoring import as_json as scores_of
from sllm_data.benchmark.scoring import as_table, names_of, score, scored, write_scores
from sllm_data.benchmark.selecting import REASONS, Wanted
from sllm_data.cli_places import dataset_place, disk_place
from sllm_data.config import load_config
from sllm_data.errors import ConfigError
from sllm_data.evaluation.config import load_evaluation_config
from sllm_data.evaluation.lines import write_lines
from sllm_data.evaluation.tables import EVAL_GROUPS
from sllm_data.files import check_is_apart, check_is_free
from sllm_data.steps import Progress, run_all

app = typer.Typer(
    help="A frozen test set of seen and held-out wordings and tasks, and systems scored on it.",
    no_args_is_help=True,
)


@app.command()
def build(  # noqa: PLR0913 - options of a command
    source: Annotated[
        Path,
        typer.Argument(
            parser=dataset_place,
            metavar="SOURCE",
            help="a dataset, or the run.yaml of one to make first",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(
            parser=disk_place,
            metavar="FOLDER",
            help="folder of the benchmark",
            show_default=False,
        ),
    ],
    *,
    per_task: Annotated[
        int, typer.Option(min=1, help="questions of each task in each group, at most")
    ] = 50,
    at_least: Annotated[
        int, typer.Option(min=0, help="the same, at least; 0: a task may lack a group")
    ] = 10,
    tasks: Annotated[str, typer.Option(help="only these; with commas")] = "",
    split: Annotated[
        Literal["validation", "test"], typer.Option(help="rows of this split")
    ] = "test",
    against: Annotated[
        list[Path] | None,
        typer.Option(
            parser=dataset_place,
            metavar="DATASET",
            help="a further dataset that is trained on; repeat it",
        ),
    ] = None,
    scoring: Annotated[
        Path | None, typer.Option(help="YAML of other metrics and thresholds")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Freezes questions about speech that no training row has, with their scoring."""
    config = load_evaluation_config(scoring)
    check_is_free(output)
    progress = _progress()
    root = source
    if source.is_file():
        run = load_config(source)
        check_is_apart(output, run.output)
        for report in run_all(run, progress):
            typer.echo(f"{report.step}: {report.rows:,} rows", err=True)
        root = run.output
    description = build_benchmark(
        root,
        output,
        wanted=Wanted(
            split=split,
            per_task=per_task,
            at_least=at_least,
            tasks=tuple(filter(None, map(str.strip, tasks.split(",")))),
        ),
        scoring=config,
        against=tuple(against or ()),
        progress=progress,
    )
    if as_json:
        typer.echo(json.dumps(description.model_dump(mode="json", exclude={"files"})))
        return
    for group, cells in description.cells.items():
        counted = ", ".join(f"{task} {rows:,}" for task, rows in cells.items())
        typer.echo(f"{EVAL_GROUPS[group]:<20} {sum(cells.values()):>6,}   {counted}")
    for reason, rows in description.left_out.items():
        typer.echo(f"left out             {rows:>6,}   {REASONS[reason]}")
    typer.echo(
        f"{description.rows:,} questions about {description.clips:,} clips, "
        f"{description.hours:.2f} hours, {description.speakers:,} speakers"
    )
    typer.echo(f"benchmark: {output}")


@app.command("score")
def score_files(  # noqa: PLR0913 - options of a command
    predictions: Annotated[
        list[Path], typer.Argument(help="JSON lines of one or more systems", show_default=False)
    ],
    *,
    benchmark: Annotated[
        Path,
        typer.Option(
            parser=disk_place,
            metavar="FOLDER",
            help="what `benchmark build` wrote",
            show_default=False,
        ),
    ],
    missing: Annotated[
        Literal["refuse", "wrong"], typer.Option(help="what an answer is that is not there")
    ] = "refuse",
    judge: Annotated[
        Path | None, typer.Option(help="YAML of an engine that rates answers; see the docs")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out", parser=disk_place, metavar="FOLDER", help="folder for scores.json and pages"
        ),
    ] = None,
    examples: Annotated[
        int, typer.Option(min=0, help="answers on a page for each task of each group")
    ] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Prints scores on speech, on text, and their ratio, by group."""
    if judge is not None and output is None:
        raise ConfigError("--judge must be given with --out: its ratings are kept there")
    frozen = read_benchmark(benchmark)
    found = [score(path, frozen, missing=missing) for path in predictions]
    if judge is not None and output is not None:
        engine = load_judge(judge)
        progress = _progress()
        for place, (name, each) in enumerate(zip(names_of(predictions), found, strict=True)):
            rated = judged(each.predictions, frozen, engine, progress)
            found[place] = scored(each.file, rated, frozen)
            write_lines(output / f"{name}.judged.jsonl", rated)
    if output is not None:
        for file in write_scores(found, frozen, output, num_examples=examples):
            if file.suffix == ".html":
                typer.echo(f"page: {file}", err=as_json)
    if as_json:
        typer.echo(json.dumps(scores_of(found, frozen), allow_nan=False))
    else:
        typer.echo(as_table(found))
        typer.echo(f"benchmark: {frozen.description.name}, SHA-256 {frozen.sha256}")


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console if console.is_terminal else None)
