"""What `make demo` does with its dataset: a short training, and an evaluation of what came of it.

The encoder that ships with the package hears, its backbone reads and answers, and what is
trained is what lies between: a connector, and LoRA of the backbone. A minute of training on a
few minutes of speech shows that all of it runs; it makes no good listener.
"""

from pathlib import Path

import yaml

from sllm_data.evaluation.asking import Asking
from sllm_data.evaluation.config import EvaluationConfig
from sllm_data.evaluation.evaluating import evaluate
from sllm_data.evaluation.report import as_text
from sllm_data.steps import Progress
from sllm_data.testbed.assets import shipped
from sllm_data.trainer.config import load_train_config
from sllm_data.trainer.loop import train

_STEPS = 120
_ROWS = 6
"""Of each task in each group, that are asked."""


def train_on(dataset: Path, folder: Path) -> Path:
    """Writes train.yaml and trains by it; returns the training's folder."""
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(_config(dataset, folder / "model"), sort_keys=False), "utf-8")
    report = train(load_train_config(path), Progress(None))
    return report.output


def examined(model: Path, dataset: Path) -> tuple[str, Path]:
    """Asks the model on speech and on text; returns the figures as text, and the page."""
    asking = Asking(dataset=dataset, split="test", limit=_ROWS, sides=("speech", "text"))
    outcome = evaluate(model, asking, model / "evaluation", config=EvaluationConfig())
    return as_text(outcome.report), outcome.files[-1]


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
        "checkpoints": {"every_steps": 50},
        "logging": {"boards": ["tensorboard"]},
    }
