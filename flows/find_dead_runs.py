"""Finds flow runs that died with nobody to tell: by the leases that they left.

A worker sees when a run's process dies, and Prefect marks the run as crashed. Where the worker
or the whole machine died too, the run stays `Running` for ever, and holds its place in the
concurrency limits. This flow looks at the leases of datasets and trainings, ends what is left of
dead runs on its own machine, and marks them as crashed. Without Prefect it only says what it
finds:

    python -m flows.find_dead_runs out
"""

import sys
from pathlib import Path
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed, Failed

from flows.arguments import Arguments
from flows.lease import (
    LOOK_S,
    NAME,
    Lease,
    dead_of,
    end_processes,
    read_lease,
    remove_lease,
)
from flows.places import place_of
from sllm_data.errors import OutputError, SllmDataError
from sllm_data.files import is_folder


def leases_below(folder: str | Path) -> list[tuple[Path, Lease]]:
    """The datasets and trainings in a folder, or the folder itself, that have a lease.

    Raises:
        ConfigError: The folder is given by a URL that is none.
        OutputError: There is no such folder, or a lease can't be read.
    """
    pairs = [(path.parent, read_lease(path.parent)) for path in _paths_below(folder)]
    return [(root, lease) for root, lease in pairs if lease is not None]


def _paths_below(named: str | Path) -> list[Path]:
    folder = place_of(named)
    if not is_folder(folder):
        raise OutputError(
            f"{named}: must be a folder of datasets or trainings, found none at "
            f"{folder.absolute()}; make it, or name another one"
        )
    return sorted([*folder.glob(NAME), *folder.glob(f"*/{NAME}")])


@flow(name="find-dead-runs")
def find_dead_runs(
    folders: list[str | Path], stale_after_s: float | None = None, look_s: float = LOOK_S
) -> list[str]:
    """Marks runs as crashed whose lease shows that they died.

    Args:
        folders: Folders of datasets and trainings, or folders that hold such; of a URL, its copy
            on this machine.
        stale_after_s: Silence after which a run on another machine seems dead; what the lease
            itself says where absent.
        look_s: How long such a run is watched: one that writes its lease anew lives.

    Returns:
        The ids of the dead runs.
    """
    say = get_run_logger()
    found: list[tuple[Path, Lease]] = []
    wrong: list[SllmDataError] = []
    for folder in folders:
        try:
            paths = _paths_below(folder)
        except SllmDataError as error:  # the other folders are looked at all the same
            say.error("%s", error)
            wrong.append(error)
            continue
        for path in paths:
            try:
                lease = read_lease(path.parent)
            except OutputError as error:  # likewise those of the other datasets
                say.error("%s", error)
                wrong.append(error)
                continue
            found += [] if lease is None else [(path.parent, lease)]
    dead_ones = dead_of(found, stale_after_s=stale_after_s, look_s=look_s)
    rows = [
        {"folder": str(root), "run": str(lease), "alive": (root, lease) not in dead_ones}
        for root, lease in found
    ]
    dead = []
    for root, lease in dead_ones:
        count = end_processes(lease)
        remove_lease(root, lease.run_id)
        marked = _mark(lease)
        dead.append(lease.run_id)
        say.warning("%s: %s is dead; %d processes ended; %s", root, lease, count, marked)
    if rows:
        create_table_artifact(rows, "leases", "Folders that a flow run holds")
    if wrong:
        return Failed(message=str(wrong[0]), data=wrong[0])  # type: ignore[return-value] # Prefect fails the flow
    return dead


def _mark(lease: Lease) -> str:
    """Marks a run as crashed where Prefect takes it for one that goes on."""
    crashed: State[None] = Crashed(message=f"{lease} gave no sign of life")
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(UUID(lease.run_id))
        except ObjectNotFound:
            return "this server does not know the run"
        if run.state is not None and run.state.is_final():
            return f"its state is {run.state.name}"
        client.set_flow_run_state(run.id, crashed, force=True)
    return "marked as crashed"


def main(arguments: list[str]) -> int:
    """Says which runs live and which are dead; 1 where one is dead."""
    parser = Arguments("find_dead_runs", "Says which runs live; 1 where one is dead.")
    parser.add_argument("folders", metavar="FOLDER", nargs="+")
    try:
        folders = parser.parse_args(arguments).folders
        found = [pair for folder in folders for pair in leases_below(folder)]
        dead = dead_of(found)
    except SllmDataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for root, lease in found:
        state = "dead" if (root, lease) in dead else "alive"
        sys.stdout.write(f"{root}: {lease}: {state}\n")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
