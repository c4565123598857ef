"""SIGTERM and Ctrl-C while steps are made: the step that began ends, and a checkpoint is written.

A cluster that wants its machine back sends SIGTERM and waits a little; so nothing of what was
computed is lost, however rare checkpoints are. What the signal does otherwise it does then: it
unwinds the command (`cli_stop`), or ends the process. A second Ctrl-C does so at once.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether somebody asked for a stop; `stop_noted` makes one.

    Attributes:
        asked: The signal by which this process was asked, 0 where it was not.
    """

    def __init__(self) -> None:
        """Takes over both signals, but for those that are ignored."""
        self.asked = 0
        heard = _SIGNALS if threading.current_thread() is threading.main_thread() else ()
        # Any: a function, or one of two numbers
        self._before: dict[int, Any] = {each: signal.getsignal(each) for each in heard}
        for number, handler in self._before.items():
            if handler not in (signal.SIG_IGN, None):
                signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.asked = number
        if number == signal.SIGINT:  # SIGTERM comes twice from `timeout`, who means it once
            signal.signal(number, self._before[number])

    def obey(self, number: int) -> None:
        """Does what the signal did before; returns where that does not end the training."""
        self.asked = 0
        self.give_back()
        signal.raise_signal(number)

    def give_back(self) -> None:
        """Lets both signals do what they did before."""
        for number, handler in self._before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def stop_noted() -> Iterator[Stop]:
    """Keeps both signals from ending what is done in the block.

    One that was not obeyed by the end of the block does its work there. Signals are heard by the
    main thread alone; in another one nobody is asked.
    """
    stop = Stop()
    try:
        yield stop
    finally:
        stop.give_back()
    if stop.asked:
        stop.obey(stop.asked)
