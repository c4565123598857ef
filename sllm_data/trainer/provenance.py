"""What a training was made from: its configuration, its data, its models, this code.

It stands in every checkpoint and beside the weights that come out. Whoever goes on with a
training, or loads what came of it, compares.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sllm_data
from sllm_data.chat import ChatRenderer
from sllm_data.chat.loading import locate
from sllm_data.documents import differences
from sllm_data.errors import ModelError, TrainingError
from sllm_data.files import is_folder
from sllm_data.trainer.config import TrainConfig, identity_of_training
from sllm_data.trainer.data.reading import digest_of
from sllm_data.trainer.model.config import ModelConfig

Facts = dict[str, Any]  # Any: JSON

FORMAT, DOCUMENT = 1, "trained.json"
"""Of what stands beside the weights that come out of a training (`trained`)."""


def facts_of(config: TrainConfig) -> Facts:
    """Returns what is known without opening models or rows.

    Raises:
        ModelError: There are no weights where the training starts from.
    """
    return {
        "configuration": identity_of_training(config),
        "datasets": {
            f"{number} {entry.path.name}": digest_of(entry.path)
            for number, entry in enumerate(config.data.datasets)
        },
        "start_from": None
        if config.start_from is None
        else facts_of_trained(config.start_from)[1].get("weights_sha256"),
    }


def facts_of_trained(folder: Path) -> tuple[Path, Facts]:
    """Returns the folder of weights that a training left, and what stands beside them.

    Args:
        folder: A training's output, or the folder `model` in it.

    Raises:
        ModelError: There is none.
    """
    if is_folder(folder / "model"):
        folder = folder / "model"
    path = folder / DOCUMENT
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"{folder}: must be what `sllm-data train` wrote, with {DOCUMENT}: "
            f"{error.strerror or error}; a training that has not ended has none"
        ) from error
    except ValueError as error:
        raise ModelError(f"{path}: must be JSON written by sllm-data: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ModelError(
            f"{path}: must be of format {FORMAT}; train it again or use the version of sllm-data "
            "that wrote it"
        )
    return folder, document


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
