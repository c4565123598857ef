"""forecast: what is left of a run, in rows, tokens, engine hours, gigabytes and money.

1. The corpora are listed, and some of their utterances drawn by hash (`forecast_sample`).
2. The real steps work on those in a temporary folder; in each pass the real engine answers
   for some seconds (`forecast_passes`).
3. What came of it is scaled up to all utterances, with intervals (`forecast_figures`).

Answers that the dataset or one that it reuses has already are found by their request keys,
as in a run, so a dataset that was begun is forecast for what it lacks. Nothing is written to
its folder, and no lock is taken.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sllm_data.config import RunConfig
from sllm_data.errors import RejectedError
from sllm_data.files import writing
from sllm_data.records import PASSES
from sllm_data.reporting.forecast import Estimate, Forecast
from sllm_data.steps.assemble import assemble
from sllm_data.steps.dataset import Dataset, looked_at
from sllm_data.steps.forecast_figures import figures_of
from sllm_data.steps.forecast_passes import PassProbe
from sllm_data.steps.forecast_sample import sample_dataset
from sllm_data.steps.growth import grown
from sllm_data.steps.order import step_names
from sllm_data.steps.progress import Progress
from sllm_data.steps.stored import fetch, fetch_corpora, fetch_others


def forecast(config: RunConfig, progress: Progress, *, extend: bool = False) -> Forecast:
    """Forecasts what `run` would still do; `config.budget` says how closely it looks.

    Args:
        config: Of the run.
        progress: Where to show bars.
        extend: Whether the dataset is to be extended.

    Raises:
        SllmDataError: What a run would raise, but for too many rejections.
    """
    real = _looked_at(config, progress, extend=extend)
    fetch_corpora(config, progress)
    fetch_others(config, progress)
    with _temporary_folder() as folder:
        sampled = sample_dataset(real, folder, progress)
        probe = PassProbe(
            sampled.dataset,
            seconds=config.budget.probe_seconds,
            part_share=config.part_size / len(sampled.audio_ids),
            progress=progress,
        )
        names = step_names(config)
        passes = list(probe.passes([turn for turn in PASSES if f"plan.{turn}" in names]))
        made = assemble(sampled.dataset, progress)
        return figures_of(real, sampled, passes, probe, made)


def check_budget(config: RunConfig, progress: Progress, *, extend: bool = False) -> None:
    """Refuses to start a run that is forecast to take more than its budget.

    It returns at once where there is no budget, and where the dataset is finished. What counts
    is the middle of the forecast, not an end of its interval.

    Raises:
        RejectedError: What is left takes more than one of the limits.
        SllmDataError: What a run would raise.
    """
    budget = config.budget
    if not budget.is_limited:
        return
    if _looked_at(config, progress, extend=extend).is_finished:
        return
    found = forecast(config, progress, extend=extend)
    asked = (
        ("engine_hours", budget.engine_hours, found.engine_hours),
        ("gigabytes", budget.gigabytes, found.gigabytes_left),
        ("money", budget.money, found.money),
    )
    over = [
        _sentence(name, limit, needed)
        for name, limit, needed in asked
        if limit is not None and needed is not None and needed.value > limit
    ]
    if over:
        raise RejectedError(
            f"{config.output}: what is left must fit into its budget: {'; '.join(over)}; raise "
            "the budget, or set a lower limit or sample of the corpora (`sllm-data forecast` "
            "shows what takes how much)"
        )


def _looked_at(config: RunConfig, progress: Progress, *, extend: bool) -> Dataset:
    fetch(config.output, progress, config.storage, may_be_new=True)
    if extend:
        fetch_corpora(config, progress)
    real = looked_at(config, extend=extend)
    return grown(real) if extend else real


def _sentence(name: str, limit: float, needed: Estimate) -> str:
    return (
        f"{name} is forecast as {needed.value:.3g} ({needed.low:.3g} to {needed.high:.3g}), "
        f"budget.{name} allows {limit:g}"
    )


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with writing(Path("the temporary folder (TMPDIR)")):
        folder = Path(tempfile.mkdtemp(prefix="sllm-forecast-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
