"""The loop between parts and an engine: fed across part borders, committed part by part.

                 submit                       receive
  part 7  ......>|        engine (up to        |......> part 5 complete: committed
  part 8  ......>|  max_in_flight requests)    |......> part 6 has 3 to come
                 |_____________________________|

While the last answers of one part come in, requests of the next are already running, so no
part's tail idles the engine. At most OPEN_PARTS parts are open: that is what a kill loses.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

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

    def add(self, other: "Throughput") -> None:
        """Adds what another worker did at the same time."""
        self.responses += other.responses
        self.prompt_tokens += other.prompt_tokens
        self.response_tokens += other.response_tokens
        self.cached_tokens += other.cached_tokens
        self.seconds = max(self.seconds, other.seconds)
        self.busy_seconds += other.busy_seconds

    def note(self) -> str:
        """Rates for a progress bar."""
        seconds = max(self.seconds, 1e-9)
        return (
            f"{self.responses / seconds:,.0f} rows/s, {self.response_tokens / seconds:,.0f} tok/s"
        )


class Feeder:
    """Drives one engine over parts.

    Args:
        engine: Started; its owner closes it.
        parts: Opens the next part when asked; ends when there is none.
        commit: Called once for each complete part.
        watch: Called after each batch of answers with how many came.
    """

    def __init__(
        self,
        engine: Engine,
        parts: Iterator[OpenPart],
        *,
        commit: Callable[[OpenPart], None],
        watch: Callable[[int, Throughput], None],
    ) -> None:
        self._engine = engine
        self._parts = parts
        self._commit = commit
        self._watch = watch
        self._open: dict[int, OpenPart] = {}
        self._home: dict[str, OpenPart] = {}
        self._queue: deque[Request] = deque()
        self._in_flight = 0
        self.throughput = Throughput()

    def run(self) -> None:
        """Works until all parts are committed.

        Raises:
            EngineError: The engine died or gave up; committed parts stand.
        """
        start = last = time.monotonic()
        while True:
            self._submit()
            if not self._in_flight:
                break
            received = self._engine.receive()
            now = time.monotonic()
            self.throughput.busy_seconds += now - last
            self.throughput.seconds = now - start
            last = now
            for answer in received:
                self._take(answer)
            if received:
                self._watch(len(received), self.throughput)

    def _submit(self) -> None:
        while self._in_flight < self._engine.max_in_flight:
            while not self._queue:
                if len(self._open) >= OPEN_PARTS or not self._open_next():
                    return
            self._engine.submit(self._queue.popleft())
            self._in_flight += 1

    def _open_next(self) -> bool:
        part = next(self._parts, None)
        if part is None:
            return False
        if part.is_complete:
            self._commit(part)
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
        self._in_flight -= 1
        if isinstance(answer, Rejection):
            part = self._home.pop(answer.row_id)
            part.rejections.append(answer)
        else:
            part = self._home.pop(answer.request_id)
            part.answers[answer.request_id] = answer
            self.throughput.responses += 1
            self.throughput.prompt_tokens += answer.num_prompt_tokens
            self.throughput.response_tokens += answer.num_response_tokens
            self.throughput.cached_tokens += answer.num_cached_tokens or 0
        if part.is_complete:
            del self._open[part.number]
            self._commit(part)
