"""Engines on the machines of a Ray cluster, all taking parts from one desk.

What a worker does is `answering.answer_parts`, as on one machine. It keeps its engine from one
pass to the next; parts of a worker that died go to another one, and what it had committed
stands.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sllm_data.config import RunConfig
from sllm_data.errors import EngineError
from sllm_data.generation import ScriptedConfig, VllmConfig
from sllm_data.runners import fence_of, num_engines_on
from sllm_data.shards import part_name
from sllm_data.steps.answering import Job, Watch, answer_parts
from sllm_data.steps.engines import Engines
from sllm_data.steps.feeding import Throughput
from sllm_data.steps.parts import Records


def is_on_cluster(config: RunConfig) -> bool:
    """Whether the engines of a configuration run on a cluster.

    A server is asked from here: that it is far away is its own affair, and the key to it is in
    this environment.
    """
    return config.runner.kind == "ray" and config.backbone.engine != "openai"


def answer_on_cluster(
    job: Job, missing: Sequence[int], engines: Engines, throughput: Throughput, watch: Watch
) -> Iterator[Records]:
    """Answers parts with engines of a cluster; yields each part when it is committed.

    Raises:
        EngineError: An engine failed, or died too often; committed parts stand.
        ConfigError: The cluster can't be joined.
    """
    from sllm_data.runners.ray_crew import Crew  # noqa: PLC0415 - imports Ray

    config = RunConfig.model_validate_json(job.document)
    num_workers, gpus = engines_on_cluster(config)
    crew = engines.crew(lambda: Crew(config.runner, Engines, gpus=gpus))
    folder = config.output / "responses" / job.turn
    committed: set[str] = set()

    def is_done(number: int) -> bool:
        name = part_name(number)
        return name in committed or (folder / name).exists()

    news = crew.work(
        _work,
        job,
        missing,
        fence=fence_of(config.output),
        workers=min(num_workers, len(missing)),
        is_done=is_done,
    )
    for kind, content in news:
        match kind:
            case "part":
                committed.add(Path(content[-1].file).name)
                yield content
            case "rows":
                watch(*content)
            case _:
                throughput.add(content)


def engines_on_cluster(config: RunConfig) -> tuple[int, int]:
    """Returns how many engines there are, and how many GPUs each has.

    Raises:
        EngineError: The cluster's GPUs can't hold as many as were asked for.
        ConfigError: The cluster can't be joined.
    """
    backbone = config.backbone
    if isinstance(backbone, ScriptedConfig):
        return backbone.workers, 0
    assert isinstance(backbone, VllmConfig)  # noqa: S101 - `is_on_cluster` says so
    gpus = backbone.tensor_parallel_size
    room = num_engines_on(config.runner, gpus=gpus)
    if backbone.workers == "auto":
        return max(1, room), gpus if room else 0
    if room and backbone.workers > room:
        raise EngineError(
            f"backbone.workers must be at most {room}, the engines that the GPUs of the Ray "
            f"cluster can hold, got {backbone.workers}"
        )
    return backbone.workers, gpus if room else 0


def _work(
    engines: Engines,
    job: Job,
    numbers: Iterator[int],
    post: Any,  # Any: runners.ray_crew.Post, whose module imports Ray
) -> None:
    throughput = answer_parts(
        job,
        numbers,
        engines,
        commit=lambda records: post(("part", records)),
        watch=lambda rows, now: post(("rows", (rows, now))),
    )
    post(("done", throughput))
