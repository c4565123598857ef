"""What a worker on another machine must set up before it can take a job, and how jobs travel.

A job is pickled here and not by Ray: it is read when the worker has the folder and the import
path of the run, and what fails in it comes back as a value, without Ray's own words around it.
"""

import os
import pickle
import platform
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sllm_data.errors import OutputError, SllmDataError
from sllm_data.runners.fence import Fence
from sllm_data.storage.places import COPIES, copies_folder

Outcome = tuple[bool, Any]  # Any: a result where it is good, else what was raised


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a run works: the same folders, import path and output on each machine."""

    folder: str
    path: tuple[str, ...]
    copies: str
    """Where it works on what has a URL; a node may have been started without `SLLM_COPIES`."""
    fence: Fence | None

    @classmethod
    def here(cls, fence: Fence | None) -> "Place":
        """That of this process."""
        folder = str(Path.cwd())
        entries = (str(Path(folder, entry)) for entry in sys.path)
        return cls(
            folder=folder,
            path=tuple(dict.fromkeys(entries)),
            copies=str(copies_folder()),
            fence=fence,
        )

    def settle(self) -> None:
        """Makes this process work there.

        Raises:
            OutputError: The folder or the output is not there on this machine.
        """
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise OutputError(_elsewhere(self.folder)) from error
        sys.path += [entry for entry in self.path if entry not in sys.path]
        os.environ[COPIES] = self.copies
        if self.fence is not None and not self.fence.path.exists():
            raise OutputError(_elsewhere(str(self.fence.path.parent)))

    def held(self) -> AbstractContextManager[None]:
        """Holds the run's fence, where it has one, while a worker works."""
        return nullcontext() if self.fence is None else self.fence.held()


def _elsewhere(folder: str) -> str:
    return (
        f"{folder}: must be the same folder on each node of the Ray cluster, there is none on "
        f"{platform.node()}; put it on storage that all nodes share"
    )


def outcome_of(place: Place, work: Callable[[], Any]) -> bytes:  # Any: whatever can be pickled
    """Does some work at its place; returns its result, or what it raised, as bytes."""
    try:
        place.settle()
        with place.held():
            return pickle.dumps((True, work()))
    except Exception as error:  # noqa: BLE001 - it is raised again where the run is
        if not isinstance(error, SllmDataError):
            error.add_note(f"in a Ray worker on {platform.node()}:\n{traceback.format_exc()}")
        return _pickled(error)


def _pickled(error: Exception) -> bytes:
    content = pickle.dumps((False, error))
    try:
        pickle.loads(content)  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - some exceptions can be written and not read
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return content


def result_of(content: bytes) -> Any:  # Any: whatever the work returned
    """Returns the result of some work, or raises what it raised."""
    is_good, result = pickle.loads(content)  # noqa: S301 - from a worker of this run
    if is_good:
        return result
    raise result
