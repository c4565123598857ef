"""From what was seen of the sample to the forecast: hours, money, and what to know of them."""

from collections.abc import Iterator, Sequence

import numpy as np

from sllm_data.config import RunConfig
from sllm_data.reporting.forecast import Forecast, PassForecast, Requests
from sllm_data.seeding import seed_for
from sllm_data.steps.cluster_workers import engines_on_cluster, is_on_cluster
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.forecast_numbers import NOTHING, Amount, added
from sllm_data.steps.forecast_passes import PassOfSample, PassProbe
from sllm_data.steps.forecast_sample import Sampled
from sllm_data.steps.forecast_scaled import Scaled
from sllm_data.steps.forecast_speed import borrowed, hours_for, speed_of
from sllm_data.steps.gpu_workers import worker_devices
from sllm_data.steps.parts import StepReport

_GIGABYTE = 1e9
_HOUR_S = 3600.0


def figures_of(
    real: Dataset,
    sampled: Sampled,
    passes: Sequence[PassOfSample],
    probe: PassProbe,
    made: StepReport,
) -> Forecast:
    """Returns the forecast.

    Args:
        real: The dataset that is forecast.
        sampled: The small one beside it, which is finished.
        passes: Of the small one.
        probe: That asked them.
        made: Of the step that made the small one's samples.
    """
    config = real.config
    rng = np.random.default_rng(seed_for(config.seed, "forecast"))
    scaled = Scaled(sampled, passes, probe.weights.answers, rng=rng)
    requests = tuple(
        scaled.requests(each, task)
        for each in passes
        for task in sorted({row.task for row in each.asked if row.state != "transcript"})
    )
    parts = -(-sampled.population // config.part_size)
    room, elsewhere = _room_for_engines(config)
    engines = max(1, min(room, parts))
    forecasts, answer_hours = _hours(passes, requests, scaled, engines=engines, rng=rng)
    asking = sum(each.speed is not None for each in forecasts)
    starts = min(1, asking) if engines == 1 else engines * asking
    start_hours = starts * probe.start_seconds / _HOUR_S
    engine_hours = Amount(
        mean=answer_hours.mean + start_hours, draws=answer_hours.draws + start_hours
    ).estimate()
    tables = scaled.gigabytes(passes, parts=parts)
    there = sum(path.stat().st_size for path in real.root.rglob("part-*.parquet")) / _GIGABYTE
    gpus = config.backbone.tensor_parallel_size if config.backbone.engine == "vllm" else 1
    price = config.budget.price_per_gpu_hour
    return Forecast(
        dataset=str(config.output),
        utterances=sampled.population,
        sampled=len(sampled.audio_ids),
        requests=requests,
        passes=forecasts,
        samples={task: amount.estimate() for task, amount in scaled.samples().items()},
        all_samples=added(scaled.samples().values()).estimate(),
        engines=engines,
        gpus_per_engine=gpus,
        start_seconds=probe.start_seconds,
        starts=starts,
        answer_hours=answer_hours.estimate(),
        engine_hours=engine_hours,
        gigabytes={table: amount.estimate() for table, amount in tables.items()},
        gigabytes_there=there,
        gigabytes_left=_beyond(added(tables.values()), there).estimate(),
        price_per_gpu_hour=price,
        money=None if price is None else engine_hours.times(gpus * price),
        notes=(*elsewhere, *_notes(config, passes, forecasts, (*sampled.reports, made))),
    )


def _room_for_engines(config: RunConfig) -> tuple[int, tuple[str, ...]]:
    """Returns how many engines the run has, and what to know where they are not here."""
    backbone = config.backbone
    if not is_on_cluster(config):
        return len(worker_devices(backbone)), ()
    room, gpus = engines_on_cluster(config)
    if gpus and worker_devices(backbone.model_copy(update={"workers": "auto"})) == [""]:
        note = (
            f"each engine of the cluster has {gpus} GPU(s), and the probe found none on this "
            "machine: hours are those of engines without; forecast on one that has such GPUs"
        )
        return room, (note,)
    return room, ()


def _beyond(amount: Amount, there: float) -> Amount:
    return Amount(mean=max(0.0, amount.mean - there), draws=np.maximum(0.0, amount.draws - there))


def _hours(
    passes: Sequence[PassOfSample],
    requests: Sequence[Requests],
    scaled: Scaled,
    *,
    engines: int,
    rng: np.random.Generator,
) -> tuple[tuple[PassForecast, ...], Amount]:
    """The engines' hours by pass, and those of all passes.

    A pass in which the probe had too few requests to fill the engine would look slow: it is
    taken to be, token for token, as fast as the pass in which most came from a full one.
    """
    trials = {each.turn: each.trial for each in passes if each.trial is not None}
    speeds = {turn: speed_of(trial) for turn, trial in trials.items()}
    full = [turn for turn, speed in speeds.items() if speed.is_full]
    if full:
        donor = max(full, key=lambda turn: speeds[turn].answers)
        tokens = speeds[donor].requests_per_second * _tokens_per_request(donor, requests)
        speeds = {
            turn: borrowed(speed, tokens / _tokens_per_request(turn, requests))
            for turn, speed in speeds.items()
        }
    hours = {
        turn: hours_for(
            scaled.left(turn), trial, speeds[turn].requests_per_second, engines=engines, rng=rng
        )
        for turn, trial in trials.items()
    }
    forecasts = tuple(
        PassForecast(
            turn=each.turn,
            left=scaled.left(each.turn).estimate(),
            hours=hours.get(each.turn, NOTHING).estimate(),
            speed=speeds.get(each.turn),
        )
        for each in passes
    )
    return forecasts, added(hours.values())


def _tokens_per_request(turn: str, requests: Sequence[Requests]) -> float:
    """Of prompt and answer together."""
    own = [each for each in requests if each.turn == turn]
    tokens = sum(each.prompt_tokens.value + each.response_tokens.value for each in own)
    return max(1.0, tokens / max(1e-9, sum(each.left.value for each in own)))


def _notes(
    config: RunConfig,
    passes: Sequence[PassOfSample],
    forecasts: Sequence[PassForecast],
    reports: Sequence[StepReport],
) -> Iterator[str]:
    for each, found in zip(passes, forecasts, strict=True):
        if each.trial is None or found.speed is None:
            continue
        if not found.speed.is_full and found.left.value > found.speed.answers:
            how = (
                "its rate is that of another pass, token for token"
                if found.speed.is_borrowed
                else "its hours are an upper bound"
            )
            yield (
                f"{each.turn}: {found.speed.answers:,} requests did not fill the engine; {how} "
                "(a larger --sample tells more)"
            )
        if not each.trial.is_drained:
            yield (
                f"{each.turn}: the engine was still answering when the probe ended; a longer "
                "one (--probe-seconds) tells more"
            )
    for report in reports:
        seen = report.rows + report.rejected
        if report.rejected > config.max_rejected_fraction * seen:
            yield (
                f"{report.step} rejects {report.rejected:,} of {seen:,} rows of the sample, more "
                f"than max_rejected_fraction = {config.max_rejected_fraction:g} allows: the run "
                "would stop there"
            )
    if config.backbone.tokenizer_source is None:
        yield "prompt tokens are words: no tokenizer is known here"
    if config.cuts_clips:
        yield "clips that are cut are forecast whole, and without alignments/"
