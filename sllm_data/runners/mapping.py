"""Mapping a step over parts: in this process, in several, or on a Ray cluster.

A step is a module-level function of one picklable job, so that each runner can carry it to
where it works. Results come in the order in which parts finish; nothing may depend on it.

A worker ends when its lifeline does, a pipe whose other end the parent alone holds:

    parent is killed                            the kernel closes it
    parent is stopped (Ctrl-C, SIGTERM, ...)    it lets go, and does not wait for open parts
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from sllm_data.errors import OutputError
from sllm_data.runners.config import RunnerConfig
from sllm_data.runners.fence import fence_of
from sllm_data.spawning import without_main

Job = TypeVar("Job")
Result = TypeVar("Result")

_STOPS = (signal.SIGINT, signal.SIGTERM)


def num_workers(config: RunnerConfig) -> int:
    """Returns how many processes to use on this machine: 1 for serial."""
    if config.kind == "serial":
        return 1
    return len(os.sched_getaffinity(0)) if config.workers == "auto" else max(1, config.workers)


@contextmanager
def starting_workers() -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM back from this thread, and from processes that it starts.

    They don't import the main module (`spawning`). A process that still imports would answer
    Ctrl-C, which reaches all of a terminal, with a traceback. In this process the signals take
    effect afterwards, in a worker at `start_worker`.
    """
    # starting the first process of all starts this one, which ends by unblocking the signals
    resource_tracker.ensure_running()
    held: list[int] = []
    try:
        with _noted_in(held):
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
            try:
                with without_main():
                    yield
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
    finally:
        for each in held:
            signal.raise_signal(each)


@contextmanager
def _noted_in(held: list[int]) -> Iterator[None]:
    """Notes signals that another thread takes: their handlers would stop this one all the same."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {each: signal.getsignal(each) for each in _STOPS}
    for each, handler in kept.items():
        if handler not in (signal.SIG_IGN, None):  # a child inherits that a signal is ignored
            signal.signal(each, lambda number, _: held.append(number))
    try:
        yield
    finally:
        for each, handler in kept.items():
            if handler is not None:
                signal.signal(each, handler)


def start_worker(lifeline: Connection) -> None:
    """Makes a process that was just started a worker: it leaves Ctrl-C and ends to its parent.

    Args:
        lifeline: A pipe that nothing is sent through; the parent alone has its other end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    """Ends this worker when its parent is killed, before another run can write its part."""
    lifeline.poll(None)
    os._exit(1)


def map_parts(
    step: Callable[[Job], Result],
    jobs: Sequence[Job],
    config: RunnerConfig,
    *,
    root: Path | None = None,
) -> Iterator[Result]:
    """Yields step(job) for each job, in the order in which they finish.

    The first exception of a job stops the rest and is raised here.

    Args:
        step: A function of a module, other than the main one.
        jobs: What it is called with; they can be pickled.
        config: Where.
        root: The output that the jobs write into, where they do.

    Raises:
        OutputError: A worker process died (killed, out of memory).
        ConfigError: The Ray cluster can't be joined.
    """
    if config.kind == "ray":
        if jobs:
            from sllm_data.runners.ray_tasks import map_on_cluster  # noqa: PLC0415 - imports Ray

            fence = None if root is None else fence_of(root)
            yield from map_on_cluster(step, jobs, config, fence)
        return
    workers = min(num_workers(config), len(jobs))
    if workers <= 1:
        yield from map(step, jobs)
        return
    # a forked worker would inherit locks that other threads of this process hold
    context = multiprocessing.get_context("spawn")
    lifeline, held = context.Pipe(duplex=False)
    with (
        lifeline,
        held,
        ProcessPoolExecutor(
            workers, mp_context=context, initializer=start_worker, initargs=(lifeline,)
        ) as pool,
    ):
        waiting = iter(jobs)
        running: set[Future[Result]] = set()
        try:
            for job in waiting:
                with starting_workers():  # the pool starts processes as jobs come
                    running.add(pool.submit(step, job))
                if len(running) < 2 * workers:
                    continue
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool as error:
            raise OutputError(
                "a worker process died, most likely killed for memory; lower runner.workers "
                "and run the same command again: finished parts are kept"
            ) from error
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise
        except BaseException:  # Ctrl-C, SIGTERM, or nobody asks for results any more
            # what waits is not cancelled: the pool, which breaks now, trips over cancelled
            # futures, and would leave workers that still start without their queue
            held.close()
            raise
