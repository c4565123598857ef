"""The probe of a forecast: for some seconds, an engine is fed as in a run.

1. Requests go in until as many answers came as fit in at once: each place of the engine was
   filled anew. That takes as long as the probe at most.
2. From then on it measures, until its time is over or there is nothing more to ask.
3. What is in flight is waited for, as long again at most.

The loop is that of a run, `Feeder`, with parts that are read and committed: beside a fast
engine their cost shows.
"""

import time
from collections.abc import Callable, Iterator

from sllm_data.errors import EngineError
from sllm_data.generation import Engine
from sllm_data.records import Rejection, Request, Response
from sllm_data.steps.feeding import Feeder, OpenPart
from sllm_data.steps.forecast_speed import Arrival, Trial

Answer = Response | Rejection


def probe(
    engine: Engine,
    parts: Iterator[OpenPart],
    *,
    num_requests: int,
    seconds: float,
    commit: Callable[[OpenPart], None],
    watch: Callable[[int], None],
) -> tuple[Trial, list[Answer]]:
    """Asks as many of the requests as the time allows.

    Args:
        engine: Started; one that does not drain is left with requests in flight.
        parts: Opened when asked for, in an order that is settled by hash.
        num_requests: In all parts, at least one.
        seconds: To measure for.
        commit: Called with each part that is complete.
        watch: Called with how many answers came.

    Raises:
        EngineError: The engine died, or gave no answer in three times the seconds.
    """
    timed = _TimedEngine(engine, num_requests=num_requests, seconds=seconds)
    feeder = Feeder(timed, parts, commit=commit, watch=lambda rows, _: watch(rows))
    is_drained = True
    try:
        feeder.run()
    except _OverdueError:
        is_drained = False
    if not timed.arrivals:
        raise EngineError(
            f"the engine must answer while it is probed, gave no answer in {timed.now():,.0f} s; "
            "probe it for longer (--probe-seconds, budget.probe_seconds)"
        )
    trial = Trial(
        arrivals=tuple(timed.arrivals),
        full_from=timed.full_from,
        full_until=timed.now() if timed.full_until is None else timed.full_until,
        is_drained=is_drained,
    )
    return trial, timed.answers


class _OverdueError(Exception):
    """What is in flight took longer than anyone waits for it."""


class _TimedEngine:
    """An engine that notes when answers come, and takes no more requests when time is over."""

    def __init__(self, engine: Engine, *, num_requests: int, seconds: float) -> None:
        self.name, self.version = engine.name, engine.version
        self.prompt_mode, self.determinism = engine.prompt_mode, engine.determinism
        self.arrivals: list[Arrival] = []
        self.answers: list[Answer] = []
        self.full_from: float | None = None
        self.full_until: float | None = None
        self._engine = engine
        self._to_submit = num_requests
        self._seconds = seconds
        self._start = time.monotonic()

    def now(self) -> float:
        """Seconds since the probe began."""
        return time.monotonic() - self._start

    @property
    def max_in_flight(self) -> int:
        """None when the time is over; the feeder then waits for what is in flight."""
        return self._engine.max_in_flight if self.full_until is None else 0

    def submit(self, request: Request) -> None:
        """Takes a request; with the last one the engine begins to empty."""
        self._engine.submit(request)
        self._to_submit -= 1
        if not self._to_submit:
            self.full_until = self.now()

    def receive(self) -> list[Answer]:
        """Answers of the engine, noted."""
        received = self._engine.receive()
        now = self.now()
        if received:
            self.answers += received
            self.arrivals.append(_arrival(received, now))
        if self.full_until is not None:
            if now - self.full_until > self._seconds:
                raise _OverdueError
        elif self.full_from is None:
            if len(self.answers) >= self._engine.max_in_flight or now >= self._seconds:
                self.full_from = now
        elif now - self.full_from >= self._seconds:
            self.full_until = now
        return received

    def close(self) -> None:
        """Its owner closes the engine."""


def _arrival(received: list[Answer], seconds: float) -> Arrival:
    tokens = sum(answer.num_response_tokens for answer in received if isinstance(answer, Response))
    return Arrival(seconds=seconds, answers=len(received), response_tokens=tokens)
