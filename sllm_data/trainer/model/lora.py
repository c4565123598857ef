"""Low-rank updates (peft) of one model's linear layers, and the model without them.

They are put into the model that is handed over and nowhere else: names like q_proj exist in
speech encoders too, and updates there are a known silent way to ruin training.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import peft
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from sllm_data.errors import ModelError
from sllm_data.trainer.model.config import LoraConfig


def add_lora(model: nn.Module, config: LoraConfig, *, where: str) -> None:
    """Puts updates beside the chosen layers; all else is frozen.

    They are float32, drawn from torch's generator, and change nothing at first.

    Args:
        model: Changed in place.
        config: Size and layers.
        where: Whose model it is, for the error.

    Raises:
        ModelError: A layer is not there.
    """
    linear = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
    missing = sorted(set(config.targets) - linear)
    if missing:
        raise ModelError(
            f"{where}: lora.targets must name linear layers of the model, found none called "
            f"{missing[0]}; there are {', '.join(sorted(linear))}"
        )
    updates = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # it is only divided
        lora_dropout=config.dropout,
        target_modules=list(config.targets),
    )
    peft.inject_adapter_in_model(updates, model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def lora_layers(model: nn.Module) -> list[LoraLinear]:
    """Returns the layers that have an update."""
    return [module for module in model.modules() if isinstance(module, LoraLinear)]


@contextmanager
def without_lora(model: nn.Module) -> Iterator[None]:
    """Lets a model compute as if it had no updates."""
    layers = lora_layers(model)
    for layer in layers:
        # Not enable_adapters(): it also switches requires_grad, which FSDP reads once and for all.
        layer._disable_adapters = True  # noqa: SLF001
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False  # noqa: SLF001
