"""A server that speaks the OpenAI protocol, behind the seam.

An asyncio loop in a thread of its own holds one task for each request in flight:

    submit ──> [task: ask, pause, ask again] ──> results ──> receive

At the start the server is asked which models it serves, and once for a single token in
each way it could be asked, the most telling first; the first that works is kept.
"""

import asyncio
import queue
import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from threading import Thread
from typing import Any

from sllm_data.errors import EngineError
from sllm_data.generation.config import OpenaiConfig
from sllm_data.generation.openai_client import Client, Unanswered
from sllm_data.generation.openai_protocol import (
    Dialect,
    Malformed,
    bounded,
    num_prompt_tokens,
    payload,
    read_answer,
    refusal,
)
from sllm_data.records import Message, Rejection, Request, Response, Sampling

_POLL_S = 1.0
_CLOSE_S = 10.0
_BROKEN = 500
_PROBE_IDS = (1, 1, 1)
_NAMED = 10  # of the models that are served, in an error

Answer = Response | Rejection


class OpenaiEngine:
    """Asks a server; see `generation.engine.Engine`."""

    name = "openai"
    determinism = "seeded"

    def __init__(self, config: OpenaiConfig) -> None:
        self.version = "unknown"
        self.max_in_flight = config.max_in_flight
        self._config = config
        self._client = Client(config)
        self._dialect = Dialect(prompt_mode="messages", returns_ids=False, is_vllm=False)
        self._results: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._failure: Exception | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="openai-engine", daemon=True)
        self._thread.start()

    @classmethod
    def start(cls, config: OpenaiConfig) -> "OpenaiEngine":
        """Connects, checks that the model is served, and finds out how to ask.

        Raises:
            EngineError: No server answers, it does not serve the model, or takes no request.
        """
        engine = cls(config)
        meeting = asyncio.run_coroutine_threadsafe(engine._meet(), engine._loop)
        try:
            meeting.result()
        except BaseException:
            meeting.cancel()
            engine.close()
            raise
        return engine

    @property
    def prompt_mode(self) -> str:
        """Ids or messages, as the server was found to take."""
        return self._dialect.prompt_mode

    def submit(self, request: Request) -> None:
        """Takes a request.

        Raises:
            EngineError: The engine gave up before.
        """
        if self._failure:
            raise self._failure
        self._in_flight += 1
        self._loop.call_soon_threadsafe(self._begin, request)

    def receive(self) -> list[Answer]:
        """Waits for answers, a second at most.

        Raises:
            EngineError: The server refuses us, or a request failed too often.
        """
        if self._failure:
            raise self._failure
        if not self._in_flight:
            return []
        received: list[Answer] = []
        try:
            received.append(self._taken(self._results.get(timeout=_POLL_S)))
            while not self._results.empty():
                received.append(self._taken(self._results.get()))
        except queue.Empty:
            return []
        self._in_flight -= len(received)
        return received

    def close(self) -> None:
        """Drops what is in flight and closes the connections."""
        if self._loop.is_closed():
            return
        ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        try:
            ending.result(timeout=_CLOSE_S)
        except FutureTimeoutError:
            ending.cancel()  # a socket that won't close; the process will
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=_CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _taken(self, result: Answer | Exception) -> Answer:
        if isinstance(result, Exception):
            self._failure = result
            raise result
        return result

    def _begin(self, request: Request) -> None:
        task = self._loop.create_task(self._answer(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: Request) -> None:
        try:
            answer = await self._client.persist(
                partial(self._ask, request, self._dialect),
                seed=request.seed,
                name=request.request_id,
            )
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            self._results.put(error)
        else:
            self._results.put(answer)

    async def _ask(self, request: Request, dialect: Dialect) -> Answer:
        if dialect.prompt_mode == "ids" and not request.prompt_token_ids:
            return refusal(
                request, "the request must have token ids for /completions, it has none"
            )
        reply = await self._client.post(dialect.path, payload(request, dialect, self._config))
        if reply.refused is not None:
            return refusal(request, reply.refused)
        try:
            return read_answer(request, reply.document, top_logprobs=self._config.top_logprobs)
        except Malformed as error:
            raise Unanswered(str(error)) from error

    async def _meet(self) -> None:
        served = await self._served()
        if self._config.model not in served:
            names = ", ".join(list(served)[:_NAMED]) or "none"
            more = f" and {len(served) - _NAMED} more" if len(served) > _NAMED else ""
            raise EngineError(
                f"{self._config.base_url}: does not serve {self._config.model!r}; it serves "
                f"{names}{more}: set backbone.model to one of these"
            )
        owner = served[self._config.model]
        self.version = await self._server_version() if owner == "vllm" else owner
        self._dialect = await self._agree(is_vllm=owner == "vllm")

    async def _served(self) -> dict[str, str]:
        """Returns the owners of the served models by their names; waits for the server."""
        deadline = time.monotonic() + self._config.start_timeout_s
        while True:
            try:
                return _models(await self._client.get("models"))
            except Unanswered as failed:
                if time.monotonic() + self._config.backoff_s > deadline:
                    raise EngineError(
                        f"{self._config.base_url}: no server answers after "
                        f"{self._config.start_timeout_s:g} s: {failed}; start it, or correct "
                        "backbone.base_url"
                    ) from failed
            await asyncio.sleep(self._config.backoff_s)

    async def _server_version(self) -> str:
        try:
            document = await self._client.get("/version")
        except (Unanswered, EngineError):
            return "vllm"
        version = document.get("version") if isinstance(document, dict) else None
        return f"vllm {bounded(str(version))}" if version else "vllm"

    async def _agree(self, *, is_vllm: bool) -> Dialect:
        wanted = self._config.prompt_mode
        modes: list[Any] = []  # Any: the two literals
        if wanted != "messages" and self._config.tokenizer is not None:
            modes.append("ids")
        if wanted != "ids" and not self._config.top_logprobs:
            modes.append("messages")
        why = ""
        # the likeliest tokens of an answer are nothing without its own
        ways = (True,) if self._config.top_logprobs else (True, False)
        for mode in modes:
            for returns_ids in ways:
                dialect = Dialect(prompt_mode=mode, returns_ids=returns_ids, is_vllm=is_vllm)
                why = await self._client.persist(
                    partial(self._problem, dialect), seed=0, name="a first request"
                )
                if not why:
                    return dialect
        raise EngineError(
            f"{self._config.base_url}: takes no request with {' or '.join(modes)} for "
            f"{self._config.model!r}: {why}"
        )

    async def _problem(self, dialect: Dialect) -> str:
        """Asks for one token; returns what is wrong with asking so, or nothing."""
        body = payload(_PROBE, dialect, self._config)
        try:
            reply = await self._client.post(dialect.path, body, may_lack=True)
        except Unanswered as failed:
            if failed.status == _BROKEN:  # some servers stumble over token ids
                return str(failed)
            raise
        if reply.refused is not None:
            return reply.refused
        try:
            counted = num_prompt_tokens(reply.document)
        except Malformed as error:
            raise Unanswered(str(error)) from error
        if dialect.prompt_mode == "ids" and counted != len(_PROBE_IDS):
            return f"it counted {counted} tokens in a prompt of {len(_PROBE_IDS)} token ids"
        if self._config.top_logprobs:
            try:
                read_answer(_PROBE, reply.document, top_logprobs=self._config.top_logprobs)
            except Malformed as error:
                return str(error)
        return ""

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()
        # an answer that was not read to its end leaves one, which would complain at the end
        await self._loop.shutdown_asyncgens()


def _models(document: Any) -> dict[str, str]:  # Any: JSON that a server sent
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise Unanswered("its /models is no list of models")
    return {
        str(row["id"]): bounded(str(row.get("owned_by", ""))) or "unknown"
        for row in rows
        if isinstance(row, dict) and "id" in row
    }


_PROBE = Request(
    request_id="probe",
    sample_id="",
    audio_part=0,
    audio_id="",
    task="",
    task_params="{}",
    variant="",
    draw_index=0,
    instruction_id="",
    instruction_language="en",
    template_id="",
    split="train",
    eval_group="train",
    transcript_prepared="",
    target="generated",
    messages=(Message(role="user", content="Hi"),),
    prompt_token_ids=_PROBE_IDS,
    sampling=Sampling(temperature=0.0, top_p=1.0, top_k=0, max_tokens=1),
    seed=0,
    request_key="",
)
