"""Training as a flow: what `sllm-data train` does, with the loss and the speed as an artifact.

A training that was stopped goes on from its last checkpoint, so a crashed run is simply run
again.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.arguments import Arguments
from flows.hooks import stop_training
from flows.lease import held
from flows.places import not_fetched
from sllm_data.errors import SllmDataError
from sllm_data.steps import Progress
from sllm_data.trainer.config import load_train_config


@flow(name="train-model", on_cancellation=[stop_training], on_crashed=[stop_training])
def train_model(
    config_path: Path, overrides: list[str] | None = None
) -> State[Any]:  # Any: of the whole, or of a task that failed
    """Trains by a train.yaml, or goes on with a training that was stopped.

    While it works, a lease in its output says that it lives (`flows.lease`).

    Args:
        config_path: The train.yaml.
        overrides: name=value over the file.

    Returns:
        The output of the training.
    """
    # torch and transformers take seconds, and no other flow of a worker needs them
    from sllm_data.trainer.loop import train  # noqa: PLC0415

    try:
        config = load_train_config(config_path, overrides or ())
        with held(config.output, run_id=flow_run.id, run_name=flow_run.name) as dead:
            if dead is not None:
                get_run_logger().warning("%s is dead and has left its lease; going on", dead)
            if (failed := not_fetched(config.places)) is not None:
                return failed
            report = train(config, Progress(None), say=get_run_logger().info)
    except SllmDataError as error:
        return Failed(message=str(error), data=error)
    create_table_artifact(
        [
            {"figure": name, "value": str(value)}
            for name, value in asdict(report).items()
            if isinstance(value, int | float | str)
        ],
        "training",
        f"Figures of {report.output}",
    )
    shown = "Already done" if report.was_done else "Completed"
    return Completed(name=shown, message=f"{report.steps:,} steps", data=report.output)


def main(arguments: list[str]) -> int:
    """Runs the flow from the command line."""
    parser = Arguments("train", "Trains by a train.yaml.")
    parser.add_argument("config", metavar="train.yaml", type=Path)
    parser.add_argument("overrides", metavar="a.b=c", nargs="*", help="over the file")
    try:
        given = parser.parse_args(arguments)
        train_model(given.config, given.overrides)
    except SllmDataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
