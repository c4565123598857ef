"""run: all steps of a recipe in their order; each returns at once where it is done."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial

from sllm_data.config import RunConfig
from sllm_data.errors import ConfigError
from sllm_data.files import output_lock
from sllm_data.records import PASSES, Pass
from sllm_data.steps.align import align
from sllm_data.steps.assemble import assemble
from sllm_data.steps.card import write_card
from sllm_data.steps.dataset import Dataset, open_dataset
from sllm_data.steps.engines import Engines
from sllm_data.steps.generate import generate
from sllm_data.steps.index import index
from sllm_data.steps.ingest import ingest
from sllm_data.steps.listing import list_candidates
from sllm_data.steps.parts import StepReport
from sllm_data.steps.plan import plan
from sllm_data.steps.preflight import check_inputs, check_working_folder
from sllm_data.steps.progress import Progress


def step_names(config: RunConfig) -> list[str]:
    """Returns the steps that a configuration needs, in their order.

    `align` is there only where an aligner is configured, each pass but `main` only where
    something asks for it.
    """
    names = ["candidates", "ingest", "index"]
    if config.alignment.backend != "none":
        names.append("align")
    for turn in PASSES:
        if turn in _passes(config):
            names += [f"plan.{turn}", f"generate.{turn}"]
    return [*names, "assemble"]


def _passes(config: RunConfig) -> set[Pass]:
    needed: dict[Pass, bool] = {
        "restore": config.prompts.preparation == "restored",
        "question": config.writes_questions,
        "main": True,
        "followup": config.followup.chance > 0,
        "followup_answer": config.followup.chance > 0,
        "judge": config.filters.judge,
    }
    return {turn for turn, is_needed in needed.items() if is_needed}


def run_step(
    config: RunConfig,
    name: str,
    progress: Progress,
    *,
    engines: Engines | None = None,
    extend: bool = False,
) -> StepReport:
    """Runs one step under the output's lock; the steps before it must be finished.

    An engine that it starts stays in `engines`, for the caller to close; without one it is
    ended with the step.

    Raises:
        ConfigError: The configuration has no such step.
        SllmDataError: Whatever the step finds wrong.
    """
    names = step_names(config)
    if name not in names:
        raise ConfigError(f"step must be one of {', '.join(names)}, got {name!r}")
    with output_lock(config.output), closing(Engines()) as own:
        return _run(open_dataset(config, extend=extend), name, progress, engines or own)


def run_all(
    config: RunConfig, progress: Progress, *, extend: bool = False
) -> Iterator[StepReport]:
    """Runs all steps under one lock, yielding what each did.

    Raises:
        SllmDataError: Whatever a step finds wrong; finished parts stand.
    """
    with output_lock(config.output), closing(Engines()) as engines:
        dataset = open_dataset(config, extend=extend)
        for name in step_names(config):
            yield _run(dataset, name, progress, engines)


def _run(dataset: Dataset, name: str, progress: Progress, engines: Engines) -> StepReport:
    start = time.monotonic()
    if name == "assemble":
        engines.close()  # nothing asks after this step has begun; its memory is of use
    if name in ("candidates", "ingest") and not _is_made(dataset, name):
        check_working_folder()
    if name == "candidates" and not _is_made(dataset, name):
        check_inputs(dataset.config)
    report = _steps(dataset, progress, engines)[name]()
    if name == "assemble":
        write_card(dataset)
        shutil.rmtree(dataset.work, ignore_errors=True)
    return replace(report, seconds=time.monotonic() - start)


def _is_made(dataset: Dataset, name: str) -> bool:
    manifest = dataset.manifest(name)
    return manifest is not None and manifest.extension == dataset.extension


def _steps(
    dataset: Dataset, progress: Progress, engines: Engines
) -> dict[str, Callable[[], StepReport]]:
    steps: dict[str, Callable[[], StepReport]] = {
        "candidates": partial(list_candidates, dataset),
        "ingest": partial(ingest, dataset, progress),
        "index": partial(index, dataset),
        "align": partial(align, dataset, progress),
        "assemble": partial(assemble, dataset, progress),
    }
    for turn in PASSES:
        steps[f"plan.{turn}"] = partial(plan, dataset, turn, progress)
        steps[f"generate.{turn}"] = partial(generate, dataset, turn, progress, engines)
    return steps
