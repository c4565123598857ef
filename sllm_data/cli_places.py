"""Datasets on the command line: a folder, or a URL whose content is fetched first."""

from pathlib import Path

import typer
from rich.console import Console

from sllm_data.steps import Progress
from sllm_data.steps.stored import fetch
from sllm_data.storage.places import local_copy


def dataset_place(text: str | Path) -> Path:
    """Returns the folder on this disk of a dataset that is given by its path or URL.

    Raises:
        BadParameter: The URL names no folder of a bucket.
        StorageError: There is nothing, or the storage can't be reached.
    """
    try:
        place = local_copy(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error  # a URL may hold a key
    console = Console(stderr=True)
    fetch(place, Progress(console if console.is_terminal else None))
    return place
