"""An engine for tests that fails at its first request, and answers from then on."""

import os
from pathlib import Path
from typing import Any


def answer(request: Any) -> str:  # Any: a request, which this module need not know
    failed = Path(os.environ["SLLM_TEST_FAILED"])
    if not failed.exists():
        failed.touch()
        raise ConnectionError("no server answers")
    return f"an answer about {len(request.messages)} messages"
