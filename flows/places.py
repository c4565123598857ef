"""Datasets as parameters of flows: a folder, or a URL whose content is fetched first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.retrying import RETRIED
from sllm_data.errors import ConfigError, SllmDataError
from sllm_data.steps import Progress
from sllm_data.steps.stored import fetch
from sllm_data.storage.places import local_copy, url_of


def place_of(named: str | Path) -> Path:
    """Returns the folder on this disk of what is named by its path or URL; fetches nothing.

    Raises:
        ConfigError: The URL names no folder of a bucket.
    """
    try:
        return local_copy(named)
    except ValueError as error:
        raise ConfigError(str(error)) from error  # a URL may hold a key


@task(name="fetch", **RETRIED)
def fetch_copies(places: Sequence[Path]) -> State[SllmDataError | None]:
    """Fetches copies; where their storage is away for long, it is tried again."""
    try:
        for place in places:
            fetch(place, Progress(None))
    except SllmDataError as error:
        return Failed(message=str(error), data=error)
    return Completed(data=None)


def not_fetched(
    places: Sequence[Path],
) -> State[Any] | None:  # Any: what Prefect wraps the state of a task in
    """Fetches those places that have a URL; returns the state of the task where it failed."""
    copies = [place for place in places if url_of(place) is not None]
    state = fetch_copies(copies, return_state=True) if copies else None
    return state if state is not None and state.is_failed() else None
