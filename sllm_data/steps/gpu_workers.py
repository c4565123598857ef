"""Several engines side by side: one process for each GPU, all taking parts from one queue.

An engine process is started, not forked, with its GPU alone in sight. Parts are taken one
by one as an engine has room, so a slow GPU simply takes fewer.
"""

import multiprocessing
import os
import queue
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from sllm_data.errors import EngineError, SllmDataError
from sllm_data.generation import BackboneConfig
from sllm_data.runners import start_worker, starting_workers
from sllm_data.steps.answering import Job, Watch, answer_parts
from sllm_data.steps.engines import Engines
from sllm_data.steps.feeding import Throughput
from sllm_data.steps.parts import Records

_POLL_S = 1.0
_END_S = 5.0


def worker_devices(backbone: BackboneConfig) -> list[str]:
    """Returns CUDA_VISIBLE_DEVICES of each worker; an empty text leaves it as it is.

    A server is asked by one worker: its concurrency is elsewhere.
    """
    if backbone.engine == "scripted":
        return [""] * backbone.workers
    if backbone.engine != "vllm":
        return [""]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [str(k) for k in range(_num_gpus())]
    per_engine = backbone.tensor_parallel_size
    groups = [
        ",".join(gpus[k : k + per_engine])
        for k in range(0, len(gpus) - per_engine + 1, per_engine)
    ]
    if backbone.workers == "auto":
        return groups or [""]
    if groups and backbone.workers > len(groups):
        raise EngineError(
            f"backbone.workers must be at most {len(groups)}, the engines that the visible GPUs "
            f"can hold, got {backbone.workers}"
        )
    return groups[: backbone.workers] or [""] * backbone.workers


def _num_gpus() -> int:
    """Counts GPUs without loading CUDA into this process, which only starts the workers."""
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def answer_in_workers(
    job: Job, missing: Sequence[int], devices: Sequence[str], throughput: Throughput, watch: Watch
) -> Iterator[Records]:
    """Answers parts with one engine per device; yields each part when it is committed.

    Raises:
        EngineError: A worker died or failed; the others are stopped, committed parts stand.
    """
    context = multiprocessing.get_context("spawn")
    parts, news = context.Queue(), context.Queue()
    for number in [*missing, *(None for _ in devices)]:
        parts.put(number)
    with _engines(job, devices, parts, news) as workers:
        running = len(workers)
        while running:
            kind, content = _next_news(news, workers)
            match kind:
                case "part":
                    yield content
                case "rows":
                    watch(*content)
                case "done":
                    running -= 1
                    throughput.add(content)
                case _:
                    raise EngineError(content)


@contextmanager
def _engines(
    job: Job,
    devices: Sequence[str],
    parts: Any,  # Any: as below
    news: Any,
) -> Iterator[list[BaseProcess]]:
    """Starts one process for each device; in the end all are stopped."""
    context = multiprocessing.get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)
    with lifeline, held:
        workers: list[BaseProcess] = [
            context.Process(target=_work, args=(job, device, parts, news, lifeline))
            for device in devices
        ]
        with starting_workers():
            for worker in workers:
                worker.start()
        try:
            yield workers
        finally:
            _stop(workers)


def _stop(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        if worker.is_alive():
            worker.terminate()
    for worker in workers:
        worker.join(timeout=_END_S)
        if worker.is_alive():  # a library of its engine catches SIGTERM, and hangs
            worker.kill()
            worker.join()


def _next_news(news: Any, workers: Sequence[BaseProcess]) -> tuple[str, Any]:  # Any: by kind
    while True:
        try:
            kind, content = news.get(timeout=_POLL_S)
        except queue.Empty:
            dead = [worker for worker in workers if worker.exitcode not in (None, 0)]
            if dead:
                raise EngineError(
                    f"an engine's process died with exit status {dead[0].exitcode}, most likely "
                    "killed for memory; run the same command again: committed parts stand"
                ) from None
        else:
            return kind, content


def _work(
    job: Job,
    device: str,
    parts: Any,  # Any: multiprocessing queues
    news: Any,
    lifeline: Connection,
) -> None:
    start_worker(
        lifeline
    )  # a killed parent must not leave engines that write parts of the next run
    if device:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    try:
        with closing(Engines()) as engines:
            throughput = answer_parts(
                job,
                iter(parts.get, None),
                engines,
                commit=lambda records: news.put(("part", records)),
                watch=lambda rows, now: news.put(("rows", (rows, now))),
            )
    except SllmDataError as error:
        news.put(("failed", str(error)))
    else:
        news.put(("done", throughput))
