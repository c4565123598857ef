"""SIGTERM as an orderly stop: what Ctrl-C does, and then the end that SIGTERM is.

The default would end this process in the middle of a line: its workers would be left to find
out by themselves, its semaphores and temporary files to others. Once is enough: `timeout`, for
one, sends it twice, to the process and to its group. Who can't wait has SIGKILL.
"""

import gc
import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from sllm_data.lifeline import follow_lifeline

_STATUS = 128 + signal.SIGTERM
"""The exit status of an unwinding that SIGTERM began; the process then ends by the signal."""


def stopping_at_sigterm(work: Callable[[], None]) -> None:
    """Does some work in the main thread; SIGTERM unwinds it, then ends this process.

    Where SIGTERM is ignored, it stays so.
    """
    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_IGN:
        work()
        return

    def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(_STATUS)

    signal.signal(signal.SIGTERM, stop)
    follow_lifeline()
    try:
        work()
    except SystemExit as end:
        if end.code != _STATUS:
            raise
    else:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
    # what was on the way still holds queues and their semaphores, by cycles too; the signal
    # ends this process without the cleaning up that follows a usual end
    gc.collect()
    signal.raise_signal(signal.SIGTERM)
