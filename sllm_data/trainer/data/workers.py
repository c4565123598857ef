"""Worker processes that make packs ahead, in the order of the plan.

Worker w of n makes the steps w, w + n, w + 2n, ...; the trainer takes one from each in turn. A
worker holds no more than `prefetch` finished packs: their tensors lie in shared memory, what
goes through its pipe is small. Nobody waits for ever: a worker whose trainer is gone ends, and
a worker that is gone is an error where its pack is asked for, not in the midst of a step.

torch's DataLoader is not used since it raises the death of a worker from a signal handler, at
whatever line the trainer happens to be.
"""

import atexit
import multiprocessing
import signal
import traceback
import weakref
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.synchronize import Semaphore
from typing import Self

import torch
from torch.multiprocessing import get_context

from sllm_data.errors import SllmDataError
from sllm_data.spawning import without_main
from sllm_data.trainer.data.making import Failure, Made, make_packs
from sllm_data.trainer.data.planning import Plan, State

_POLL_S = 1.0
_PATIENCE_S = 10.0
_LAST_S = 120
"""Seconds in which a worker still makes packs after SIGTERM; mostly its trainer ends it before."""


class LoaderError(SllmDataError):
    """A worker that makes packs died."""


class _Worker:
    """One process with its pipe."""

    def __init__(
        self,
        context: ForkServerContext,
        plan: Plan,
        *,
        rank: int,
        state: State | None,
        worker: int,
    ) -> None:
        ours, theirs = context.Pipe()
        self._pipe: Connection = ours
        self._free: Semaphore = context.Semaphore(plan.config.prefetch)
        self._number = worker
        self.process: ForkServerProcess = context.Process(
            target=_work, args=(theirs, self._free, plan, rank, state, worker), daemon=True
        )
        self.process.start()
        theirs.close()

    def take(self) -> Made | None:
        """Returns the next pack; None where there are no more.

        Raises:
            LoaderError: The worker died.
            SllmDataError: What it ran into.
        """
        try:
            while not self._pipe.poll(_POLL_S):
                pass
            found: Made | Failure | None = self._pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join(_PATIENCE_S)
            code = self.process.exitcode
            how = f"by signal {-code}" if code is not None and code < 0 else "unexpectedly"
            raise LoaderError(
                f"worker {self._number} that makes packs ended {how} (9 is mostly: out of "
                "memory); start the same command again, with fewer data.workers or a smaller "
                "data.prefetch"
            ) from error
        self._free.release()
        if not isinstance(found, Failure):
            return found
        if found.error is not None:
            raise found.error
        raise RuntimeError(f"worker {self._number} failed:\n{found.traceback}")

    def hang_up(self) -> None:
        self._pipe.close()

    def end(self) -> None:
        self.process.join(_PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


class Workers:
    """All workers of a rank; an iterator of packs in the order of the plan."""

    def __init__(self, plan: Plan, *, rank: int, state: State | None) -> None:
        context = get_context("forkserver")
        # the server imports torch and transformers once, instead of every worker that it forks
        multiprocessing.set_forkserver_preload([__name__, plan.renderer.tokenizer_module])
        self._workers: list[_Worker] = []
        try:
            with without_main():
                for worker in range(plan.config.workers):
                    self._workers.append(
                        _Worker(context, plan, rank=rank, state=state, worker=worker)
                    )
        except BaseException:
            self.close()
            raise
        self._packs = self._in_turn()
        # where nobody closes it: multiprocessing would send SIGTERM, which they outlive, and wait
        atexit.register(_close, weakref.ref(self))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Made:
        return next(self._packs)

    def close(self) -> None:
        """Ends all workers; may be called again."""
        for worker in self._workers:
            worker.hang_up()
        while self._workers:
            self._workers.pop().end()

    def _in_turn(self) -> Iterator[Made]:
        while True:
            for worker in self._workers:
                made = worker.take()
                if made is None:  # the steps of all others are used up as well
                    return
                yield made


def _close(left: "weakref.ref[Workers]") -> None:
    workers = left()
    if workers is not None:
        workers.close()


def _work(
    pipe: Connection,
    free: Semaphore,
    plan: Plan,
    rank: int,
    state: State | None,
    worker: int,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's to handle
    # so is SIGTERM, which all of a job may get: the step that began may need one more pack
    signal.signal(signal.SIGTERM, lambda _number, _frame: signal.alarm(_LAST_S))
    torch.set_num_threads(1)
    try:
        num_workers = plan.config.workers
        for made in _all(plan, rank, state, worker, num_workers):
            while not free.acquire(timeout=_POLL_S):
                if pipe.poll():  # the trainer never sends: it hung up, or is gone
                    return
            pipe.send(made)
        pipe.poll(None)  # what was sent is ours until it was fetched
    except (BrokenPipeError, ConnectionResetError):
        return


def _all(
    plan: Plan, rank: int, state: State | None, worker: int, num_workers: int
) -> Iterator[Made | Failure | None]:
    try:
        yield from make_packs(plan, rank=rank, state=state, worker=worker, num_workers=num_workers)
    except SllmDataError as error:
        yield Failure(error)
    except Exception:  # noqa: BLE001 - a bug of ours: shown where the pack is asked for
        yield Failure(None, traceback.format_exc())
    yield None
