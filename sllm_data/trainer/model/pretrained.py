"""Reading models of others from a folder or the hub, with a sentence where that fails.

A model folder is data: code that comes with it is never run, and weights are safetensors,
never pickles, whose reading may run anything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from sllm_data.errors import ModelError

_FAILURES = (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError)


def read_config(name: str, revision: str | None, *, what: str) -> PreTrainedConfig:
    """Returns a model's configuration.

    Args:
        name: A local folder or a hub id.
        revision: Of the hub.
        what: What is expected there, for the error.

    Raises:
        ModelError: There is none.
    """
    with _told(name, what):
        return AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)


def read_model(
    kind: Any,  # Any: a class of transformers, or one of its Auto classes
    name: str,
    revision: str | None,
    *,
    dtype: torch.dtype,
    what: str,
    prefix: str = "",
    **changes: float,
) -> PreTrainedModel:
    """Returns a model on the CPU, in eval mode.

    Args:
        kind: What reads it.
        name: A local folder or a hub id.
        revision: Of the hub.
        dtype: Of its weights.
        what: What is expected there, for the error.
        prefix: Of the weights that must be there.
        changes: Fields of its configuration that shall differ.

    Raises:
        ModelError: It can't be read, or weights are missing.
    """
    with _told(name, what):
        model, loading = kind.from_pretrained(
            name,
            revision=revision,
            dtype=dtype,
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
            **changes,
        )
    missing = sorted(key for key in loading["missing_keys"] if key.startswith(prefix))
    if missing:
        raise ModelError(
            f"{name}: must hold all weights of {what}, {len(missing)} are missing, the first is "
            f"{missing[0]}"
        )
    found: PreTrainedModel = model.eval()
    return found


@contextmanager
def _told(name: str, what: str) -> Iterator[None]:
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # ours is the only one
    try:
        yield
    except _FAILURES as error:
        raise ModelError(f"{name}: must hold {what}: {error}") from error
    finally:
        if shown:
            logging.enable_progress_bar()
