"""run: all steps of a recipe in their order; each returns at once where it is done."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

from sllm_data.config import RunConfig
from sllm_data.errors import ConfigError
from sllm_data.records import PASSES
from sllm_data.runners import cluster_kept, pass_fence, put_fence
from sllm_data.steps.align import align
from sllm_data.steps.assemble import assemble
from sllm_data.steps.card import write_card
from sllm_data.steps.dataset import Dataset, open_dataset
from sllm_data.steps.engines import Engines
from sllm_data.steps.forecast import check_budget
from sllm_data.steps.generate import generate
from sllm_data.steps.growth import begin_growth
from sllm_data.steps.index import index
from sllm_data.steps.ingest import ingest
from sllm_data.steps.listing import list_candidates
from sllm_data.steps.order import step_names
from sllm_data.steps.parts import StepReport
from sllm_data.steps.plan import plan
from sllm_data.steps.preflight import check_inputs, check_working_folder
from sllm_data.steps.progress import Progress
from sllm_data.steps.stored import fetch_corpora, fetch_others, held_output
from sllm_data.steps.watching import watched
from sllm_data.storage.places import shown


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
    with _held(config, progress) as held, cluster_kept(), closing(Engines()) as own:
        _wait_for_workers(config)
        grow = extend and name == "candidates"
        dataset = held(_opened(config, progress, extend=extend, grow=grow))
        return _run(dataset, name, progress, engines or own)


def run_all(
    config: RunConfig, progress: Progress, *, extend: bool = False
) -> Iterator[StepReport]:
    """Runs all steps under one lock, yielding what each did.

    Raises:
        RejectedError: What is left is forecast to take more than `config.budget`.
        SllmDataError: Whatever a step finds wrong; finished parts stand.
    """
    with _held(config, progress) as held, cluster_kept(), closing(Engines()) as engines:
        check_budget(config, progress, extend=extend)
        _wait_for_workers(config)
        dataset = held(_opened(config, progress, extend=extend, grow=extend))
        for name in step_names(config):
            yield _run(dataset, name, progress, engines)


def _wait_for_workers(config: RunConfig) -> None:
    """Those of a run that was killed, on other machines, must not write into this one."""
    if config.runner.kind == "ray":
        put_fence(config.output)
    else:
        pass_fence(config.output)


def _opened(config: RunConfig, progress: Progress, *, extend: bool, grow: bool) -> Dataset:
    """Opens the dataset; where it may grow, with an extension for new utterances."""
    dataset = open_dataset(config, extend=extend)
    if not grow or not dataset.is_finished:
        return dataset
    check_working_folder()
    fetch_corpora(config, progress)
    return begin_growth(dataset)


@contextmanager
def _held(config: RunConfig, progress: Progress) -> Iterator[Callable[[Dataset], Dataset]]:
    """Holds a run's output, with what it reads fetched and with those who watch listening.

    Yields what gives a dataset its ways to tell and to send.
    """
    about = {
        "output": shown(config.output),
        "recipe": config.recipe_name,
        "model": config.backbone.model_name,
    }
    with watched(config.watch, about=about) as tell, held_output(config, progress) as mirror:
        fetch_others(config, progress)

        def given(dataset: Dataset) -> Dataset:
            if mirror is not None:
                mirror.send_changed()  # run.yaml stands before any part
            return replace(dataset, mirror=mirror, tell=tell)

        yield given


def _run(dataset: Dataset, name: str, progress: Progress, engines: Engines) -> StepReport:
    start = time.monotonic()
    if name == "assemble":
        engines.close()  # nothing asks after this step has begun; its memory is of use
    if name in ("candidates", "ingest") and not _is_made(dataset, name):
        check_working_folder()
        fetch_corpora(dataset.config, progress)
    if name == "candidates" and not _is_made(dataset, name):
        check_inputs(dataset.config)
    report = _steps(dataset, progress, engines)[name]()
    if name == "assemble":
        write_card(dataset)
        shutil.rmtree(dataset.work, ignore_errors=True)
    if dataset.mirror is not None:
        dataset.mirror.send_changed()
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
