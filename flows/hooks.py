"""What happens when a flow run is cancelled or crashes: what is left of its engine is stopped.

Prefect calls these in the worker, since the process of the run is gone by then. Which processes
were the run's stands in the lease of its dataset.
"""

from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger

from flows.lease import end_processes, read_lease, remove_lease
from sllm_data.config import load_config
from sllm_data.errors import SllmDataError


def stop_engine(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Ends what is left of a run of `build-corpus`, and takes its lease away."""
    say = flow_run_logger(flow_run, flow).warning
    parameters = flow_run.parameters
    try:
        config = load_config(Path(parameters["config_path"]), parameters.get("overrides") or ())
        lease = read_lease(config.output)
    except SllmDataError as error:
        say("%s: its engine can't be looked for: %s", state.name, error)
        return
    if lease is None or lease.run_id != str(flow_run.id):
        return
    count = end_processes(lease)
    remove_lease(config.output, lease.run_id)
    say(
        "%s: %d processes of %s were left and are ended; run it again to go on",
        state.name,
        count,
        lease,
    )
