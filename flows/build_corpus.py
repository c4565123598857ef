"""The main job as a Prefect flow: each step of a run is a task.

Tasks pass paths and reports, never rows. A step that is done returns at once, so a retry or
a second run goes on where the first one stopped; `sllm-data run` does the same without
Prefect. With `extend` a finished dataset takes what its corpora list now, which is what a
deployment that runs every night does.

    python -m flows.build_corpus run.yaml
    python -m flows.build_corpus run.yaml --set runner.workers=4 --extend
"""

import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run, task_run
from prefect.states import Completed, Failed

from flows.arguments import Arguments
from flows.hooks import stop_engine
from flows.lease import held, wait_for_others
from flows.retrying import RETRIED
from flows.telling import show_dataset, show_page, showing_parts, tell
from sllm_data.config import RunConfig, load_config
from sllm_data.errors import RejectedError, SllmDataError
from sllm_data.reporting import as_text, collect_stats
from sllm_data.reporting.report import write_report
from sllm_data.runners import cluster_kept
from sllm_data.steps import (
    Engines,
    Progress,
    StepReport,
    check_budget,
    run_step,
    step_names,
)
from sllm_data.steps.stored import held_output
from sllm_data.storage.places import shown

_SHOWN = 20  # samples in the report


def _task_name() -> str:
    name: str = task_run.parameters["name"]
    return name


def _flow_name() -> str:
    parameters = flow_run.parameters
    return ", ".join((Path(parameters["config_path"]).stem, *(parameters.get("overrides") or ())))


@task(task_run_name=_task_name, **RETRIED)
def run_one_step(
    config: RunConfig, name: str, engines: Engines, *, extend: bool
) -> State[StepReport | SllmDataError]:
    """Runs one step; a step that was done before shows as `Already done`.

    What goes wrong becomes a failed state with its sentence, without a traceback in the log;
    an engine or a storage may come back, so only their failures are retried.
    """
    try:
        with showing_parts(config.output, name):
            report = run_step(config, name, Progress(None), engines=engines, extend=extend)
    except SllmDataError as error:
        return Failed(message=str(error), data=error)
    get_run_logger().info(
        "%s: %d rows, %d rejected, %d parts made, %d kept",
        name,
        report.rows,
        report.rejected,
        report.parts_done,
        report.parts_kept,
    )
    if not report.was_done:
        tell("step.finished", config.output, asdict(report))
    shown = "Already done" if report.was_done else "Completed"
    return Completed(name=shown, message=f"{report.rows:,} rows", data=report)


@task(name="budget", **RETRIED)
def keep_budget(config: RunConfig, *, extend: bool) -> State[SllmDataError] | None:
    """Fails where the run is forecast to take more than its budget; may start the engine."""
    try:
        check_budget(config, Progress(None), extend=extend)
    except SllmDataError as error:
        return Failed(message=str(error), data=error)
    return None


@task(name="report", **RETRIED)
def write_page(config: RunConfig) -> State[Path | SllmDataError]:
    """Writes reports/report.html, which goes to the storage where the dataset lies there."""
    path = config.output / "reports/report.html"
    try:
        with held_output(config, Progress(None)):
            write_report([config.output], path, num_samples=_SHOWN, advance=lambda: None)
    except SllmDataError as error:
        return Failed(message=str(error), data=error)
    show_page(path)
    return Completed(data=path)


@flow(
    name="build-corpus",
    flow_run_name=_flow_name,
    validate_parameters=True,
    on_cancellation=[stop_engine],
    on_crashed=[stop_engine],
)
def build_corpus(
    config_path: Path,
    overrides: list[str] | None = None,
    *,
    extend: bool = False,
    until_engine: bool = False,
    report: bool = False,
    patience_s: float = 0.0,
) -> Path:
    """Builds or finishes the dataset of a run.yaml, and publishes its figures.

    Args:
        config_path: The run.yaml.
        overrides: name=value over the file.
        extend: Whether a finished dataset may be added to, also by what its corpora list now.
        until_engine: Whether to end before the first step that asks the engine; a budget is then
            for the run that asks it.
        report: Whether to write reports/report.html.
        patience_s: How long to wait for another flow run that writes there, such as `prepare`.

    Returns:
        The dataset's folder.
    """
    try:
        config = load_config(config_path, overrides or ())
    except SllmDataError as error:
        return Failed(message=str(error), data=error)  # type: ignore[return-value] # as below
    try:
        wait_for_others(config.output, _run_id(), patience_s, get_run_logger().info)
        with held(config.output, run_id=_run_id(), run_name=flow_run.name) as dead:
            if dead is not None:
                get_run_logger().warning("%s is dead and has left its lease; going on", dead)
            made = _build(config, extend=extend, until_engine=until_engine, page=report)
    except SllmDataError as error:
        made = Failed(message=str(error), data=error)
    return made  # type: ignore[return-value] # Prefect ends the flow with it


def _build(
    config: RunConfig, *, extend: bool, until_engine: bool, page: bool
) -> State[Any]:  # Any: of the failed step, or of the whole
    if config.budget.is_limited and not until_engine:  # its probe would start the engine
        kept = keep_budget(config, extend=extend, return_state=True)
        if kept.is_failed():
            return kept
    reports: list[StepReport] = []
    with cluster_kept(), closing(Engines()) as engines:
        for name in step_names(config):
            if until_engine and name.startswith("generate."):
                return Completed(message=f"{name} is next", data=config.output)
            state = run_one_step(config, name, engines, extend=extend, return_state=True)
            if state.is_failed():
                return state
            report = state.result()
            assert isinstance(report, StepReport)  # noqa: S101 - for the type: it has not failed
            reports.append(report)
    is_new = not all(report.was_done for report in reports)
    show_dataset(config.output, reports)
    written = write_page(config, return_state=True) if page else None
    if is_new:  # told last: the validation that this starts finds no lock of a run then
        tell("dataset.finished", config.output, {"rows": reports[-1].rows})
    if written is not None and written.is_failed():
        return written
    if is_new:
        return Completed(message=f"{reports[-1].rows:,} samples", data=config.output)
    said = f"{shown(config.output)}: nothing is new, every step was done before"
    return Completed(name="Nothing new", message=said, data=config.output)


def _run_id() -> str:
    found: str = flow_run.id
    return found


def main(arguments: list[str]) -> int:
    """Runs the flow from the command line; 2 where the user must mend something."""
    parser = Arguments("build_corpus", "Builds or finishes a dataset.")
    parser.add_argument("config", metavar="run.yaml", type=Path)
    parser.add_argument("--set", metavar="a.b=c", action="append", help="over the file")
    parser.add_argument("--extend", action="store_true", help="let a finished dataset grow")
    try:
        given = parser.parse_args(arguments)
        output = build_corpus(given.config, given.set, extend=given.extend)
    except SllmDataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1 if isinstance(error, RejectedError) else 2
    sys.stdout.write(f"{as_text(collect_stats(output))}\ndataset: {shown(output)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
