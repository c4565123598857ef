"""The processes that an engine starts below this one: whether they live, and their end.

vLLM's core runs in a child process, its workers in children of that one. When the core is
killed nobody tells its client, and a child that hangs outlives its parent; so they are
watched and ended from here, and by a guard where this process can't do so any more.
"""

import contextlib
import os
import subprocess
import sys
import uuid

import psutil

from sllm_data.generation import engine_guard

_END_S = 10.0


class EngineProcesses:
    """The children that appear after this object was made; older ones are not ours."""

    def __init__(self) -> None:
        older = {child.pid for child in psutil.Process().children()}
        mark = uuid.uuid4().hex
        watched = [str(os.getpid()), mark, *map(str, older)]
        self._guard = subprocess.Popen(
            [sys.executable, "-P", engine_guard.__file__, *watched],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the engine, not for its guard
        )
        os.environ[engine_guard.MARK] = mark  # for the processes that are started from here on
        self._ignored = older | {self._guard.pid}
        self._cores: list[psutil.Process] = []
        self._all: set[psutil.Process] = set()

    def settle(self) -> None:
        """Remembers the processes that the engine has started; from now on they must live."""
        os.environ.pop(engine_guard.MARK, None)
        self._all = set(engine_guard.descendants(os.getpid(), self._ignored))
        own = os.getpid()
        self._cores = [process for process in self._all if process.ppid() == own]
        self._tell(b"settled\n")

    def are_alive(self) -> bool:
        """Whether all direct children of the engine still run."""
        return all(map(engine_guard.is_alive, self._cores))

    def end(self) -> None:
        """Kills what is left of them and waits until it is gone."""
        os.environ.pop(engine_guard.MARK, None)
        self._all |= set(engine_guard.descendants(os.getpid(), self._ignored))
        psutil.wait_procs(engine_guard.kill(self._all), timeout=_END_S)
        self._tell(b"done\n")
        # one that a busy machine does not let end in time has nothing to kill, and ends alone
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._guard.communicate(timeout=_END_S)

    def _tell(self, word: bytes) -> None:
        stdin = self._guard.stdin
        if stdin is None or stdin.closed:
            return
        with contextlib.suppress(BrokenPipeError):  # someone killed the guard
            stdin.write(word)
            stdin.flush()
