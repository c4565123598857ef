"""Mapping a step over parts on a Ray cluster: one task a part, a bound on what is submitted.

    jobs ──> submitted (at most 2 for each task that the cluster has CPUs for) ──> results
     ^                                │
     └── lost: its worker was killed, or its node is gone; 3 times at most

Ray's own retries are off: they have no end where a worker runs out of memory again and again.
Where a run stops early its tasks end with its connection to the cluster. They are not cancelled:
one that is done while Ray 2.60 cancels it is an error to Ray that ends the whole process.
"""

import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from sllm_data.errors import OutputError
from sllm_data.runners.cluster import check_room, cluster_kept, join_cluster, loss_told
from sllm_data.runners.config import RunnerConfig
from sllm_data.runners.fence import Fence
from sllm_data.runners.place import Place, outcome_of, result_of

MAX_LOST = 3
"""How often a part may lose its worker before the run ends."""

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(kw_only=True, slots=True, eq=False)
class _Sent:
    """A job on its way."""

    payload: bytes
    lost: int = 0


def _work(place: Place, payload: bytes) -> bytes:
    def work() -> object:
        step, job = pickle.loads(payload)  # noqa: S301 - from the driver of this run
        return step(job)

    return outcome_of(place, work)


_LOOK_S = 60.0
"""Between two looks at whether the cluster still has room for a part, in seconds."""

_TASK: Any = ray.remote(max_retries=0)(_work)  # Any: Ray adds methods to it


def map_on_cluster(
    step: Callable[[Job], Result],
    jobs: Sequence[Job],
    config: RunnerConfig,
    fence: Fence | None,
) -> Iterator[Result]:
    """Yields step(job) for each job, in the order in which they finish.

    Raises:
        ConfigError: The cluster can't be joined, or no node is large enough for a task.
        OutputError: A job lost its worker too often, or a node lacks what the run needs.
        EngineError: The connection to the cluster was lost.
    """
    with cluster_kept(), loss_told():
        join_cluster(config)
        check_room(config)
        task = _TASK.options(num_cpus=config.cpus_per_task, name=step.__name__.strip("_"))
        place = ray.put(Place.here(fence))
        waiting = deque(_Sent(payload=pickle.dumps((step, job))) for job in jobs)
        running: dict[ray.ObjectRef, _Sent] = {}
        while waiting or running:
            while waiting and len(running) < _most(config):
                sent = waiting.popleft()
                running[task.remote(place, sent.payload)] = sent
            done, _ = ray.wait(list(running), num_returns=1, timeout=_LOOK_S)
            if not done:
                check_room(config)  # the nodes that a part fits on may all be gone
                continue
            sent = running.pop(done[0])
            try:
                content = ray.get(done[0])
            except RayTaskError as error:
                raise OutputError(no_such_code(error)) from error
            except RayError as error:
                _count_loss(sent, error)
                waiting.appendleft(sent)
                continue
            yield result_of(content)


def _most(config: RunnerConfig) -> int:
    if config.workers != "auto":
        return config.workers
    # asked anew each time: nodes come and go
    room = int(ray.cluster_resources().get("CPU", 0.0) / config.cpus_per_task)
    return 2 * max(1, room)


def _count_loss(sent: _Sent, error: RayError) -> None:
    sent.lost += 1
    if sent.lost >= MAX_LOST:
        raise OutputError(
            f"a part lost its Ray worker {sent.lost} times, most likely killed for memory "
            f"({cause_of(error)}); raise runner.cpus_per_task or lower part_size of the next "
            "dataset, and run the same command again: finished parts are kept"
        ) from error


def cause_of(error: RayError) -> str:
    """What Ray calls a loss, without its page of advice."""
    return type(error).__name__


def no_such_code(error: RayTaskError) -> str:
    """The sentence for what failed before any code of ours ran: mostly an import."""
    cause = str(error.cause if error.cause is not None else error).strip().splitlines()
    return (
        "each node of the Ray cluster must have this version of sllm-data and its packages; a "
        f"worker could not begin: {cause[-1] if cause else type(error).__name__}"
    )
