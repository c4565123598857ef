"""Two engines side by side, as on two GPUs, with scripted answers that never come.

    python two_engines.py run.yaml

The dataset must be planned. An answer notes its process in the folder NOTES and waits; as soon
as both do, one of them fails if NOTES/fail is there.
"""

import os
import signal
import sys
import time
from pathlib import Path

from sllm_data.config import load_config
from sllm_data.errors import SllmDataError
from sllm_data.files import output_lock
from sllm_data.records import Request
from sllm_data.steps import open_dataset
from sllm_data.steps.answering import Job
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.feeding import Throughput
from sllm_data.steps.gpu_workers import answer_in_workers
from sllm_data.steps.parts import Step

_GLANCE_S = 0.02


def wait(request: Request) -> str:
    """Answers nothing; `stubborn` beside the notes makes it deaf to SIGTERM."""
    notes = Path(os.environ["NOTES"])
    if (notes / "stubborn").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (notes / f"{os.getpid()}.pid").touch()
    while True:
        time.sleep(_GLANCE_S)
        pids = sorted(int(path.stem) for path in notes.glob("*.pid"))
        if (notes / "fail").exists() and len(pids) == 2 and pids[0] == os.getpid():
            raise ValueError(request.request_id)


def main(run_yaml: Path) -> None:
    """Starts both engines on all parts of the main pass."""
    config = load_config(run_yaml, ())
    with output_lock(config.output):
        dataset = open_dataset(config)
        step = Step(
            name="generate.main",
            folders=("rejections/generate.main", "responses/main"),
            identity=expected_identity(dataset, "generate.main"),
            inputs=("plan.main",),
        )
        job = Job(turn="main", document=config.model_dump_json(), step=step, reuse=None)
        list(answer_in_workers(job, range(4), ["", ""], Throughput(), lambda *_: None))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except SllmDataError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
