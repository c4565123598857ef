"""The main job as a Prefect flow: each step of a run is a task.

Tasks pass paths and reports, never rows. A step that is done returns at once, so a retry or
a second run goes on where the first one stopped; `sllm-data run` does the same without
Prefect.

    python -m flows.build_corpus run.yaml
    python -m flows.build_corpus run.yaml --set runner.workers=4
"""

import sys
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run, task_run
from prefect.states import Completed, Failed

from sllm_data.config import RunConfig, load_config
from sllm_data.errors import EngineError, RejectedError, SllmDataError
from sllm_data.reporting import as_text, collect_stats
from sllm_data.steps import Engines, Progress, StepReport, run_step, step_names

_RETRIES = 2
_RETRY_DELAY_S = 10


def _task_name() -> str:
    name: str = task_run.parameters["name"]
    return name


def _flow_name() -> str:
    parameters = flow_run.parameters
    return f"{Path(parameters['config_path']).stem} ({len(parameters.get('overrides') or ())} set)"


def _is_worth_a_retry(_task: object, _run: object, state: State) -> bool:
    found = state.data
    while isinstance(found, State):  # Prefect wraps the state that the task returned
        found = found.data
    return isinstance(found, EngineError)


@task(
    task_run_name=_task_name,
    retries=_RETRIES,
    retry_delay_seconds=_RETRY_DELAY_S,
    retry_condition_fn=_is_worth_a_retry,
    cache_policy=NO_CACHE,
)
def run_one_step(
    config: RunConfig, name: str, engines: Engines, *, extend: bool
) -> State[StepReport | SllmDataError]:
    """Runs one step; a step that was done before shows as `Already done`.

    What goes wrong becomes a failed state with its sentence, without a traceback in the log;
    an engine may come back, so only its failures are retried.
    """
    try:
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
    shown = "Already done" if report.was_done else "Completed"
    return Completed(name=shown, message=f"{report.rows:,} rows", data=report)


@flow(name="build-corpus", flow_run_name=_flow_name, validate_parameters=True)
def build_corpus(
    config_path: Path, overrides: list[str] | None = None, *, extend: bool = False
) -> Path:
    """Builds or finishes the dataset of a run.yaml, and publishes its figures.

    Args:
        config_path: The run.yaml.
        overrides: name=value over the file.
        extend: Whether a finished dataset may be added to.

    Returns:
        The dataset's folder.
    """
    config = load_config(config_path, overrides or ())
    with closing(Engines()) as engines:
        for name in step_names(config):
            state = run_one_step(config, name, engines, extend=extend, return_state=True)
            if state.is_failed():
                return state  # type: ignore[return-value] # Prefect fails the flow with it
    create_markdown_artifact(
        key="dataset-stats",
        markdown=f"# {config.output}\n\n{as_text(collect_stats(config.output))}",
        description=f"Rows, hours, tokens and rejections of {config.output}",
    )
    return config.output


def main(arguments: list[str]) -> int:
    """Runs the flow from the command line; 2 where the user must mend something."""
    overrides = [b for a, b in pairwise(arguments) if a == "--set"]
    named = [a for a in arguments if not a.startswith("--") and a not in overrides]
    if len(named) != 1:
        sys.stderr.write("usage: python -m flows.build_corpus run.yaml [--set a.b=c] [--extend]\n")
        return 2
    try:
        output = build_corpus(Path(named[0]), overrides, extend="--extend" in arguments)
    except SllmDataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1 if isinstance(error, RejectedError) else 2
    sys.stdout.write(f"{as_text(collect_stats(output))}\ndataset: {output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
