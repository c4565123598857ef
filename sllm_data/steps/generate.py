"""generate: the engine answers the requests of one pass."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from sllm_data.chat.loading import locate
from sllm_data.config import RunConfig
from sllm_data.errors import ModelError
from sllm_data.files import write_text
from sllm_data.shards import read_footer
from sllm_data.steps.answering import Job, Watch, answer_parts
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.engines import Engines
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.feeding import Throughput
from sllm_data.steps.gpu_workers import answer_in_workers, worker_devices
from sllm_data.steps.parts import Records, Step, StepReport, finish_parts
from sllm_data.steps.progress import Progress
from sllm_data.steps.reuse import prepare_reuse


def generate(dataset: Dataset, turn: str, progress: Progress, engines: Engines) -> StepReport:
    """Lets the engine answer the requests of a pass.

    Args:
        dataset: The dataset.
        turn: One of `records.PASSES`.
        progress: Where to show rows/s, tokens/s and the time left.
        engines: Whose engine answers, and stays for the next pass; several GPUs have their
            own for each pass.

    Raises:
        EngineError: The engine can't start, died, or gave up on its server; parts that
            were committed stand.
        RejectedError: The engine refused too many requests.
    """
    step = Step(
        name=f"generate.{turn}",
        folders=(f"rejections/generate.{turn}", f"responses/{turn}"),
        identity=expected_identity(dataset, f"generate.{turn}"),
        inputs=(f"plan.{turn}",),
    )
    numbers = sorted(int(number) for number in dataset.finished("index").extra)

    def make(missing: Sequence[int]) -> Iterator[Records]:
        if not missing:
            return
        _check_revision(dataset, turn)
        job = Job(
            turn=turn,
            document=dataset.config.model_dump_json(),
            step=step,
            reuse=prepare_reuse(dataset, turn),
        )
        rows = sum(_num_generated(dataset, turn, k) for k in missing)
        throughput = Throughput()
        with progress.bar(f"generate {turn}", rows) as bar:
            yield from _answer(
                job, missing, engines, throughput, lambda rows, now: bar.advance(rows, now.note())
            )
        if throughput.responses:
            _write_summary(dataset, turn, throughput)

    return finish_parts(dataset, step, numbers, make)


def _answer(
    job: Job, missing: Sequence[int], engines: Engines, throughput: Throughput, watch: Watch
) -> Iterator[Records]:
    config = RunConfig.model_validate_json(job.document)
    devices = worker_devices(config.backbone)
    if len(devices) > 1 and len(missing) > 1:
        yield from answer_in_workers(job, missing, devices, throughput, watch)
        return
    done: list[Records] = []
    throughput.add(answer_parts(job, iter(missing), engines, commit=done.append, watch=watch))
    yield from done


def _check_revision(dataset: Dataset, turn: str) -> None:
    """A model folder that changed since its prompts were planned would answer as another model."""
    backbone = dataset.config.backbone
    if backbone.tokenizer_source is None:
        return
    _, now = locate(backbone.tokenizer_source, revision=backbone.tokenizer_revision)
    planned = dataset.finished(f"plan.{turn}").extra["revision"]
    if planned not in ("", now):
        raise ModelError(
            f"{backbone.tokenizer_source}: must be the model that plan.{turn} was made for "
            f"(revision {planned}), found {now}; put it back, or choose another output"
        )


def _num_generated(dataset: Dataset, turn: str, number: int) -> int:
    counts = read_footer(dataset.part(f"requests/{turn}", number)).counts
    return counts.get("targets", {}).get("generated", 0)


def _write_summary(dataset: Dataset, turn: str, throughput: Throughput) -> None:
    seconds = max(throughput.seconds, 1e-9)
    summary = asdict(throughput) | {
        "rows_per_second": throughput.responses / seconds,
        "response_tokens_per_second": throughput.response_tokens / seconds,
        "engine_busy_share": throughput.busy_seconds / seconds,
    }
    path = dataset.root / "reports" / f"generate.{turn}.json"
    write_text(path, json.dumps(summary, indent=1, sort_keys=True) + "\n")
