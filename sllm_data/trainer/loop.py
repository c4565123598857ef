"""A training from its configuration to its weights: set-up, then one loop.

1. A finished training says so and returns.
2. Models, data and optimizer are made; the newest checkpoint puts them where they were.
3. Each step: packs, gradients, update, figures; checkpoints now and then, and where a signal
   asks for a stop.
4. The weights go into `model/`, the report is written last.

Its folder:

    train.yaml       the complete configuration     checkpoints/   what going on needs
    metrics.jsonl    a line for each step           tensorboard/   the same as curves
    model/           what came of it                report.json    written last: it is finished
    halved           is there where memory was too small for whole packs
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from typing import Protocol

import torch

from sllm_data.errors import TrainingError
from sllm_data.files import exists, output_lock, writing
from sllm_data.trainer.batch import PackedBatch
from sllm_data.trainer.boards import boards
from sllm_data.trainer.checkpoint import save_checkpoint
from sllm_data.trainer.config import TrainConfig
from sllm_data.trainer.data.loader import PackStream
from sllm_data.trainer.distributed import Ranks, full, joined, told_of_memory
from sllm_data.trainer.figures import (
    METRICS,
    Meter,
    MetricsFile,
    StepFigures,
    Totals,
    last_figures,
)
from sllm_data.trainer.optim import ends_of, learning_rates, stage_number
from sllm_data.trainer.provenance import code_facts
from sllm_data.trainer.report import TrainReport, finished_report, together, write_report
from sllm_data.trainer.setup import Training, folder_of_checkpoints, set_up, write_config
from sllm_data.trainer.state import state_of
from sllm_data.trainer.step import LossMeans, cut_in_halves
from sllm_data.trainer.stopping import stop_noted
from sllm_data.trainer.trained import save_trained

Say = Callable[[str], None]

HALVED = "halved"
"""A file that says so; it stays until a person removes it."""

_MEMORY = (
    "the GPU's memory must hold the model, two means for each trained number, and packs of {:,} "
    "positions, and does not; go on with activation_checkpointing of model.llm or model.encoder, "
    "or begin again in another output with a smaller data.budget, LoRA, or more GPUs"
)


class Bar(Protocol):
    """One bar of progress."""

    def advance(self, step: int = 1, note: str | None = None) -> None:
        """Moves it, and replaces what stands behind it."""
        ...


class Progress(Protocol):
    """What a person sees; `steps.Progress` is one."""

    def bar(self, name: str, total: int) -> AbstractContextManager[Bar]:
        """Shows a bar while the block runs."""
        ...


def _silent(_sentence: str) -> None:
    pass


def train(config: TrainConfig, progress: Progress, *, say: Say = _silent) -> TrainReport:
    """Trains, goes on with a training that was stopped, or returns at once where it is done.

    Args:
        config: All that it depends on.
        progress: Shows a bar; of the first rank only.
        say: Told what a person must know: a checkpoint that was not whole, memory that was not
            enough.

    Raises:
        SllmDataError: It can't begin, go on or end; one sentence says why.
    """
    if (report := finished_report(config)) is not None:
        return report
    with ExitStack() as stack:
        ranks = stack.enter_context(joined(config.device))
        stack.enter_context(output_lock(config.output) if ranks.is_first else nullcontext())
        say = say if ranks.is_first else _silent
        stack.enter_context(told_of_memory(_MEMORY.format(config.data.budget)))
        training = set_up(config, ranks, say=say)
        stack.enter_context(closing(training.stream))
        meter = Meter(
            costs=training.costs,
            budget=training.budget,
            peak_flops=training.peak_flops,
            ranks=ranks,
        )
        tell = stack.enter_context(_telling(training, progress))
        packs_of, totals = iter(training.stream), Totals()
        is_halving = _is_halved(config, ranks, say=say)
        left_out = _LeftOut(training.stream, say=say)
        stop = stack.enter_context(stop_noted())

        for step in range(training.steps_done, config.num_steps):
            begun = time.perf_counter()
            packs = [next(packs_of) for _ in range(config.accumulation)]
            waited = time.perf_counter() - begun
            num_skipped = left_out.tell()
            rates = learning_rates(config.stages, step)
            training.stepper.choose(rates)
            means, is_halving = _gradients(training, packs, step, is_halving=is_halving, say=say)
            norm = training.stepper.update(
                training.optimizer,
                rates,
                packs,
                max_norm=config.optimizer.max_grad_norm,
                step=step + 1,
            )
            seconds = time.perf_counter() - begun
            stage = stage_number(config.stages, step)
            work = meter.weigh(packs, stage=stage, seconds=seconds, waited=waited)
            totals.add(work)
            figures = StepFigures(
                step=step + 1,
                stage=stage,
                loss=means.total,
                parts=means.parts,
                rates=rates,
                grad_norm=norm,
                labels=work.labels,
                positions=work.positions,
                audio_seconds=work.audio_seconds,
                peak_memory_gib=meter.peak_memory_gib(),
                skipped=num_skipped,
                validation_loss=_validated(training, step + 1),
                **work.shares(training.peak_flops),
            )
            tell(figures)
            asked = int(ranks.largest(stop.asked))  # a checkpoint is written by all of them
            _save(training, step + 1, now=asked > 0)
            if asked:
                say(f"asked to stop: the checkpoint of step {step + 1} is written")
                stop.obey(asked)

        return _finish(training, meter, totals)


def _gradients(
    training: Training,
    packs: Sequence[PackedBatch],
    step: int,
    *,
    is_halving: bool,
    say: Say,
) -> tuple[LossMeans, bool]:
    """Computes the gradients of a step; where memory is too small, once more in halves.

    Where there are other ranks, they wait in the midst of the step for this one, and nothing can
    be said to them. So all end, and cut packs in halves from when they are started again.

    Returns:
        The losses, and whether packs are cut in halves from now on.

    Raises:
        TrainingError: Memory is too small for halves, or there are other ranks.
    """
    budget, marker = training.budget, training.config.output / HALVED
    while True:
        parts = cut_in_halves(packs) if is_halving else packs
        try:
            return training.stepper.gradients(parts, step=step + 1), is_halving
        except torch.cuda.OutOfMemoryError as error:
            if is_halving:
                raise TrainingError(
                    f"step {step + 1}: halves of packs of {budget:,} positions must fit into the "
                    "GPU's memory, and do not; go on with activation_checkpointing of model.llm "
                    "or model.encoder, or begin again in another output with a data.budget of "
                    f"{budget // 4} or less"
                ) from error
            with writing(marker):
                marker.touch()
            if not training.ranks.is_alone:
                raise TrainingError(
                    f"step {step + 1}: packs of {budget:,} positions must fit into the GPU's "
                    "memory, and do not; start the same command again, which goes on from the "
                    "last checkpoint and computes each pack in two halves (docs/training.md: "
                    "torchrun can do it), or begin again in another output with a data.budget "
                    f"of {budget // 2} or less"
                ) from error
        training.optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        is_halving = True
        say(
            f"step {step + 1}: the GPU's memory is too small for packs of {budget:,} "
            "positions; from here on each is computed in two halves, with the same gradients but "
            "for dropout; a smaller data.budget is faster"
        )


def _is_halved(config: TrainConfig, ranks: Ranks, *, say: Say) -> bool:
    """Tells whether memory was too small for whole packs before; all ranks call it."""
    marker = config.output / HALVED
    if not ranks.largest(float(exists(marker))):
        return False
    say(
        "the GPU's memory was too small for whole packs; each is computed in two halves, with the "
        f"same gradients but for dropout; remove {marker} to try whole ones again"
    )
    return True


class _LeftOut:
    """Says of the first row that is left out for each reason, and counts them all."""

    def __init__(self, stream: PackStream, *, say: Say) -> None:
        self._stream, self._say = stream, say
        self._told = set(stream.counts.skipped)

    def tell(self) -> int:
        """Says what is new; returns how many rows were left out since the training began."""
        skipped = self._stream.counts.skipped
        for reason in skipped.keys() - self._told:
            self._told.add(reason)
            self._say(
                f"{skipped[reason].names[0]} is left out: {reason.replace('_', ' ')}; how many "
                "there are stands in metrics.jsonl (skipped) and, by reason, in report.json"
            )
        return sum(each.num for each in skipped.values())


def _validated(training: Training, done: int) -> float | None:
    """Returns the loss on rows that are not trained, where it is time to look."""
    every = training.config.validation.every_steps
    if not every or (done % every and done != training.config.num_steps):
        return None
    return training.stepper.validate(training.validation).total


def _save(training: Training, done: int, *, now: bool) -> None:
    """Writes a checkpoint where one is due, or `now`."""
    config = training.config
    is_due = not done % config.checkpoints.every_steps or done in ends_of(config.stages)
    if not (is_due or now):
        return
    save_checkpoint(
        folder_of_checkpoints(config),
        step=done,
        state=state_of(training.parameters, training.optimizer, training.stream),
        facts={**training.facts, **code_facts()},
        ranks=training.ranks,
        keep=config.checkpoints.keep,
    )


def _finish(training: Training, meter: Meter, totals: Totals) -> TrainReport:
    """Writes what came of a training; all ranks call it."""
    config, ranks = training.config, training.ranks
    state = {name: full(param.detach()).cpu() for name, param in training.parameters.items()}
    skipped = ranks.gathered(json.dumps(training.stream.state()["counts"]["skipped"]))
    last = last_figures(config.output / METRICS)
    report = TrainReport(
        output=config.output,
        steps=config.num_steps,
        steps_now=config.num_steps - training.steps_done,
        loss=last["loss"],
        validation_loss=last["validation_loss"],
        labels=totals.labels,
        peak_memory_gib=meter.peak_memory_gib(),
        budget=training.budget,
        skipped=together(map(json.loads, skipped)),
        **totals.shares(training.peak_flops),
    )
    if ranks.is_first:
        facts = {
            "step": config.num_steps,
            "rows_fingerprint": training.stream.fingerprint,
            **training.facts,
            **code_facts(),
        }
        save_trained(config.output / "model", state, config=config.model, facts=facts)
        write_report(config.output, report, training.facts)
    ranks.wait()
    return report


@contextmanager
def _telling(training: Training, progress: Progress) -> Iterator[Callable[[StepFigures], None]]:
    """Opens all that is told of steps; only the first rank tells."""
    if not training.ranks.is_first:
        yield lambda _figures: None
        return
    config, done = training.config, training.steps_done
    write_config(config)
    metrics = MetricsFile(config.output / METRICS, steps_done=done)
    with (
        boards(config, step=done) as drawn,
        progress.bar("train", config.num_steps) as bar,
    ):
        bar.advance(done)

        def tell(figures: StepFigures) -> None:
            metrics.add(figures)
            for board in drawn:
                board.add(figures.step, figures.flat())
            bar.advance(1, figures.note())

        yield tell
