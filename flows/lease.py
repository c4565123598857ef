"""A lease: a file in a folder that says which flow run writes there, and that it lives.

The folder is a dataset's, or the output of a training.

Its holder writes it anew every few seconds, with the processes that it has started. One that
was killed stops doing so, and leaves the file. Whoever looks at it then, be it without any
server, knows which run died, and can end what is left of it:

    alive    its process runs on this machine; of another machine: its last beat is recent, or it
             beats while somebody looks
    dead     its process is gone; of another machine: no beat for `stale_after_s`, and none while
             somebody looks for `LOOK_S`

So clocks of two machines that differ never make a dead run of one that lives. One whose clock is
ahead is taken for alive by so much longer.

The lease is a sign for people and for other flows. What keeps two runs out of one folder is the
lock of the folder, which the library takes for each step.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from sllm_data.errors import OutputError
from sllm_data.files import write_text, writing
from sllm_data.machine import this_machine

NAME = ".flow-lease.json"
BEAT_S = 10.0
STALE_AFTER_S = 120.0
LOOK_S = 60.0  # some beats, and what a file system of the network may show late

_END_S = 10.0
_GLANCE_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A process of one machine; the time of its start tells it from a later one of its number."""

    pid: int
    started: float
    """Seconds since the machine's own start: a clock that is put right moves none of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """What the file holds."""

    run_id: str
    """Of the flow run."""
    run_name: str
    host: str
    machine: str
    """This start of the machine, and the container: where process numbers mean the same."""
    holder: Process
    children: tuple[Process, ...] = ()
    """All processes below the holder, as of the last beat: the engine's are among them."""
    beat: float
    """Seconds since 1970, by the holder's clock."""
    stale_after_s: float

    @property
    def is_of_this_machine(self) -> bool:
        """Whether its process numbers can be looked up here."""
        return self.machine == this_machine()

    def seems_alive(self, *, stale_after_s: float | None = None) -> bool:
        """Whether its holder lives, as far as one look tells: `dead_of` looks twice."""
        if self.is_of_this_machine:
            return _found(self.holder) is not None
        return time.time() - self.beat < (stale_after_s or self.stale_after_s)

    def __str__(self) -> str:
        return f"flow run {self.run_name}, process {self.holder.pid} of {self.host}"


_FORM = TypeAdapter(Lease)


@contextmanager
def held(
    folder: Path,
    *,
    run_id: str,
    run_name: str,
    beat_s: float = BEAT_S,
    stale_after_s: float = STALE_AFTER_S,
    look_s: float = LOOK_S,
) -> Iterator[Lease | None]:
    """Holds the lease of a folder for the length of a block.

    Args:
        folder: Of the dataset or training, made where it is not there.
        run_id: Of the flow run.
        run_name: The same, for people.
        beat_s: Seconds between two signs of life.
        stale_after_s: Silence after which another machine may take this run for dead.
        look_s: How long a run of another machine that seems dead is watched.

    A run that is cancelled or stopped leaves it, for the hook of its flow or the next run.

    Yields:
        The lease of a run that died here, whose processes have been ended; mostly None.

    Raises:
        OutputError: Another run holds it and lives, or the folder can't be written.
    """
    before = read_lease(folder)
    # a run that Prefect retries after its death has the same id, and another process
    own = (run_id, this_machine(), os.getpid())
    is_own = before is not None and (before.run_id, before.machine, before.holder.pid) == own
    if before is not None and not is_own:
        if not dead_of([(folder, before)], look_s=look_s):
            raise OutputError(
                f"{folder}: must have one run at a time, {before} is writing; wait for it to end "
                f"or stop it; one that was killed is taken for dead {before.stale_after_s:g} s "
                "after its last sign of life"
            )
        end_processes(before)
    lease = Lease(
        run_id=run_id,
        run_name=run_name,
        host=socket.gethostname(),
        machine=this_machine(),
        holder=_process(psutil.Process()),
        beat=time.time(),
        stale_after_s=stale_after_s,
    )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    _write(folder, lease)
    ended = threading.Event()
    thread = threading.Thread(target=_live, args=(folder, lease, beat_s, ended), daemon=True)
    thread.start()
    try:
        yield None if is_own else before
    except Exception:
        _end(ended, thread)
        remove_lease(folder, run_id)
        raise
    except BaseException:  # cancelled: whoever ends what is left of this run looks for it here
        _end(ended, thread)
        raise
    _end(ended, thread)
    remove_lease(folder, run_id)


def dead_of(
    leases: Sequence[tuple[Path, Lease]],
    *,
    stale_after_s: float | None = None,
    look_s: float = LOOK_S,
) -> list[tuple[Path, Lease]]:
    """Returns those leases whose run has died.

    Of another machine it is watched whether a run that seems dead writes its lease anew: clocks
    may differ. One that is there no more is of a run that has ended.

    Args:
        leases: With their folders, as they were read.
        stale_after_s: Silence after which a run on another machine seems dead; what the lease
            itself says where absent.
        look_s: How long those are watched, all at once.

    Raises:
        OutputError: A lease can't be read any more.
    """
    seem = [pair for pair in leases if not pair[1].seems_alive(stale_after_s=stale_after_s)]
    silent = [pair for pair in seem if not pair[1].is_of_this_machine]
    until = time.monotonic() + look_s
    while silent and (left := until - time.monotonic()) > 0:
        time.sleep(min(_GLANCE_S, left))
        silent = [(folder, lease) for folder, lease in silent if read_lease(folder) == lease]
    return [pair for pair in seem if pair[1].is_of_this_machine or pair in silent]


def wait_for_others(
    folder: Path, run_id: str, patience_s: float, say: Callable[[str], None]
) -> None:
    """Waits while another run that lives holds the lease of a folder.

    Args:
        folder: The dataset's.
        run_id: Of this run.
        patience_s: How long at most; `held` then refuses.
        say: Told once for whom it waits.

    Raises:
        OutputError: The lease can't be read.
    """
    until = time.monotonic() + patience_s
    is_said = False
    while (lease := read_lease(folder)) and lease.run_id != run_id:
        if dead_of([(folder, lease)]):
            return
        left = until - time.monotonic()
        if left <= 0:
            return
        if not is_said:
            say(f"{folder}: {lease} is writing; waiting for its end, {patience_s:g} s at most")
            is_said = True
        time.sleep(min(_GLANCE_S, left))


def _end(ended: threading.Event, thread: threading.Thread) -> None:
    ended.set()
    thread.join()


def read_lease(folder: Path) -> Lease | None:
    """Reads the lease of a folder; None where there is none.

    Raises:
        OutputError: It can't be read as one.
    """
    path = folder / NAME
    try:
        return _FORM.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else f"{error.error_count()} errors"
        raise OutputError(
            f"{path}: must be a lease that a flow wrote, found: {why}; delete it when no run is "
            "going on"
        ) from error


def remove_lease(folder: Path, run_id: str) -> None:
    """Removes the lease of a run, where it is still that run's."""
    with suppress(OutputError):  # one that is damaged is nobody's
        found = read_lease(folder)
        if found is not None and found.run_id == run_id:
            (folder / NAME).unlink(missing_ok=True)


def end_processes(lease: Lease) -> int:
    """Kills what is left of a run on this machine, its holder included; returns how many were.

    Of a run on another machine nothing can be ended from here: there, the guard beside the engine
    ends it with its parent.
    """
    if not lease.is_of_this_machine:
        return 0
    left = [found for each in (lease.holder, *lease.children) if (found := _found(each))]
    for process in (*left, *(deeper for each in left for deeper in _below(each))):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=_END_S)
    return len(left)


def _live(folder: Path, lease: Lease, beat_s: float, ended: threading.Event) -> None:
    while not ended.wait(beat_s):
        children = tuple(map(_process, _below(psutil.Process())))
        # a folder that is full or away ends the run where it writes rows, and not here
        with suppress(OutputError):
            _write(folder, replace(lease, children=children, beat=time.time()))


def _write(folder: Path, lease: Lease) -> None:
    write_text(folder / NAME, json.dumps(asdict(lease), indent=1) + "\n")


def _process(process: psutil.Process) -> Process:
    return Process(pid=process.pid, started=started(process.pid) or 0.0)


def started(pid: int) -> float | None:
    """When a process of this machine was started, in seconds since the machine was.

    psutil's create_time counts from 1970, by a clock that jumps when it is put right: a run that
    lives would then be taken for dead.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # the second field, its name, may hold anything; proc(5) counts this one as the 22nd
    return int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _found(process: Process) -> psutil.Process | None:
    """The process, where it still runs and is no zombie."""
    try:
        found = psutil.Process(process.pid)
        is_same = started(process.pid) == process.started
        return found if is_same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None
