"""A command that another process of ours starts ends when that one does, however it ended.

The parent holds the other end of the command's standard input, which the kernel closes when it is
killed. It says so in the environment; a command that a person starts is left alone.
"""

import os
import signal
import sys
import threading
from collections.abc import Mapping

_NAME = "SLLM_LIFELINE"


def with_lifeline(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a command whose standard input is a pipe without a writer."""
    return {**environment, _NAME: "1"}


def follow_lifeline() -> None:
    """Has this process stopped, as by SIGTERM, when whoever started it so is gone."""
    if os.environ.pop(_NAME, ""):
        threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
