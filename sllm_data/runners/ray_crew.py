"""Workers on a Ray cluster that keep what they have loaded, and take parts from one desk.

             take a part             work
    desk <────────────── worker 1 (a GPU, its engine loaded once)  ──> news ──> desk ──> run
     │                   worker 2
     └── parts whose worker died come back here, and another worker, or a new one, takes them,
         also one that had found no more parts and ended its work

A worker takes no CPU of the cluster's count, which is for tasks: it stays between passes, and
even a fraction would keep one task of each node from running (two CPUs less a tenth hold one).
"""

import asyncio
import pickle
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sllm_data.errors import EngineError
from sllm_data.runners.cluster import cluster_kept, join_cluster, loss_told
from sllm_data.runners.config import RunnerConfig
from sllm_data.runners.fence import Fence
from sllm_data.runners.place import Place, outcome_of, result_of
from sllm_data.runners.ray_tasks import MAX_LOST, cause_of, no_such_code

_GLANCE_S = 5.0
_AGAIN_S = 1.0
_ROOM_S = 600.0
_CLOSE_S = 20.0

Post = Callable[[object], None]
"""Sends news to the run."""


class State(Protocol):
    """What a worker keeps from one call to the next."""

    def close(self) -> None:
        """Lets go of it."""


Work = Callable[[Any, Any, Iterator[int], Post], None]  # Any: State of a worker, and its job


class _Desk:
    """Gives out parts, each once, and carries news."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._waiting = deque(numbers)
        self._taken: dict[int, list[int]] = {}
        self._news: list[bytes] = []
        self._has_news = asyncio.Event()

    async def take(self, worker: int) -> int | None:
        """The next part for a worker; None where there is none now."""
        taken = self._taken.setdefault(worker, [])
        if not self._waiting:
            return None
        taken.append(self._waiting.popleft())
        return taken[-1]

    async def has_parts(self) -> bool:
        """Whether a part waits for a worker."""
        return bool(self._waiting)

    async def begun(self) -> set[int]:
        """The workers that have asked for a part."""
        return set(self._taken)

    async def taken(self, worker: int) -> list[int]:
        """All parts that a worker has taken."""
        return self._taken.get(worker, [])

    async def put_back(self, numbers: Sequence[int]) -> None:
        """Gives parts out again, first of all."""
        self._waiting.extendleft(reversed(numbers))

    async def post(self, news: bytes) -> None:
        """Takes news from a worker."""
        self._news.append(news)
        self._has_news.set()

    async def news(self) -> list[bytes]:
        """Waits for news."""
        await self._has_news.wait()
        return await self.rest()

    async def wake(self) -> None:
        """Ends the wait for news."""
        self._has_news.set()

    async def rest(self) -> list[bytes]:
        """The news that there are."""
        self._has_news.clear()
        news, self._news = self._news, []
        return news


class _Hand:
    """A worker: its state is made at its first work."""

    def __init__(self, opened: bytes) -> None:
        self._opened = opened
        self._state: State | None = None

    def work(self, desk: Any, worker: int, order: "_Order") -> bytes:  # Any: an actor's handle
        """Works on parts until the desk has none; returns an outcome."""
        sent: list[Any] = []  # Any: a reference of Ray

        def post(news: object) -> None:
            ray.get(sent)  # of two that are under way the second may arrive first
            sent[:] = [desk.post.remote(pickle.dumps(news))]

        def work() -> None:
            if self._state is None:
                self._state = pickle.loads(self._opened)()  # noqa: S301 - from this run's driver
            function, job = pickle.loads(order.payload)  # noqa: S301 - likewise
            numbers = iter(lambda: ray.get(desk.take.remote(worker)), None)
            function(self._state, job, numbers, post)
            ray.get(sent)

        return outcome_of(order.place, work)

    def close(self) -> None:
        """Lets go of its state."""
        state, self._state = self._state, None
        if state is not None:
            state.close()


_DESK: Any = ray.remote(num_cpus=0, max_restarts=0)(_Desk)  # Any: Ray adds methods to it
_HAND: Any = ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)(_Hand)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Order:
    """What all workers of a call are to do, and where."""

    place: Place
    payload: bytes


@dataclass(kw_only=True, slots=True, eq=False)
class _Worker:
    number: int
    hand: Any  # Any: an actor's handle
    has_worked: bool = False


class Crew:
    """Workers that stay from one call of `work` to the next; `close` ends them.

    Args:
        config: Which cluster.
        opened: Makes a worker's state, in the worker.
        gpus: GPUs of each worker.
    """

    def __init__(self, config: RunnerConfig, opened: Callable[[], State], *, gpus: int) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(cluster_kept())
        try:
            join_cluster(config)
        except BaseException:
            self._stack.close()
            raise
        self._new = _HAND.options(num_gpus=gpus, scheduling_strategy="SPREAD")
        self._opened = pickle.dumps(opened)
        self._gpus = gpus
        self._hired = 0
        self._idle: list[_Worker] = []

    def work(
        self,
        function: Work,
        job: object,
        numbers: Sequence[int],
        *,
        fence: Fence | None,
        workers: int,
        is_done: Callable[[int], bool],
    ) -> Iterator[Any]:  # Any: what the function posts
        """Lets workers work on parts; yields what they post.

        Args:
            function: Called in each worker, with its state, the job, parts to take one by one,
                and where to post.
            job: The same for all.
            numbers: The parts.
            fence: Of the run's output.
            workers: How many at once.
            is_done: Whether a part of a worker that died stands; if not, another takes it.

        Raises:
            EngineError: A part lost its worker too often, no node has room for a worker, or the
                connection to the cluster was lost.
            SllmDataError: Whatever the function raised; the other workers are ended.
        """
        order = _Order(place=Place.here(fence), payload=pickle.dumps((function, job)))
        with loss_told():
            shift = _Shift(order, numbers)
            try:
                for _ in range(workers):
                    shift.begin(self._hire())
                yield from self._until_done(shift, numbers, is_done)
            except RayError as error:
                self._dismiss_all(shift)
                raise EngineError(
                    f"the node of the Ray cluster where this run began must stay, it was lost "
                    f"({cause_of(error)}); run the same command again: committed parts stand"
                ) from error
            except BaseException:
                self._dismiss_all(shift)
                raise
            finally:
                ray.kill(shift.desk)
            self._dismiss(shift.working.values())  # they wait for room, and nothing is left to do
            self._idle += shift.idle

    def close(self) -> None:
        """Ends the workers, and what they have loaded."""
        idle, self._idle = self._idle, []
        with self._stack, loss_told():
            closing = [worker.hand.close.remote() for worker in idle]
            ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_S) if closing else None
            self._dismiss(idle)

    def _until_done(
        self, shift: "_Shift", numbers: Sequence[int], is_done: Callable[[int], bool]
    ) -> Iterator[Any]:  # Any: as above
        heard = time.monotonic()
        while shift.working and not (shift.idle and shift.only_waits(numbers, is_done)):
            done, _ = ray.wait([shift.news, *shift.working], num_returns=1, timeout=_GLANCE_S)
            if not done and not shift.begun() and time.monotonic() - heard > _ROOM_S:
                raise EngineError(self._no_room())
            for ref in done:
                heard = time.monotonic()
                if ref == shift.news:
                    yield from shift.heard()
                    continue
                if (worker := shift.ended(ref)) is not None:  # it died
                    yield from shift.lost(worker, is_done)
                    shift.begin(self._hire())
                shift.call_back()
        yield from shift.rest()

    def _hire(self) -> _Worker:
        """A worker that has nothing to do, which may hold the last GPU; else a new one."""
        if self._idle:
            return self._idle.pop()
        self._hired += 1
        return _Worker(number=self._hired, hand=self._new.remote(self._opened))

    def _dismiss(self, workers: Iterable[_Worker]) -> None:
        for worker in workers:
            ray.kill(worker.hand)

    def _dismiss_all(self, shift: "_Shift") -> None:
        idle, self._idle = self._idle, []
        self._dismiss([*shift.working.values(), *shift.idle, *idle])

    def _no_room(self) -> str:
        return (
            f"a node of the Ray cluster must have room for an engine ({self._gpus} GPUs), none "
            f"has had any for {_ROOM_S:g} s; free one, or start a node that has them"
        )


class _Shift:
    """One call of `Crew.work`: who works, who has ended, and what was lost."""

    def __init__(self, order: _Order, numbers: Sequence[int]) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        # what takes nothing is scheduled by any node, also by one that has just come or gone and
        # does not know this one; what takes something (a byte) is scheduled by this one
        self.desk = _DESK.options(scheduling_strategy=here, memory=1).remote(numbers)
        self.news = self.desk.news.remote()
        self.working: dict[Any, _Worker] = {}  # Any: references of Ray
        self.idle: list[_Worker] = []
        self._order = order
        self._losses: Counter[int | None] = Counter()
        self._cause = ""

    def begin(self, worker: _Worker) -> None:
        """Lets a worker work."""
        self.working[worker.hand.work.remote(self.desk, worker.number, self._order)] = worker

    def ended(self, ref: Any) -> _Worker | None:  # Any: as above
        """Takes note that a worker has ended its work; returns it if it died."""
        worker = self.working.pop(ref)
        try:
            content = ray.get(ref)
        except RayTaskError as error:
            raise EngineError(no_such_code(error)) from error
        except ActorUnavailableError as error:
            # it may be dead, or alive and at work: the next call waits behind what it does, so
            # that nobody else writes its parts meanwhile
            self._cause = cause_of(error)
            time.sleep(_AGAIN_S)
            self.working[worker.hand.close.remote()] = worker
            return None
        except RayError as error:
            self._cause = cause_of(error)
            return worker
        if content is None:  # it was alive, and has closed; whatever it left goes to another
            ray.kill(worker.hand)
            return worker
        self.idle.append(worker)
        try:
            result_of(content)
        except RayError as error:  # the desk was out of its sight, and it gave up
            self._cause = cause_of(error)
            ray.kill(self.idle.pop().hand)
            return worker
        worker.has_worked = True
        return None

    def call_back(self) -> None:
        """Lets those that have ended look again, where parts were given back since."""
        if self.idle and ray.get(self.desk.has_parts.remote()):
            idle, self.idle = self.idle, []
            for worker in idle:
                self.begin(worker)

    def lost(self, worker: _Worker, is_done: Callable[[int], bool]) -> Iterator[Any]:
        """Gives back the parts that a dead worker had open; yields the news that came before."""
        yield from self.rest()
        taken = ray.get(self.desk.taken.remote(worker.number))
        again = [number for number in taken if not is_done(number)]
        began = bool(taken) or worker.has_worked
        for number in again or ([] if began else [None]):
            self._losses[number] += 1
            if self._losses[number] >= MAX_LOST:
                raise EngineError(
                    f"engines of the Ray cluster died {MAX_LOST} times at the same part, most "
                    f"likely killed for memory ({self._cause}); run the same command again: "
                    "committed parts stand"
                )
        ray.get(self.desk.put_back.remote(again))

    def heard(self) -> Iterator[Any]:
        """Yields the news that were waited for, and waits for more."""
        news, self.news = ray.get(self.news), self.desk.news.remote()
        yield from map(pickle.loads, news)

    def rest(self) -> Iterator[Any]:
        """Yields the news that are there."""
        ray.get(self.desk.wake.remote())  # who waits for news may hold the first of them
        news = [*ray.get(self.news), *ray.get(self.desk.rest.remote())]
        self.news = self.desk.news.remote()
        yield from map(pickle.loads, news)

    def begun(self) -> bool:
        """Whether one of those that should work does."""
        begun = ray.get(self.desk.begun.remote())
        return any(worker.number in begun for worker in self.working.values())

    def only_waits(self, numbers: Sequence[int], is_done: Callable[[int], bool]) -> bool:
        """Whether all parts stand, and who is still to work has not begun."""
        return not self.begun() and all(map(is_done, numbers))
