"""The loop between parts and an engine: fed across part borders, committed part by part.

                 submit                       receive
  part 7  ......>|        engine (up to        |......> part 5 complete: committed
  part 8  ......>|  max_in_flight requests)    |......> part 6 has 3 to come
                 |_____________________________|

While the last answers of one part come in, requests of the next are already running, so no
part's tail idles the engine. At most OPEN_PARTS parts are open: that is what a kill loses.

An engine that dies or stalls is replaced where the caller can start another; what was in flight
is asked again. One that has answered enough is replaced when nothing is in flight.
"""

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sllm_data.errors import EngineError
from sllm_data.generation import Engine
from sllm_data.records import Rejection, Request, Response

OPEN_PARTS = 4

Row = dict[str, Any]  # Any: values of the responses table


@dataclass(kw_only=True, slots=True)
class OpenPart:
    """A part whose answers are coming in."""

    number: int
    requests: list[Request]
    answers: dict[str, Response | Row]
    """By request_id: answers of the engine, and rows that were known beforehand."""
    rejections: list[Rejection] = field(default_factory=list)

    def known(self) -> list[Row]:
        """The rows that were known before any engine was asked."""
        return [answer for answer in self.answers.values() if not isinstance(answer, Response)]

    @property
    def is_complete(self) -> bool:
        """Whether every request has an answer or a rejection."""
        return len(self.answers) + len(self.rejections) == len(self.requests)


@dataclass(kw_only=True, slots=True)
class Throughput:
    """What the engine did, for the bar and the summary."""

    responses: int = 0
    prompt_tokens: int = 0
    response_tokens: int = 0
    cached_tokens: int = 0
    seconds: float = 0.0
    """From the first request submitted to the last answer received."""
    busy_seconds: float = 0.0
    """Of these, while at least one request was in flight."""
    start_seconds: float = 0.0
    """That the engines took to start, all of them; in neither of the above."""
    in_flight: int = 0
    """Requests that are submitted now."""
    restarts: int = 0
    """Engines that were started again since the one before died or stalled."""
    recycles: int = 0
    """Engines that were started anew since the one before had answered enough."""
    source: str = ""
    """Which feeder this is of."""

    def add(self, other: "Throughput") -> None:
        """Adds what another worker did at the same time."""
        self.responses += other.responses
        self.prompt_tokens += other.prompt_tokens
        self.response_tokens += other.response_tokens
        self.cached_tokens += other.cached_tokens
        self.seconds = max(self.seconds, other.seconds)
        self.busy_seconds += other.busy_seconds
        self.start_seconds += other.start_seconds
        self.in_flight += other.in_flight
        self.restarts += other.restarts
        self.recycles += other.recycles

    def note(self) -> str:
        """Rates for a progress bar."""
        seconds = max(self.seconds, 1e-9)
        return (
            f"{self.responses / seconds:,.0f} rows/s, {self.response_tokens / seconds:,.0f} tok/s"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Renewal:
    """When an engine is replaced by a new one."""

    start: Callable[[], Engine]
    """Ends the engine that is there and starts another."""
    restarts: int
    """How often in a row, without a part committed, after it died."""
    recycle_rows: int | None
    """After how many answers; None for never."""


class Feeder:
    """Drives one engine over parts.

    Args:
        engine: Started; its owner closes it.
        parts: Opens the next part when asked; ends when there is none.
        commit: Called once for each complete part.
        watch: Called after each batch of answers with how many came.
        renewal: How to get another engine; where absent, the first one is all there is.
    """

    def __init__(
        self,
        engine: Engine,
        parts: Iterator[OpenPart],
        *,
        commit: Callable[[OpenPart], None],
        watch: Callable[[int, Throughput], None],
        renewal: Renewal | None = None,
    ) -> None:
        self._engine = engine
        self._parts = parts
        self._commit_part = commit
        self._watch = watch
        self._renewal = renewal
        self._open: dict[int, OpenPart] = {}
        self._home: dict[str, OpenPart] = {}
        self._queue: deque[Request] = deque()
        self._asked: dict[str, Request] = {}
        self._since_start = 0
        self._deaths = 0
        self.throughput = Throughput(source=secrets.token_hex(8))

    def run(self) -> None:
        """Works until all parts are committed.

        Raises:
            EngineError: The engine died or gave up, and can't be replaced; committed parts
                stand.
        """
        start = last = time.monotonic()
        while True:
            try:
                self._submit()
                if not self._asked and self._is_spent():
                    self._recycle()
                    last = time.monotonic()
                    continue
                if not self._asked:
                    break
                received = self._engine.receive()
            except EngineError as error:
                self._restart(error)
                last = time.monotonic()  # loading a model is no work on requests
                continue
            now = time.monotonic()
            self.throughput.busy_seconds += now - last
            self.throughput.seconds = now - start
            last = now
            for answer in received:
                self._take(answer)
            if received:
                self.throughput.in_flight = len(self._asked)
                self._watch(len(received), self.throughput)

    def _is_spent(self) -> bool:
        after = self._renewal.recycle_rows if self._renewal else None
        return after is not None and self._since_start >= after

    def _recycle(self) -> None:
        """Replaces an engine that has answered enough; nothing is in flight."""
        assert self._renewal is not None  # noqa: S101 - for the type: it is spent by one
        self._engine = self._renewal.start()
        self._since_start = 0
        self.throughput.recycles += 1

    def _restart(self, error: EngineError) -> None:
        """Replaces an engine that died, and asks again what it had not answered.

        Raises:
            EngineError: There is no other, or too many died in a row.
        """
        self._deaths += 1
        if self._renewal is None or self._deaths > self._renewal.restarts:
            raise error
        self._engine = self._renewal.start()
        self._since_start = 0
        self.throughput.restarts += 1
        self._queue.extendleft(reversed(self._asked.values()))
        self._asked.clear()
        self.throughput.in_flight = 0
        self._watch(0, self.throughput)

    def _commit(self, part: OpenPart) -> None:
        self._deaths = 0
        self._commit_part(part)

    def _submit(self) -> None:
        while len(self._asked) < self._engine.max_in_flight and not self._is_spent():
            while not self._queue:
                if len(self._open) >= OPEN_PARTS or not self._open_next():
                    return
            request = self._queue[0]
            self._engine.submit(request)
            self._asked[self._queue.popleft().request_id] = request

    def _open_next(self) -> bool:
        part = next(self._parts, None)
        if part is None:
            return False
        if part.is_complete:
            self._commit_part(part)  # no engine had to live for it
            return True
        self._open[part.number] = part
        waiting = [r for r in part.requests if r.request_id not in part.answers]
        # the longest answers start first, so that the run does not end waiting for one
        waiting.sort(key=lambda request: -request.sampling.max_tokens)
        for request in waiting:
            self._home[request.request_id] = part
            self._queue.append(request)
        return True

    def _take(self, answer: Response | Rejection) -> None:
        self._since_start += 1
        if isinstance(answer, Rejection):
            del self._asked[answer.row_id]
            part = self._home.pop(answer.row_id)
            part.rejections.append(answer)
        else:
            del self._asked[answer.request_id]
            part = self._home.pop(answer.request_id)
            part.answers[answer.request_id] = answer
            self.throughput.responses += 1
            self.throughput.prompt_tokens += answer.num_prompt_tokens
            self.throughput.response_tokens += answer.num_response_tokens
            self.throughput.cached_tokens += answer.num_cached_tokens or 0
        if part.is_complete:
            del self._open[part.number]
            self._commit(part)
