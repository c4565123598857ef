"""What a training was made from: its configuration, its data, its models, this code.

It stands in every checkpoint and beside the weights that come out. Whoever goes on with a
training, or loads what came of it, compares.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sllm_data
from sllm_data.chat import ChatRenderer
from sllm_data.chat.loading import locate
from sllm_data.documents import differences
from sllm_data.errors import TrainingError
from sllm_data.trainer.config import TrainConfig, identity_of_training
from sllm_data.trainer.data.reading import digest_of
from sllm_data.trainer.model.config import ModelConfig

Facts = dict[str, Any]  # Any: JSON


def facts_of(config: TrainConfig) -> Facts:
    """Returns what is known without opening models or rows."""
    return {
        "configuration": identity_of_training(config),
        "datasets": {
            f"{number} {entry.path.name}": digest_of(entry.path)
            for number, entry in enumerate(config.data.datasets)
        },
    }


def facts_of_models(config: ModelConfig, renderer: ChatRenderer) -> Facts:
    """Returns which models are beneath, and how conversations are written for the LLM."""
    return {
        "models": {
            "encoder": locate(config.encoder.model, revision=config.encoder.revision)[1],
            "llm": renderer.revision,
        },
        "chat_template_sha256": renderer.chat_template_sha256,
    }


def code_facts() -> Facts:
    """Returns what this code is; another one may go on with a training."""
    return {"code_version": sllm_data.__version__}


def refuse_another(stored: Mapping[str, Any], facts: Facts, *, where: Path) -> None:
    """Compares what a folder was made from with what is asked for now.

    Raises:
        TrainingError: Something differs; all of it is named.
    """
    changed = [
        line
        for name, value in facts.items()
        for line in differences(stored.get(name), value, "" if name == "configuration" else name)
    ]
    if changed:
        raise TrainingError(
            f"{where}: holds a training of another configuration or other data: "
            f"{'; '.join(changed)}; change that back or choose another output"
        )
