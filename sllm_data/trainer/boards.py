"""Where figures are drawn as curves: TensorBoard, and Weights & Biases where it is installed."""

import importlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from sllm_data.errors import TrainingError
from sllm_data.files import write_text
from sllm_data.trainer.config import TrainConfig

_WANDB_ID = ".wandb-id"


class Board(Protocol):
    """Takes figures."""

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Draws the figures of a step."""
        ...


@contextmanager
def boards(config: TrainConfig, *, step: int) -> Iterator[Sequence[Board]]:
    """Opens the boards that were chosen, while the block runs.

    Args:
        config: Of the training: which boards, in which folder TensorBoard's files lie, and all
            that Weights & Biases shows beside the curves.
        step: How many updates are done: what was drawn behind it is dropped.

    Raises:
        TrainingError: A board is not installed.
    """
    with ExitStack() as stack:
        found: list[Board] = []
        if "tensorboard" in config.logging.boards:
            found.append(stack.enter_context(_tensorboard(config.output / "tensorboard", step)))
        if "wandb" in config.logging.boards:
            found.append(stack.enter_context(_wandb(config)))
        yield found


class _TensorBoard:
    def __init__(self, writer: Any) -> None:  # Any: a class of torch without types
        self._writer = writer

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)


@contextmanager
def _tensorboard(folder: Path, step: int) -> Iterator[Board]:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - takes seconds

    with SummaryWriter(str(folder), purge_step=step + 1) as writer:
        yield _TensorBoard(writer)


class _Wandb:
    def __init__(self, run: Any) -> None:  # Any: of a package that need not be installed
        self._run = run

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)


@contextmanager
def _wandb(config: TrainConfig) -> Iterator[Board]:
    try:
        wandb: Any = importlib.import_module("wandb")  # Any: as above
    except ImportError as error:
        raise TrainingError(
            "logging.boards must not name wandb where it is not installed; install the package "
            "wandb, or leave it out"
        ) from error
    known = config.output / _WANDB_ID  # a training that goes on goes on in the same run
    if not known.exists():
        write_text(known, f"{uuid.uuid4().hex}\n")
    run_id = known.read_text(encoding="ascii").strip()
    with wandb.init(
        project=config.logging.project,
        dir=str(config.output),
        name=config.output.name,
        config=config.model_dump(mode="json"),
        id=run_id,
        resume="allow",
    ) as run:
        yield _Wandb(run)
