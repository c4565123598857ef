"""Places on the command line: datasets by folder or URL, and what is on this disk alone."""

from pathlib import Path

import typer
from rich.console import Console

from sllm_data.steps import Progress
from sllm_data.steps.stored import fetch
from sllm_data.storage.places import local_copy


def dataset_place(text: str | Path) -> Path:
    """Returns the folder on this disk of a dataset that is given by its path or URL.

    Raises:
        BadParameter: The URL names no folder of a bucket, or no path can be so long.
        StorageError: There is nothing, or the storage can't be reached.
    """
    try:
        place = local_copy(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error  # a URL may hold a key
    try:
        place.exists()
    except OSError as error:
        raise typer.BadParameter(f"{place}: {error.strerror}") from error
    console = Console(stderr=True)
    fetch(place, Progress(console if console.is_terminal else None))
    return place


def disk_place(text: str | Path) -> Path:
    """Returns a path of this disk; a URL is none, though a folder `s3:` could be made of it.

    Raises:
        BadParameter: It is a URL.
    """
    if "://" in str(text):
        raise typer.BadParameter(
            "must be a path of this disk, got a URL; name a folder or file here, and copy what is "
            "written to where it shall be"
        )
    return Path(text)
