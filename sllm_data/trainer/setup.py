"""What a training works with: models, data, optimizer, and where it goes on."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
import yaml
from torch import nn
from torch.optim import AdamW

from sllm_data.chat import ChatRenderer
from sllm_data.errors import SllmDataError, TrainingError
from sllm_data.files import write_text
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.budget import measured_budget
from sllm_data.trainer.checkpoint import Checkpoint, newest_checkpoint
from sllm_data.trainer.config import TrainConfig
from sllm_data.trainer.data.config import DataConfig
from sllm_data.trainer.data.loader import PackStream, open_packs
from sllm_data.trainer.distributed import Ranks, shard
from sllm_data.trainer.flops import ModelCost, cost_of, has_experts, peak_tflops
from sllm_data.trainer.model.llm import load_renderer
from sllm_data.trainer.model.speech_lm import SpeechLM, load_speech_lm
from sllm_data.trainer.optim import GROUPS, make_optimizer
from sllm_data.trainer.provenance import Facts, facts_of, facts_of_models, refuse_another
from sllm_data.trainer.state import restore
from sllm_data.trainer.step import Stepper
from sllm_data.trainer.trained import begin_with

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What the loop turns around."""

    config: TrainConfig
    ranks: Ranks
    model: SpeechLM
    parameters: dict[str, nn.Parameter]
    """What is trained in any stage, by name."""
    stepper: Stepper
    optimizer: AdamW
    stream: PackStream
    validation: tuple[PackedBatch, ...]
    budget: int
    """Positions of a pack."""
    costs: tuple[ModelCost, ...]
    """What packs cost in each stage."""
    peak_flops: float | None
    """What all ranks' machines could do in a second, where it is known."""
    facts: Facts
    """What it is made from."""
    steps_done: int
    """When it was set up."""


def set_up(config: TrainConfig, ranks: Ranks, *, say: Callable[[str], None]) -> Training:
    """Makes all that a training needs and puts it where its newest checkpoint was.

    Args:
        config: What it is.
        ranks: Who takes part.
        say: Told of a checkpoint that was not whole, and of a budget that was measured.

    Raises:
        SllmDataError: Something can't be used, or the folder holds another training.
    """
    facts = facts_of(config)
    checkpoint = newest_checkpoint(config.output / "checkpoints", ranks, say=say)
    if checkpoint is not None:
        refuse_another(checkpoint.facts, facts, where=config.output)
    renderer = load_renderer(config.model.llm)
    model = load_speech_lm(
        config.model,
        seed=config.seed,
        dtype=DTYPES[config.precision],
        device=ranks.device,
        stays=not ranks.is_alone,  # layer by layer, `shard` takes this rank's share to its device
    )
    of_models = facts_of_models(config.model, renderer)
    if config.start_from is not None and checkpoint is None:
        begin_with(model, config.start_from, models=of_models["models"])
    costs = tuple(
        cost_of(model, {part: getattr(stage.learning_rates, part) for part in GROUPS})
        for stage in config.stages
    )
    budget = _budget(config, model, checkpoint, ranks, say=say)
    data = config.data.model_copy(update={"budget": budget})
    stream = _open(data, config, model, renderer, ranks)
    try:
        facts |= {**of_models, "budget": budget}
        shard(model, [llm for llm in (model.llm, model.original) if llm is not None], ranks)
        parameters = model.trainable_parameters()
        is_gpu = torch.device(ranks.device).type == "cuda"
        optimizer = make_optimizer(parameters, config.optimizer, fused=is_gpu)
        torch.manual_seed(config.seed + ranks.rank)
        if checkpoint is not None:
            refuse_another(checkpoint.facts, facts, where=config.output)
            restore(checkpoint.state, parameters, optimizer, stream)
        return Training(
            config=config,
            ranks=ranks,
            model=model,
            parameters=parameters,
            stepper=Stepper(
                model=model,
                parameters=parameters,
                losses=config.losses,
                ranks=ranks,
                failures=config.output / "failures",
            ),
            optimizer=optimizer,
            stream=stream,
            validation=_validation_packs(data, config, model, renderer, ranks),
            budget=budget,
            costs=costs,
            peak_flops=None if has_experts(model) else _peak_flops(config, ranks),
            facts=facts,
            steps_done=checkpoint.step if checkpoint else 0,
        )
    except BaseException:
        stream.close()
        raise


def write_config(config: TrainConfig) -> None:
    """Writes the complete configuration into the training's folder, for people."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text(
        config.output / "train.yaml",
        f"# What this training was made with. Written by sllm-data.\n{text}",
    )


def _open(
    data: DataConfig,
    config: TrainConfig,
    model: SpeechLM,
    renderer: ChatRenderer,
    ranks: Ranks,
    *,
    epochs: int | None = None,
) -> PackStream:
    return open_packs(
        data,
        renderer=renderer,
        geometry=model.geometry,
        seed=config.seed,
        rank=ranks.rank,
        world_size=ranks.world_size,
        twins=config.losses.needs_twin,
        epochs=epochs,
    )


def _budget(
    config: TrainConfig,
    model: SpeechLM,
    checkpoint: Checkpoint | None,
    ranks: Ranks,
    *,
    say: Callable[[str], None],
) -> int:
    """Returns the budget of a pack; one that was measured once is kept."""
    if checkpoint is not None:
        return int(checkpoint.facts["budget"])
    if not config.budget.automatic:
        return config.data.budget
    if not ranks.is_alone:
        raise TrainingError(
            "budget.automatic must be false where several processes train; measure with one, and "
            "give what it found as data.budget"
        )
    found = measured_budget(
        model,
        config.losses,
        at_most=config.data.budget,
        memory_gib=config.budget.memory_gib,
    )
    say(f"budget: packs of {found:,} positions fit into memory")
    return found


def _validation_packs(
    data: DataConfig,
    config: TrainConfig,
    model: SpeechLM,
    renderer: ChatRenderer,
    ranks: Ranks,
) -> tuple[PackedBatch, ...]:
    """Returns the packs that are asked each time: the first ones of the other split.

    A rank has fewer than another where all clips of a pack can't be decoded.
    """
    chosen = config.validation
    if not chosen.every_steps:
        return ()
    entries = tuple(
        entry.model_copy(update={"split": chosen.split})
        for entry in chosen.datasets or data.datasets
    )
    other = data.model_copy(update={"datasets": entries, "workers": 0, "text_share": 0.0})
    try:
        with closing(_open(other, config, model, renderer, ranks, epochs=1)) as stream:
            found = tuple(islice(stream, chosen.packs))
            whose = "" if ranks.is_alone else f" by process {ranks.rank} of {ranks.world_size}"
            lacks = "" if found else f"can be trained on{whose}: {stream.told()}"
            # all of them end, since all would wait for one that has none
            if lacking := [each for each in ranks.gathered(lacks) if each]:
                raise TrainingError(f"no row of the split {chosen.split} {lacking[0]}")
            return found
    except SllmDataError as error:
        raise TrainingError(
            f"validation: {error}; choose another split, or set validation.every_steps to 0"
        ) from error


def _peak_flops(config: TrainConfig, ranks: Ranks) -> float | None:
    peak = config.logging.peak_tflops
    if peak is None and torch.device(ranks.device).type == "cuda":
        peak = peak_tflops(torch.cuda.get_device_name(ranks.device), config.precision)
    return None if peak is None else peak * 1e12 * ranks.world_size


def folder_of_checkpoints(config: TrainConfig) -> Path:
    """Where a training's checkpoints lie."""
    return config.output / "checkpoints"
