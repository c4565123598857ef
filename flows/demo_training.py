"""What `make demo` does with its dataset: a short training, and an evaluation of what came of it.

The encoder that ships with the package hears, its backbone reads and answers, and what is
trained is what lies between: a connector, and LoRA of the backbone. A minute of training on a
few minutes of speech shows that all of it runs; it makes no good listener.
"""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from sllm_data.errors import SllmDataError
from sllm_data.testbed.assets import shipped

_STEPS = 60
_ROWS = 6
"""Of each task in each group, that are asked."""


def train_and_evaluate(dataset: Path, folder: Path) -> Path:
    """Writes train.yaml, trains by it and evaluates, by the commands; returns the page.

    Raises:
        SllmDataError: A command ended without having done its work; it has said why.
    """
    path, model = folder / "train.yaml", folder / "model"
    path.write_text(yaml.safe_dump(_config(dataset, model), sort_keys=False), "utf-8")
    _run("train", str(path))
    _run("evaluate", str(model), str(dataset), "--limit", str(_ROWS))
    return model / "evaluation/index.html"


def _run(*arguments: str) -> None:
    sys.stdout.write(f"$ sllm-data {' '.join(arguments)}\n")
    sys.stdout.flush()
    # models as small as these are slower with more threads than with one
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "sllm_data.cli", *arguments], env=environment, check=False
    )
    if done.returncode:
        raise SllmDataError(f"sllm-data {arguments[0]} must end well, exit {done.returncode}")


def _config(dataset: Path, output: Path) -> dict[str, object]:
    return {
        "seed": 1,
        "output": str(output),
        "data": {"datasets": [{"path": str(dataset)}], "budget": 1024, "workers": 1},
        "model": {
            "encoder": {"model": str(shipped("encoder"))},
            "connector": {"kind": "mlp", "stack": 16, "hidden_size": 256},
            "llm": {"model": str(shipped("backbone")), "lora": {"rank": 8, "alpha": 16}},
        },
        "stages": [
            {
                "steps": _STEPS,
                "learning_rates": {"connector": 2e-3, "llm": 2e-3},
                "warmup_steps": 10,
            }
        ],
        "checkpoints": {"every_steps": 30},
        "logging": {"boards": ["tensorboard"]},
    }
