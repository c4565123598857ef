"""Several processes that train one model: who this one is, sums over all, what is sharded.

`torchrun` starts the processes; alone, everything here does nothing. Ranks meet over NCCL on
GPUs and over gloo on the CPU.

What is sharded and what is not:

    layers of the LLM              FSDP2: each rank keeps a share, gathered layer by layer
    encoder, connector, LoRA,      on every rank; their gradients are summed here. They are
    embedding, head                small, or skipped where a pack has no audio, or called
                                   outside the LLM's own forward, where FSDP's hooks miss them
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from sllm_data.errors import TrainingError


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """Which of how many processes this one is, and where it computes."""

    rank: int = 0
    world_size: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """Whether this one writes what is written once."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.world_size == 1

    def sums(self, values: Sequence[float]) -> list[float]:
        """Returns the sums over all ranks; whole numbers stay exact up to 2**53."""
        if self.is_alone:
            return list(values)
        together = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(together)
        return [float(value) for value in together]

    def largest(self, value: float) -> float:
        """Returns the largest value of any rank."""
        if self.is_alone:
            return value
        each = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(each, op=dist.ReduceOp.MAX)
        return float(each)

    def gathered(self, value: str) -> list[str]:
        """Returns the values of all ranks, in their order."""
        if self.is_alone:
            return [value]
        found = [""] * self.world_size
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Waits until all ranks are here."""
        if not self.is_alone:
            dist.barrier()


def chosen_device(device: str) -> str:
    """Returns `cpu` or `cuda` for `auto`, `cpu` or `cuda`.

    Raises:
        TrainingError: It is another one, or a GPU was asked for and there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"device must be auto, cpu or cuda, got {device!r}")
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise TrainingError(
            "device must be auto or cpu on this machine: cuda was asked for, and torch finds no "
            "GPU; install its CUDA build or look at the driver"
        )
    return "cuda" if has_gpu and device != "cpu" else "cpu"


@contextmanager
def told_of_memory(sentence: str) -> Iterator[None]:
    """Says what to do where a GPU's memory ends while the block runs.

    Raises:
        TrainingError: It ended; the sentence says what must fit into it, and what to do.
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(sentence) from error


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Joins the other ranks that `torchrun` started, if any, while the block runs.

    Raises:
        TrainingError: A GPU was asked for and there is none.
    """
    kind = chosen_device(device)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Ranks(device=kind)
        return
    rank, local_rank = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    where = f"cuda:{local_rank}" if kind == "cuda" else "cpu"
    if kind == "cuda":
        torch.cuda.set_device(local_rank)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Ranks(rank=rank, world_size=world_size, device=where)
    finally:
        dist.destroy_process_group()


def shard(model: nn.Module, llms: Iterable[nn.Module], ranks: Ranks) -> None:
    """Shards the layers of LLMs over the ranks, in place, and takes all to its device.

    Alone it does nothing. A layer is whole on the device only until it is cut, so the model may
    be larger than a device's memory.

    Call it once, before there is an optimizer: what is sharded are other parameters.

    Args:
        model: What is called in each step.
        llms: Inside it; their layers are found by transformers' `_no_split_modules`.
        ranks: Over which.

    Raises:
        TrainingError: An LLM does not tell its layers.
    """
    if ranks.is_alone:
        return
    layers = [layer for llm in llms for layer in _layers(llm)]
    kept = {param for layer in layers for param in _sharded(layer)}
    mesh = init_device_mesh(torch.device(ranks.device).type, (ranks.world_size,))
    others = {param for param in model.parameters() if param not in kept}
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=others)
    fully_shard(model, mesh=mesh, ignored_params=others)
    model.to(ranks.device)


def _layers(llm: nn.Module) -> list[nn.Module]:
    names: set[str] = set()
    for module in llm.modules():
        names |= set(getattr(module, "_no_split_modules", None) or ())
    layers = [module for module in llm.modules() if type(module).__name__ in names]
    if not layers:
        raise TrainingError(
            f"model.llm: {type(llm).__name__} must tell its layers (_no_split_modules) to be "
            "shared among processes; train it in one process or choose another LLM"
        )
    return layers


def _sharded(layer: nn.Module) -> list[nn.Parameter]:
    return [param for name, param in layer.named_parameters() if "lora_" not in name]


def add_up_gradients(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Averages over the ranks the gradients that FSDP does not; a missing one counts as 0."""
    if ranks.is_alone:
        return
    replicated = [param for param in parameters if not isinstance(param, DTensor)]
    for param in replicated:
        if param.grad is None:
            param.grad = torch.zeros_like(param)
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for param in replicated:
        if param.grad is not None:
            by_type.setdefault(param.grad.dtype, []).append(param.grad)
    for gradients in by_type.values():
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        flat /= ranks.world_size
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))


def clip_gradients(parameters: Iterable[nn.Parameter], *, max_norm: float, ranks: Ranks) -> float:
    """Scales all gradients down to a norm together; returns the norm that they had.

    Gradients of replicated parameters must have been added up.
    """
    whole: list[Tensor] = []
    shares: list[Tensor] = []
    for param in parameters:
        if isinstance(param.grad, DTensor):
            shares.append(param.grad.to_local())
        elif param.grad is not None:
            whole.append(param.grad)
    squared = _squared_norm(whole)
    if not ranks.is_alone:
        squared += ranks.sums([_squared_norm(shares)])[0]
    norm: float = squared**0.5
    if norm > max_norm:
        torch._foreach_mul_([*whole, *shares], max_norm / norm)
    return norm


def _squared_norm(tensors: list[Tensor]) -> float:
    if not tensors:
        return 0.0
    norms: Any = torch._foreach_norm(tensors)  # noqa: SLF001 - as torch's own clipping does
    return float(torch.stack([norm.float() for norm in norms]).square().sum())


def full(tensor: Tensor) -> Tensor:
    """Returns all of a tensor, of which this rank may have a share; all ranks must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def share(tensor: Tensor) -> Tensor:
    """Returns what this rank has of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def like(local: Tensor, param: Tensor) -> Tensor:
    """Returns this rank's share as a tensor of the same kind as `param`."""
    if not isinstance(param, DTensor):
        return local
    return DTensor.from_local(
        local.to(param.device),
        param.device_mesh,
        param.placements,
        shape=param.shape,
        stride=param.stride(),
        run_check=False,
    )
