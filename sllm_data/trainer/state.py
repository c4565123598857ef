"""All that decides how a training goes on, as plain values and tensors on the CPU, and back.

Learning rates are a function of the step, so the step is the scheduler's state. The order of
rows is a function of the seed and the place in the data. What is left is what is here.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from sllm_data.errors import TrainingError
from sllm_data.trainer.checkpoint import State
from sllm_data.trainer.distributed import like, share


class Place(Protocol):
    """Whatever knows its place in the data."""

    def state(self) -> Mapping[str, Any]:  # Any: JSON
        """Returns the place behind the last pack that was handed out."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:  # Any: JSON
        """Goes on from a place."""
        ...


def state_of(parameters: Mapping[str, nn.Parameter], optimizer: AdamW, stream: Place) -> State:
    """Returns what this rank has of a training's state."""
    return {
        "parameters": {name: _copy(param) for name, param in parameters.items()},
        "means": {
            name: {key: _copy(value) for key, value in optimizer.state[param].items()}
            for name, param in parameters.items()
            if param in optimizer.state
        },
        "chance": {
            "cpu": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        },
        "stream": json.dumps(stream.state()),
    }


def restore(
    state: State, parameters: Mapping[str, nn.Parameter], optimizer: AdamW, stream: Place
) -> None:
    """Puts a training where it was.

    Raises:
        TrainingError: The state is of another model.
    """
    stored = state["parameters"]
    _refuse_other_model(stored, parameters)
    with torch.no_grad():
        for name, param in parameters.items():
            share(param).copy_(stored[name])
    names = {id(param): name for name, param in parameters.items()}
    document = optimizer.state_dict()
    order = [param for group in optimizer.param_groups for param in group["params"]]
    document["state"] = {
        index: {
            key: like(value, param) if value.dim() else value
            for key, value in state["means"][names[id(param)]].items()
        }
        for index, param in enumerate(order)
        if names[id(param)] in state["means"]
    }
    optimizer.load_state_dict(document)
    torch.set_rng_state(state["chance"]["cpu"])
    if state["chance"]["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["chance"]["cuda"])
    stream.restore(json.loads(state["stream"]))


def _copy(tensor: Tensor) -> Tensor:
    return share(tensor.detach()).to("cpu", copy=True)


def _refuse_other_model(
    stored: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]
) -> None:
    different = sorted(stored.keys() ^ parameters.keys()) or [
        name for name, param in parameters.items() if share(param).shape != stored[name].shape
    ]
    if different:
        raise TrainingError(
            f"the checkpoint must be of this model, {len(different)} of its tensors are missing, "
            f"too many or of another shape, the first is {different[0]}; choose another output"
        )
