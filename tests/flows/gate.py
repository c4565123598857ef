"""An engine for tests that waits at a gate, with a process beside it as vLLM has.

gate/closed    while it is there, nothing is answered
gate/waiting   made by the engine when it waits: the process number of what it has started
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_POLL_S = 0.1


def answer(request: Any) -> str:  # Any: a request, which this module need not know
    gate = Path(os.environ["SLLM_TEST_GATE"])
    if (gate / "closed").exists():
        beside = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(3600)"],
            # as an engine's output goes to its log: a worker waits until nobody holds its pipe
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        (gate / "waiting.tmp").write_text(str(beside.pid))
        (gate / "waiting.tmp").rename(gate / "waiting")
        while (gate / "closed").exists():
            time.sleep(_POLL_S)
        beside.kill()
        beside.wait()
    return f"an answer about {len(request.messages)} messages"
