"""Workers of a run that was killed write nothing into the next one.

A process on this machine ends with its parent's pipe. A worker elsewhere goes on until its
cluster has noticed that the run is gone, and could meanwhile give a half-written part of the
next run its final name. So there is a fence, the file `.workers` of the output:

    a worker    holds it, shared with others, for as long as it works
    a run       waits at its beginning until nobody holds it, and writes a name of its own into it
    a worker that comes late   finds another name than that of its run, and does nothing

The kernel lets go of the file with the process, as of `.lock`; nothing is left to clean up.
"""

import fcntl
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sllm_data.errors import OutputError
from sllm_data.files import writing

_NAME = ".workers"
_WAIT_S = 60.0
_GLANCE_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Fence:
    """What a worker must find in the file to be one of the run that goes on."""

    path: Path
    run: str

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the fence while a worker works.

        Raises:
            OutputError: The run that this worker belongs to is over.
        """
        with self.path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH)
            if handle.read().decode() != self.run:
                raise OutputError(f"{self.path.parent}: belongs to another run by now")
            yield


def put_fence(root: Path, *, wait_s: float = _WAIT_S) -> Fence:
    """Waits for the workers of earlier runs, and makes the output this run's.

    The caller holds `files.output_lock`.

    Raises:
        OutputError: One of them still works after `wait_s`, or the folder can't be written.
    """
    path = root / _NAME
    until = time.monotonic() + wait_s
    with writing(path), path.open("a+b") as handle:
        while not _taken(handle.fileno()):
            if time.monotonic() > until:
                raise OutputError(
                    f"{root}: workers of a run that was stopped must end before the next run "
                    f"writes, some still work after {wait_s:g} s; stop their Ray job or node, "
                    "then run the same command again"
                )
            time.sleep(_GLANCE_S)
        run = uuid.uuid4().hex
        handle.truncate(0)
        handle.write(run.encode())
        handle.flush()
    return Fence(path=path.absolute(), run=run)


def fence_of(root: Path) -> Fence | None:
    """The fence of the run that goes on in a folder; None where it put up none."""
    path = root / _NAME
    return Fence(path=path.absolute(), run=path.read_text()) if path.exists() else None


def pass_fence(root: Path) -> None:
    """Waits for workers of earlier runs where there were any, on whatever runner this one is.

    Raises:
        OutputError: As `put_fence`.
    """
    if (root / _NAME).exists():
        put_fence(root)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
