"""generate: the engine answers the requests of one pass."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace

from sllm_data.chat.loading import locate
from sllm_data.config import RunConfig
from sllm_data.errors import ModelError
from sllm_data.files import write_text
from sllm_data.shards import read_footer
from sllm_data.steps.answering import Job, Watch, answer_parts
from sllm_data.steps.cluster_workers import answer_on_cluster, is_on_cluster
from sllm_data.steps.course import Course, append_course
from sllm_data.steps.dataset import Dataset
from sllm_data.steps.engines import Engines
from sllm_data.steps.expected import expected_identity
from sllm_data.steps.feeding import Throughput
from sllm_data.steps.gpu_workers import answer_in_workers, worker_devices
from sllm_data.steps.parts import Records, Step, StepReport, finish_parts, tell_committed
from sllm_data.steps.progress import Progress
from sllm_data.steps.reuse import prepare_reuse
from sllm_data.steps.watching import Listener


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
    step = generate_step(dataset, turn)
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
        throughput, course, latest = Throughput(), Course(), Latest(dataset.tell)
        with progress.bar(f"generate {turn}", rows) as bar:

            def watch(rows: int, now: Throughput) -> None:
                bar.advance(rows, now.note())
                latest.take(now)
                if now.responses:  # none are answers that were taken over
                    course.add(rows, now.seconds)

            left = iter(reversed(range(len(missing))))

            def commit(records: Records) -> None:
                tell_committed(dataset, step, records, left=next(left))

            yield from _answer(job, missing, engines, throughput, watch, commit)
        if throughput.responses:
            _write_summary(dataset, turn, throughput)
            append_course(dataset.root / "reports" / f"generate.{turn}.course.json", course)

    return finish_parts(dataset, step, numbers, make, tells_itself=True)


def generate_step(dataset: Dataset, turn: str) -> Step:
    """What the step of a pass reads and writes."""
    return Step(
        name=f"generate.{turn}",
        folders=(f"rejections/generate.{turn}", f"responses/{turn}"),
        identity=expected_identity(dataset, f"generate.{turn}"),
        inputs=(f"plan.{turn}",),
    )


def _answer(
    job: Job,
    missing: Sequence[int],
    engines: Engines,
    throughput: Throughput,
    watch: Watch,
    commit: Callable[[Records], None],
) -> Iterator[Records]:
    config = RunConfig.model_validate_json(job.document)
    if is_on_cluster(config):  # whose GPUs are not those of this machine
        parts = answer_on_cluster(job, missing, engines, throughput, watch)
    elif len(devices := worker_devices(config.backbone)) > 1 and len(missing) > 1:
        parts = answer_in_workers(job, missing, devices, throughput, watch)
    else:
        done: list[Records] = []

        def keep(records: Records) -> None:
            commit(records)  # now, and not when all are answered
            done.append(records)

        throughput.add(answer_parts(job, iter(missing), engines, commit=keep, watch=watch))
        yield from done
        return
    for records in parts:
        commit(records)
        yield records


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


class Latest:
    """Tells what engines did since each of them was last heard of."""

    def __init__(self, tell: Listener) -> None:
        self._tell = tell
        self._by_source: dict[str, Throughput] = {}

    def take(self, now: Throughput) -> None:
        """Takes what one engine has done up to now."""
        before = self._by_source.get(now.source, Throughput())
        self._by_source[now.source] = replace(now)
        for name, what in (("restarts", "restarted"), ("recycles", "recycled")):
            if getattr(now, name) > getattr(before, name):
                count = sum(getattr(each, name) for each in self._by_source.values())
                self._tell("engine", {"what": what, "count": count})
        done = {name: getattr(now, name) - getattr(before, name) for name in _DONE}
        in_flight = sum(each.in_flight for each in self._by_source.values())
        self._tell("answers", done | {"in_flight": in_flight})


_DONE = (
    "responses",
    "prompt_tokens",
    "response_tokens",
    "cached_tokens",
    "busy_seconds",
    "seconds",
)


def _write_summary(dataset: Dataset, turn: str, throughput: Throughput) -> None:
    seconds = max(throughput.seconds, 1e-9)
    done = {k: v for k, v in asdict(throughput).items() if k not in ("in_flight", "source")}
    summary = done | {
        "rows_per_second": throughput.responses / seconds,
        "response_tokens_per_second": throughput.response_tokens / seconds,
        "engine_busy_share": throughput.busy_seconds / seconds,
    }
    path = dataset.root / "reports" / f"generate.{turn}.json"
    write_text(path, json.dumps(summary, indent=1, sort_keys=True) + "\n")
