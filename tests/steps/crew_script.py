"""Scripted answers of engines on a cluster, held back until the test lets them go.

An answer notes its process in the folder NOTES and waits for NOTES/go. It is `held` by the name of
its process, so that a test can end one in the middle of a part.
"""

import os
import time
from pathlib import Path

from sllm_data.records import Request

_GLANCE_S = 0.02


def hold(request: Request) -> str:
    """Answers with what was asked, when it may."""
    notes = Path(os.environ["NOTES"])
    (notes / f"{os.getpid()}.pid").touch()
    while not (notes / "go").exists():
        time.sleep(_GLANCE_S)
    return request.request_id
