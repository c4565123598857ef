"""Publishing as a flow: what `sllm-data publish` does, with what was sent as an artifact."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.arguments import Arguments
from flows.hooks import stop_publishing
from flows.lease import held
from flows.places import not_fetched, place_of
from flows.retrying import RETRIED
from sllm_data.errors import RejectedError, SllmDataError
from sllm_data.publishing import Options, Published, publish
from sllm_data.steps import Progress


@task(name="publish", **RETRIED)
def send(dataset: Path, target: str, options: Options) -> State[Published | SllmDataError]:
    """Sends what the target lacks; where that is away for long, it is tried again."""
    say = get_run_logger().info
    try:
        published = publish(dataset, target, options, progress=Progress(None), say=say)
    except SllmDataError as error:
        return Failed(message=str(error), data=error)
    return Completed(data=published)


@flow(
    name="publish-dataset",
    flow_run_name="{dataset} to {target}",
    on_cancellation=[stop_publishing],
    on_crashed=[stop_publishing],
)
def publish_dataset(
    dataset: str | Path, target: str, *, private: bool = True, message: str = ""
) -> State[Any]:  # Any: of the whole, or of a task that failed
    """Validates a dataset and sends what its target lacks.

    Nobody is there to be asked, so what a licence forbids to make public, or may forbid, is
    refused: `sllm-data publish --public --yes` is for a person. While it works, a lease in the
    dataset says so (`flows.lease`), for which `nightly` waits.

    Args:
        dataset: Its folder or URL.
        target: hf://datasets/OWNER/NAME, the URL of a folder in a storage, or a folder.
        private: Whether a repository of the hub that is made is private.
        message: Of the commits on the hub.

    Returns:
        The target.
    """
    try:
        place = place_of(dataset)
        if (failed := not_fetched([place])) is not None:
            return failed
        lease = held(place, run_id=flow_run.id, run_name=flow_run.name)
        with lease if place.is_dir() else nullcontext():  # what is no folder is not made one
            state = send(
                place, target, Options(private=private, message=message), return_state=True
            )
    except SllmDataError as error:
        return Failed(message=str(error), data=error)
    if state.is_failed():
        return state
    published = state.result()
    assert isinstance(published, Published)  # noqa: S101 - for the type: it has not failed
    create_table_artifact(
        [
            {"files": "sent", "number": published.sent, "bytes": published.sent_bytes},
            {"files": "kept", "number": published.kept, "bytes": published.kept_bytes},
            {"files": "removed", "number": published.removed, "bytes": 0},
        ],
        "published",
        f"{dataset} at {published.target}",
    )
    said = f"{published.sent:,} files sent, {published.kept:,} were there"
    return Completed(message=said, data=published.target)


def main(arguments: list[str]) -> int:
    """Runs the flow from the command line."""
    parser = Arguments("publish", "Validates a dataset and sends what its target lacks.")
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("target", metavar="TARGET")
    try:
        given = parser.parse_args(arguments)
        publish_dataset(given.dataset, given.target)
    except SllmDataError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1 if isinstance(error, RejectedError) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
