"""What happens when a flow run is cancelled or crashes: what is left of it is stopped.

Prefect calls these in the worker, since the process of the run is gone by then. Which processes
were the run's stands in the lease of the folder that it held: a dataset's, or the output of a
training.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger

from flows.lease import end_processes, read_lease, remove_lease
from flows.places import place_of
from sllm_data.config import load_config
from sllm_data.errors import SllmDataError
from sllm_data.trainer.config import load_train_config

Parameters = dict[str, Any]  # Any: JSON, as Prefect keeps it


def stop_engine(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Ends what is left of a run of `build-corpus`, and takes its lease away."""
    _stop(flow, flow_run, state, lambda given: load_config(*_configuration(given)).output)


def stop_training(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Ends what is left of a run of `train-model`, and takes its lease away."""
    _stop(flow, flow_run, state, lambda given: load_train_config(*_configuration(given)).output)


def stop_publishing(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Ends what is left of a run of `publish-dataset`, and takes its lease away."""
    _stop(flow, flow_run, state, lambda given: place_of(given["dataset"]))


def _configuration(given: Parameters) -> tuple[Path, Sequence[str]]:
    return Path(given["config_path"]), given.get("overrides") or ()


def _stop(
    flow: Flow[..., Any],
    flow_run: FlowRun,
    state: State,
    folder_of: Callable[[Parameters], Path],
) -> None:
    say = flow_run_logger(flow_run, flow).warning
    try:
        folder = folder_of(flow_run.parameters)
        lease = read_lease(folder)
    except SllmDataError as error:
        say("%s: what is left of it can't be looked for: %s", state.name, error)
        return
    if lease is None or lease.run_id != str(flow_run.id):
        return
    count = end_processes(lease)
    remove_lease(folder, lease.run_id)
    say(
        "%s: %d processes of %s were left and are ended; run it again to go on",
        state.name,
        count,
        lease,
    )
