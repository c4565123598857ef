"""The command line: a thin face on the steps.

Exit status: 0 good; 1 the data or the machine falls short; 2 it can't run, with one
sentence on standard error; 130 stopped by Ctrl-C; SIGTERM stops it likewise, silently, and
is its end.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sllm_data import (
    __version__,
    cli_benchmark,
    cli_evaluate,
    cli_experiment,
    cli_export,
    cli_forecast,
    cli_learn,
    cli_publish,
    cli_report,
    cli_testbed,
    cli_trust,
)
from sllm_data.cli_places import dataset_place, disk_place
from sllm_data.cli_stop import stopping_at_sigterm
from sllm_data.config import document_schema, load_config
from sllm_data.doctor import Check, examine
from sllm_data.errors import RejectedError, SllmDataError
from sllm_data.files import shipped_folder
from sllm_data.prompting.lint import lint_pools
from sllm_data.prompting.pools import Pools, load_pools
from sllm_data.records import PASSES, Pass
from sllm_data.reporting import as_text, collect_stats
from sllm_data.reporting.render import chosen_samples, render_samples
from sllm_data.shards import TABLES
from sllm_data.shards.schema import as_json as as_table
from sllm_data.steps import Engines, Progress, StepReport, run_all, run_step

app = typer.Typer(
    help="Turns speech-recognition corpora into training data for speech LLMs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
pools_app = typer.Typer(help="Instruction pools: list, show, check.", no_args_is_help=True)
app.add_typer(pools_app, name="pools")
app.add_typer(cli_testbed.app, name="testbed")
app.add_typer(cli_benchmark.app, name="benchmark")
app.command()(cli_trust.validate)
app.command()(cli_trust.diff)
app.command()(cli_trust.replay)
app.command()(cli_forecast.forecast)
app.command()(cli_report.report)
app.command()(cli_learn.train)
app.command()(cli_learn.infer)
app.command()(cli_export.export)
app.command()(cli_publish.publish)
app.command("export-model")(cli_learn.export_model)
app.command()(cli_evaluate.evaluate)
app.command()(cli_experiment.experiment)

_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True)

_INTERRUPTED = 130

ConfigFile = Annotated[Path, typer.Argument(help="run.yaml", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="name=value over the file; repeat it")
]
Extend = Annotated[
    bool, typer.Option("--extend", help="add corpora, tasks or utterances to a finished dataset")
]
Turn = Annotated[Pass, typer.Option("--pass", help=", ".join(PASSES))]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
PoolFolders = Annotated[
    list[Path] | None, typer.Option("--pools", help="a folder of pools of your own; repeat it")
]


def main() -> None:
    """Runs the command line; every error that a user can act on is one sentence."""
    stopping_at_sigterm(_main)


def _main() -> None:
    try:
        app()
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:
            _err.print("stopped; the same command goes on where this one was", style="yellow")
        raise
    except RejectedError as error:
        _err.print(f"error: {error}", markup=False)
        sys.exit(1)
    except SllmDataError as error:
        _err.print(f"error: {error}", markup=False)
        sys.exit(2)
    except OSError as error:
        if not _stdout_is_lost():
            raise
        why = error.strerror or error
        _err.print(f"error: standard output can't be written: {why}; make room", markup=False)
        sys.exit(2)


def _stdout_is_lost() -> bool:
    """Whether standard output takes no more; from then on it leads nowhere."""
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return True
    return False


@app.command()
def run(
    config: ConfigFile,
    overrides: Overrides = None,
    *,
    extend: Extend = False,
    as_json: AsJson = False,
) -> None:
    """Makes a dataset, or finishes one that was interrupted."""
    loaded = load_config(config, overrides or ())
    for report in run_all(loaded, _progress(), extend=extend):
        _say(report, as_json=as_json)
    if not as_json:
        _out.print(as_text(collect_stats(loaded.output)), markup=False)
        _out.print(f"dataset: {loaded.output}", markup=False)


def _one_step(
    config: Path, name: str, overrides: list[str] | None, *, extend: bool, as_json: bool
) -> None:
    loaded = load_config(config, overrides or ())
    names = ["candidates", "ingest"] if name == "ingest" else [name]
    with closing(Engines()) as engines:
        for step in names:
            report = run_step(loaded, step, _progress(), engines=engines, extend=extend)
            _say(report, as_json=as_json)


@app.command()
def ingest(
    config: ConfigFile,
    overrides: Overrides = None,
    *,
    extend: Extend = False,
    as_json: AsJson = False,
) -> None:
    """Lists the corpora, and stores the audio that is chosen."""
    _one_step(config, "ingest", overrides, extend=extend, as_json=as_json)


@app.command()
def index(config: ConfigFile, overrides: Overrides = None, *, as_json: AsJson = False) -> None:
    """Settles duplicates, splits and tasks over the whole dataset."""
    _one_step(config, "index", overrides, extend=False, as_json=as_json)


@app.command()
def align(config: ConfigFile, overrides: Overrides = None, *, as_json: AsJson = False) -> None:
    """Finds out when each word is said (`alignment.backend` says by whom)."""
    _one_step(config, "align", overrides, extend=False, as_json=as_json)


@app.command()
def plan(
    config: ConfigFile,
    overrides: Overrides = None,
    *,
    turn: Turn = "main",
    as_json: AsJson = False,
) -> None:
    """Renders and tokenises the requests of one pass."""
    _one_step(config, f"plan.{turn}", overrides, extend=False, as_json=as_json)


@app.command()
def generate(
    config: ConfigFile,
    overrides: Overrides = None,
    *,
    turn: Turn = "main",
    as_json: AsJson = False,
) -> None:
    """Lets the engine answer the requests of one pass."""
    _one_step(config, f"generate.{turn}", overrides, extend=False, as_json=as_json)


@app.command()
def assemble(config: ConfigFile, overrides: Overrides = None, *, as_json: AsJson = False) -> None:
    """Filters the responses and writes the training rows."""
    _one_step(config, "assemble", overrides, extend=False, as_json=as_json)


@app.command()
def stats(
    dataset: Annotated[
        Path, typer.Argument(parser=dataset_place, metavar="DATASET", help="a dataset")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Prints hours, rows and tokens by task and language, and rejections by reason."""
    found = collect_stats(dataset)
    if as_json:
        _out.print_json(json.dumps(found.as_json()))
    else:
        _out.print(as_text(found), markup=False)


@app.command()
def render(
    dataset: Annotated[
        Path,
        typer.Argument(
            parser=dataset_place, metavar="DATASET", help="a dataset", show_default=False
        ),
    ],
    sample_ids: Annotated[
        list[str] | None, typer.Argument(help="samples, or how their ids begin")
    ] = None,
    *,
    count: Annotated[int, typer.Option(min=1, help="how many, where no id is given")] = 5,
    kind: Annotated[str | None, typer.Option(help="instruct or interleaved")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=disk_place,
            metavar="FOLDER",
            help="folder; reports/samples of the dataset",
        ),
    ] = None,
) -> None:
    """Writes samples as a page with players and waveforms, and as one WAV each."""
    ids = sample_ids or list(chosen_samples(dataset, count, kind=kind))
    for path in render_samples(dataset, ids, output or dataset / "reports/samples"):
        _out.print(str(path), markup=False, soft_wrap=True)


@app.command()
def schema(
    what: Annotated[str, typer.Argument(help="config or tables")] = "config",
) -> None:
    """Prints the JSON Schema of run.yaml, or the description of a dataset's tables."""
    documents: dict[str, Callable[[], dict[str, Any]]] = {  # Any: JSON
        "config": document_schema,
        "tables": lambda: {name: as_table(table) for name, table in TABLES.items()},
    }
    if what not in documents:
        raise typer.BadParameter(f"must be config or tables, got {what!r}")
    _out.print_json(json.dumps(documents[what]()))


@app.command()
def doctor(
    output: Annotated[Path, typer.Option(help="where datasets will be written")] = Path(),
    *,
    vllm: Annotated[bool, typer.Option(help="start vLLM with a tiny model")] = True,
    quick: Annotated[
        bool, typer.Option("--quick", help="only versions and disk, as a health check does")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Looks at the machine: each part, whether it works, and the one remedy where not."""
    checks = examine(start_vllm=vllm, output=output, quick=quick)
    if as_json:
        _out.print_json(json.dumps([asdict(check) for check in checks]))
    else:
        _out.print(_checks_table(checks))
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(1)


def _checks_table(checks: Sequence[Check]) -> Table:
    table = Table("part", "", "found", "remedy")
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    for check in checks:
        status = Text(check.status, style=colours[check.status])
        table.add_row(Text(check.name), status, Text(check.found), Text(check.remedy))
    return table


@app.command("version")
def show_version() -> None:
    """Prints the version."""
    _out.print(__version__)


@pools_app.command("list")
def list_pools(pools: PoolFolders = None, *, as_json: AsJson = False) -> None:
    """Lists all pools with their number of wordings."""
    rows = [
        {
            "task": pool.task,
            "language": pool.language,
            "wordings": len(pool.instructions),
            "held_out": sum(i.held_out for i in pool.instructions),
            "licence": pool.licence,
        }
        for pool in _pools(pools)
    ]
    if as_json:
        _out.print_json(json.dumps(rows))
        return
    table = Table("task", "language", "wordings", "held out", "licence")
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))
    _out.print(table)


@pools_app.command("show")
def show_pool(
    task: Annotated[str, typer.Argument()],
    language: Annotated[str, typer.Argument()] = "en",
    pools: PoolFolders = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Shows the wordings of a task."""
    pool = _pools(pools).get(task, language)
    if as_json:
        _out.print_json(json.dumps([asdict(i) for i in pool.instructions]))
        return
    table = Table("id", "text side", "audio side", "held out")
    for wording in pool.instructions:
        held_out = "yes" if wording.held_out else ""
        table.add_row(*map(Text, (wording.id, wording.text, wording.audio, held_out)))
    _out.print(table)


@pools_app.command("lint")
def lint(pools: PoolFolders = None) -> None:
    """Checks all pools; exit status 1 where something is found."""
    findings = lint_pools(_pools(pools))
    for finding in findings:
        where = f"{finding.path}: {finding.instruction_id or 'pool'}"
        _out.print(f"{where}: {finding.rule}: {finding.message}", markup=False)
    if findings:
        raise typer.Exit(1)
    _out.print("all pools are clean")


def _progress() -> Progress:
    return Progress(_err if _err.is_terminal else None)


def _pools(folders: list[Path] | None) -> Pools:
    return load_pools((shipped_folder("instruction_pools"), *(folders or ())))


def _say(report: StepReport, *, as_json: bool) -> None:
    if as_json:
        _out.print(json.dumps(asdict(report)), markup=False)
        return
    work = "done before" if report.was_done else f"{report.parts_done} parts made"
    if report.parts_done and report.parts_kept:
        work += f", {report.parts_kept} kept"
    _out.print(
        f"{report.step:<17} {report.rows:>9,} rows {report.rejected:>7,} rejected   "
        f"{work} in {report.seconds:,.1f} s",
        markup=False,
    )


if __name__ == "__main__":
    main()
