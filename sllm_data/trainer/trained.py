"""What a training leaves: the weights that it changed, and all that is needed to use them.

    <output>/model/
        weights.safetensors     what was trained; all else is in the models beneath
        chat_template.jinja     where it is not the LLM's own
        trained.json            the model's configuration, which models are beneath and in which
                                revision, the chat template's hash, what it was trained on

The folder is written beside and renamed.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sllm_data.chat import ChatRenderer
from sllm_data.documents import differences, sentence_of
from sllm_data.errors import ModelError
from sllm_data.files import TEMPORARY_SUFFIX, is_folder, sha256_of_file, writing
from sllm_data.trainer.model.config import ModelConfig
from sllm_data.trainer.model.llm import load_renderer
from sllm_data.trainer.model.speech_lm import SpeechLM, load_speech_lm
from sllm_data.trainer.provenance import (
    DOCUMENT,
    FORMAT,
    Facts,
    facts_of_models,
    facts_of_trained,
)

_WEIGHTS, _TEMPLATE = "weights.safetensors", "chat_template.jinja"


class Trained(NamedTuple):
    """A model that can be asked."""

    model: SpeechLM
    renderer: ChatRenderer
    config: ModelConfig


def save_trained(
    folder: Path, state: dict[str, Tensor], *, config: ModelConfig, facts: Facts
) -> None:
    """Writes the weights of a training.

    Args:
        folder: What becomes of it: `<output>/model`.
        state: What was trained, by name, on the CPU.
        config: The model.
        facts: JSON: which models are beneath, and what it was trained on.

    Raises:
        OutputError: It can't be written.
    """
    temporary = folder.with_name(f".{folder.name}{TEMPORARY_SUFFIX}")
    with writing(folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        weights = temporary / _WEIGHTS
        try:
            save_file({name: tensor.contiguous() for name, tensor in state.items()}, weights)
        except SafetensorError as error:  # no OSError where the disk is full
            raise OSError(str(error)) from error
        if config.llm.chat_template is not None:
            shutil.copyfile(config.llm.chat_template, temporary / _TEMPLATE)
        document = {
            "format": FORMAT,
            "model": _with_absolute_paths(config).model_dump(mode="json"),
            "weights_sha256": sha256_of_file(weights),
            **facts,
        }
        path = temporary / DOCUMENT
        path.write_text(f"{json.dumps(document, indent=1)}\n", encoding="utf-8")
        for written in (*temporary.iterdir(), temporary):
            _flush(written)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        _flush(folder.parent)


def load_trained(
    folder: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Trained:
    """Loads what a training left.

    Args:
        folder: A training's output, or the folder `model` in it.
        device: cpu, cuda, cuda:1.
        dtype: What is computed in.

    Raises:
        ModelError: There is none, it is not whole, or the models beneath are other ones than it
            was trained with.
    """
    folder, document = facts_of_trained(folder)
    config = _config_of(folder, document)
    if config.llm.chat_template is not None:
        own = config.llm.model_copy(update={"chat_template": folder / _TEMPLATE})
        config = config.model_copy(update={"llm": own})
    state = _state_of(folder, document)
    renderer = load_renderer(config.llm)
    now = facts_of_models(config, renderer)
    then = {name: document.get(name) for name in now}
    if changed := differences(then, now):
        raise ModelError(
            f"{folder}: the models beneath must be those that it was trained with, but changed "
            f"{'; '.join(changed)}; put them back"
        )
    model = load_speech_lm(config, seed=0, dtype=dtype, device=device)
    try:
        model.load_trainable_state(state)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error
    return Trained(model.eval(), renderer, config)


def begin_with(model: SpeechLM, folder: Path, *, models: Mapping[str, Any]) -> None:  # Any: JSON
    """Takes over what another training changed; all else of a model stays as it is.

    Args:
        model: In training, fresh.
        folder: What the other training left.
        models: Which ones are beneath.

    Raises:
        ModelError: There is none, it is not whole, the models beneath are other ones, or what
            it trained is not trained here, or of another size.
    """
    folder, document = facts_of_trained(folder)
    then, now = _config_of(folder, document), model.config
    changed = [
        *differences(document.get("models"), models, "models"),
        *differences(_trained_by(then, then), _trained_by(now, then), "model"),
    ]
    if changed:
        raise ModelError(
            f"start_from: {folder}: what it trained must be trained here in the same way, on the "
            f"same models, but changed {'; '.join(changed)}; change that back, or begin afresh"
        )
    mine, state = model.trainable_parameters(), _state_of(folder, document)
    with torch.no_grad():
        for name, value in state.items():
            mine[name].copy_(value)


def _trained_by(config: ModelConfig, then: ModelConfig) -> dict[str, Any]:  # Any: JSON
    """Returns the form of the parts that `then` trained, as `config` has it."""
    found: dict[str, Any] = {"connector": config.connector.model_dump(mode="json")}
    for name in ("encoder", "llm"):
        part = getattr(config, name)
        if getattr(then, name).mode != "frozen":
            lora = part.lora.model_dump(mode="json", exclude={"dropout"})
            found[name] = {"mode": part.mode} | ({"lora": lora} if part.mode == "lora" else {})
    return found


def _config_of(folder: Path, document: Mapping[str, Any]) -> ModelConfig:  # Any: JSON
    try:
        return ModelConfig.model_validate(document["model"])
    except ValidationError as error:
        sentence = sentence_of(error, ModelConfig)
        raise ModelError(f"{folder / DOCUMENT}: model.{sentence}") from error


def _state_of(folder: Path, document: dict[str, Any]) -> dict[str, Tensor]:  # Any: JSON
    path = folder / _WEIGHTS
    try:
        if sha256_of_file(path) != document.get("weights_sha256"):
            raise ModelError(f"{path}: is cut or was changed; put back what the training wrote")
        state: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: can't be read: {error}") from error
    return state


def _with_absolute_paths(config: ModelConfig) -> ModelConfig:
    """A folder beneath is found again from wherever the model is loaded."""
    changes = {
        part: getattr(config, part).model_copy(
            update={"model": str(Path(getattr(config, part).model).resolve())}
        )
        for part in ("encoder", "llm")
        if is_folder(Path(getattr(config, part).model))
    }
    return config.model_copy(update=changes)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
