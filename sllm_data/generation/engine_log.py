"""Keeps what an engine's processes write off the terminal, and finds the cause in it.

Inference engines run in child processes that write dozens of lines at every start and a
traceback at every end. Children inherit the file descriptors that are open when they are
started, so for that time 1 and 2 lead to a file; a progress bar that this process draws may
still reach the terminal. If the engine fails, the file holds the cause.
"""

import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from sllm_data.errors import EngineError

_ERROR_LINE = re.compile(r"(?:^|[\s\]:])((?:\w+\.)*\w*(?:Error|Exception)): (\S.*)$")
_WRAPPERS = ("Engine core initialization failed", "See root cause", "check the stack trace")
_WORKER_ENDED = re.compile(r"Worker proc \S+ died unexpectedly \(exit code: (?:-(\d+)|None)\)")
_WORKER_FAILED = re.compile(r"Worker failed with error '(.*)', please check")
_TAIL_BYTES = 256 * 1024
_MAX_CAUSE = 300


class EngineLog:
    """A file for the output of an engine's processes; discarded if all went well."""

    def __init__(self) -> None:
        try:
            handle, name = tempfile.mkstemp(prefix="sllm-data-engine-", suffix=".log")
        except OSError as error:
            raise EngineError(
                f"the engine needs a file for what it writes, found: {error}; make room in the "
                "folder for temporary files, or set TMPDIR to another one"
            ) from error
        os.close(handle)
        self.path = Path(name)
        self._stream = self.path.open("a", encoding="utf-8", buffering=1)
        self._from = 0

    @property
    def hint(self) -> str:
        """Where to read more, as the end of a sentence."""
        return f"; what it wrote stands in {self.path}" if self.path.stat().st_size else ""

    def start_anew(self) -> None:
        """Leaves what was written so far out of the search for a cause."""
        self._from = self.path.stat().st_size

    @contextmanager
    def capture(self, *, but_stderr: bool) -> Iterator[None]:
        """Sends file descriptors 1 and 2 to the file, for child processes to inherit.

        Args:
            but_stderr: Let what Python prints by sys.stderr through, as a progress bar does.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
        stderr = sys.stderr
        with self.path.open("ab") as log:
            for descriptor in saved:
                os.dup2(log.fileno(), descriptor)
        if but_stderr:
            sys.stderr = _elsewhere(stderr, saved)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stderr = stderr
            for descriptor, copy in saved.items():
                os.dup2(copy, descriptor)
                os.close(copy)

    def adopt(self, logger: logging.Logger) -> None:
        """Sends what a logger of this process prints to the file.

        Handlers of other kinds, which write to files or keep records, go on as they are.
        """
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setStream(self._stream)

    def cause(self, otherwise: str) -> str:
        """Returns the first error that the processes wrote, or `otherwise`, as one line.

        Where a signal ended a worker before, it says that: errors are what follows from it.
        """
        with self.path.open("rb") as log:
            log.seek(max(self._from, self.path.stat().st_size - _TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").splitlines()
        for line in lines:
            if failed := _WORKER_FAILED.search(line):
                return _bounded(failed[1])
        for line in lines:
            found = _ERROR_LINE.search(line)
            if found and not any(wrapper in found[2] for wrapper in _WRAPPERS):
                return _bounded(f"{found[1].rpartition('.')[2]}: {found[2]}")
            if ended := _WORKER_ENDED.search(line):
                return f"a worker process was ended by {_signal(ended[1])}"
        return _bounded(otherwise)

    def release(self, logger: logging.Logger) -> None:
        """Gives an adopted logger back its terminal, and closes the file."""
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler and handler.stream is self._stream:
                handler.setStream(sys.stdout)
        self._stream.close()

    def discard(self) -> None:
        """Removes the file."""
        self.path.unlink(missing_ok=True)


def _elsewhere(stream: TextIO, saved: dict[int, int]) -> TextIO:
    """Returns a stream to where the given one led before, if it is one of the descriptors."""
    try:
        descriptor = stream.fileno()
    except (OSError, AttributeError, ValueError):  # a test's or a notebook's own stream
        return stream
    if descriptor not in saved:
        return stream
    # Stays open for good: a logger that is set up meanwhile keeps it, and would write to
    # whatever file gets the number next.
    descriptor = os.dup(saved[descriptor])
    return open(descriptor, "w", encoding=stream.encoding, buffering=1, closefd=False)


def _signal(number: str | None) -> str:
    """Names the signal that ended a process; vLLM may look before the system knows it."""
    if number is None or int(number) == signal.SIGKILL:
        return "a signal, most likely for memory"
    known = int(number) in signal.valid_signals()
    return signal.Signals(int(number)).name if known else f"signal {number}"


def _bounded(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_CAUSE else f"{line[:_MAX_CAUSE]}…"
