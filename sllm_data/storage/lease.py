"""A lease: one run at a time writes a folder of object storage, whatever machine it is on.

The lease is an object beside the dataset that its holder writes anew every few seconds. A
holder that was killed stops doing so. Whoever comes next watches the object for a while: one
that changes has a holder, one that does not is taken over. Clocks are not compared.
"""

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil

from sllm_data.errors import OutputError, StorageError
from sllm_data.machine import this_machine
from sllm_data.storage.store import Store

_LOG = logging.getLogger(__name__)

NAME = ".lease.json"
_BEAT_S = 20.0
_MAX_BYTES = 10_000
_MISSED = 2
"""Beats after which a holder is no longer sure of its lease."""

Record = dict[str, Any]  # Any: JSON


class Lease:
    """A lease that is held; `check` is asked before something is written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lost: str | None = None
        self._lock = threading.Lock()
        self._beat_s = _BEAT_S
        self._seen = 0.0
        """When the storage last said that the lease is ours."""
        self._record: Record = {
            "holder": secrets.token_hex(8),
            "host": socket.gethostname(),
            "machine": this_machine(),
            "pid": os.getpid(),
            "beat": 0,
        }

    def check(self) -> None:
        """Does nothing while the lease is held.

        Raises:
            StorageError: Another run has taken it over.
        """
        with self._lock:
            if self._lost is None and _now() - self._seen > _MISSED * self._beat_s:
                self._confirm()  # this process stood still, and another may have taken over
            if self._lost is not None:
                raise StorageError(self._lost)

    def _confirm(self) -> None:
        now = self._found()
        if now is None or now.get("holder") != self._record["holder"]:
            self._lost = _taken(self._store.url, now or {})
        else:
            self._seen = _now()

    def take(self, *, beat_s: float) -> None:
        """Takes the lease, also over from a holder that is dead.

        Raises:
            OutputError: Its holder lives.
        """
        self._beat_s = beat_s
        if self._store.write(NAME, self._text(), only_new=True):
            self._seen = _now()
            return
        found = self._found()
        if found is not None and not _is_dead_here(found):
            self._wait_for(found, beat_s)
            _LOG.warning(
                "%s: the run that wrote here (%s) is gone; going on", self._store.url, _who(found)
            )
        self._store.write(NAME, self._text())
        threading.Event().wait(min(1.0, beat_s))  # of two that took it the later one has it
        if (now := self._found()) is None or now.get("holder") != self._record["holder"]:
            raise OutputError(_taken(self._store.url, now or {}))
        self._seen = _now()

    def _wait_for(self, found: Record, beat_s: float) -> None:
        """Returns when the holder has missed so many beats that it must ask before it writes."""
        for _ in range(_MISSED + 1):
            threading.Event().wait(beat_s)
            now = self._found()
            if now is not None and now != found:
                raise OutputError(_taken(self._store.url, now))

    def beat(self) -> bool:
        """Says that this run lives; returns False where it has lost the lease."""
        try:
            self._confirm()
            if self._lost is not None:
                return False
            self._record["beat"] += 1
            self._store.write(NAME, self._text())
        except StorageError:
            # a storage that is away for a while keeps others from taking the lease, too; one
            # that stays away ends the run where it writes
            return True
        return True

    def give_back(self) -> None:
        """Removes the lease, where it is still this one's."""
        found = self._found()
        if found is not None and found.get("holder") == self._record["holder"]:
            self._store.remove(NAME)

    def _text(self) -> bytes:
        return json.dumps(self._record).encode()

    def _found(self) -> Record | None:
        content = self._store.read(NAME, max_bytes=_MAX_BYTES)
        try:
            found = json.loads(content) if content is not None else None
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {} if content is not None else None


@contextmanager
def leased(store: Store, *, beat_s: float = _BEAT_S) -> Iterator[Lease]:
    """Holds the lease of a folder for the length of a block.

    Warns where it is taken over from a run of another machine that is gone.

    Args:
        store: The folder.
        beat_s: Seconds between two signs of life.

    Raises:
        OutputError: Another run holds it.
        StorageError: The storage can't be reached.
    """
    lease = Lease(store)
    lease.take(beat_s=beat_s)
    ended = threading.Event()

    def live() -> None:
        while not ended.wait(beat_s) and lease.beat():
            pass

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    try:
        yield lease
    except BaseException:
        ended.set()
        thread.join()
        with suppress(StorageError):  # the error on its way out counts; a lease ends by itself
            lease.give_back()
        raise
    ended.set()
    thread.join()
    lease.give_back()


def _is_dead_here(found: Record) -> bool:
    """Whether the holder was a process of this machine that is there no more."""
    pid = found.get("pid")
    return (
        found.get("machine") == this_machine()
        and isinstance(pid, int)
        and not psutil.pid_exists(pid)
    )


def _now() -> float:
    """Seconds of a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _who(found: Record) -> str:
    return f"process {found.get('pid', '?')} of {found.get('host', '?')}"


def _taken(url: str, found: Record) -> str:
    return (
        f"{url}: another run is writing here ({_who(found)}); wait for it to end or stop it, then "
        "run the same command again"
    )
