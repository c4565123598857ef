"""The doors that answers come through: a server's bytes, and what a backbone wrote.

The server is a real one on a loopback socket that sends the input as it is, HTTP and all.
Every eighth input goes to the whole engine: the server lists models, counts the probe's tokens
and answers the request with the same bytes, or lists and counts properly and answers with
them. The others go to the engine's client alone, which an engine takes 20 ms to build. What
was answered must fit into responses/.
"""

import asyncio
import gzip
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pyarrow as pa
from fuzzing.documents import as_json, crafted
from fuzzing.mutating import Mutator
from fuzzing.stored_doors import JSON
from fuzzing.trial import MAX_SENTENCE, Broken, Door, Taken, Target, check_line, must, taken_from

from sllm_data.errors import EngineError
from sllm_data.filtering.config import FilterConfig
from sllm_data.filtering.judge import parse_judge
from sllm_data.filtering.verdicts import Answer, judge_response
from sllm_data.generation.config import OpenaiConfig
from sllm_data.generation.openai_client import Client, Unanswered
from sllm_data.generation.openai_engine import OpenaiEngine, _models
from sllm_data.generation.openai_protocol import (
    Dialect,
    Malformed,
    payload,
    read_answer,
    refusal,
)
from sllm_data.prompting.preparation import check_restored, prepare
from sllm_data.records import Message, Rejection, Request, Response, Sampling
from sllm_data.shards import TABLES
from sllm_data.steps.rows import response_row

_PATIENCE_S = 30.0
_REQUEST = Request(
    request_id="r:main",
    sample_id="r",
    audio_part=0,
    audio_id="corpus/1/x/r",
    task="repetition",
    task_params="{}",
    variant="plain",
    draw_index=0,
    instruction_id="repetition.en.1",
    instruction_language="en",
    template_id="plain",
    split="train",
    eval_group="train",
    transcript_prepared="say it again",
    target="generated",
    messages=(Message(role="user", content="Say it."),),
    prompt_token_ids=(5, 6, 7),
    sampling=Sampling(temperature=0.0, top_p=1.0, top_k=0, max_tokens=16),
    seed=1,
    request_key="key",
)


class _Server:
    """Sends `content` and hangs up; `proper` to whatever is no question of ours."""

    def __init__(self) -> None:
        self.content = b""
        self.proper: bytes | None = None
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            body = json.loads(await reader.readexactly(int(length))) if length else {}
            is_question = body.get("max_tokens", 1) > 1
            use_proper = self.proper is not None and not is_question
            writer.write(self.proper or b"" if use_proper else self.content)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client hung up first
        finally:
            writer.close()


class _ServerDoor:
    """The server with a client and an engine that talk to it."""

    def __init__(self, _folder: Path) -> None:
        self._server = _Server()
        self._loop = asyncio.new_event_loop()
        self._config = OpenaiConfig(
            engine="openai",
            model="m",
            base_url=f"http://127.0.0.1:{self._server.port}/v1",
            tokenizer="unread",
            retries=0,
            backoff_s=0.001,
            start_timeout_s=0.001,
            request_timeout_s=_PATIENCE_S,
            logprobs=True,
        )
        self._likeliest = self._config.model_copy(update={"top_logprobs": 2})
        self._client = Client(self._config)

    def __call__(self, content: bytes) -> Taken:
        self._server.content = content
        self._server.proper = _PROPER if content.count(b"e") % 4 else None
        config = self._likeliest if content.count(b"i") % 2 else self._config
        if len(content) % 8 == 0:
            answer = _by_engine(config)
        else:
            answer = self._loop.run_until_complete(self._by_client(config))
        if isinstance(answer, Rejection):
            pa.Table.from_pylist([_fields(answer)], schema=TABLES["rejections"].arrow)
            return taken_from([answer])
        _must_fit(answer)
        return Taken()

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
        self._server.close()

    async def _by_client(self, config: OpenaiConfig) -> Response | Rejection:
        dialect = Dialect(prompt_mode="ids", returns_ids=True, is_vllm=True)
        try:
            if self._server.proper is None:
                _models(await self._client.get("models"))
            body = payload(_REQUEST, dialect, config)
            reply = await self._client.post("completions", body)
            if reply.refused is not None:
                return refusal(_REQUEST, reply.refused)
            return read_answer(_REQUEST, reply.document, top_logprobs=config.top_logprobs)
        except (Unanswered, Malformed) as failed:
            # where the engine would try again, or give up with these words
            raise EngineError(str(failed)) from failed


def _by_engine(config: OpenaiConfig) -> Response | Rejection:
    engine = OpenaiEngine.start(config)
    try:
        for line in (engine.version, engine.prompt_mode):
            check_line(line, what="what an engine says of itself", at_most=MAX_SENTENCE)
        engine.submit(_REQUEST)
        began = time.monotonic()
        while not (answers := engine.receive()):
            must(time.monotonic() - began < 2 * _PATIENCE_S, "no answer ever comes")
    finally:
        engine.close()
    (answer,) = answers
    return answer


def _fields(rejection: Rejection) -> dict[str, object]:
    return {name: getattr(rejection, name) for name in TABLES["rejections"].names()}


def _must_fit(answer: Response) -> None:
    mean = answer.mean_logprob
    must(mean is None or math.isfinite(mean), f"a mean of {mean}")
    row = response_row(answer)
    schema = TABLES["responses"].arrow
    for name, value in row.items():
        try:
            pa.array([value], type=schema.field(name).type)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            raise Broken(f"{name} does not fit into responses/: {error}") from error


def _http(body: bytes, head: str = "HTTP/1.1 200 OK", *more: str) -> bytes:
    lines = [head, "content-type: application/json", f"content-length: {len(body)}", *more]
    return "\r\n".join([*lines, "", ""]).encode() + body


_DOCUMENT = {
    "object": "list",
    "data": [{"id": "m", "owned_by": "vllm"}, {"id": "other"}],
    "version": "0.32",
    "choices": [
        {
            "text": "say it again",
            "message": {"content": "say it again"},
            "finish_reason": "stop",
            "token_ids": [1, 2, 3],
            "logprobs": {
                "token_logprobs": [-0.1, None],
                "top_logprobs": [{"token_id:1": -0.1, "token_id:7": -2.5}] * 3,
                "content": [{"logprob": -0.5}],
            },
        }
    ],
    "usage": {
        "prompt_tokens": 3,
        "completion_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": 1},
    },
}
_BODY = json.dumps(_DOCUMENT).encode()
_PROPER = _http(_BODY)
_CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"


def _answers() -> list[bytes]:
    refused = b'{"error": {"message": "maximum context length is 9", "code": 400}}'
    return [
        _PROPER,
        _PROPER.partition(b"content-length")[0].rstrip() + b"\r\n\r\n" + _BODY,
        _http(_BODY.replace(b'"stop"', b'"length"').replace(b'"say it', b'"\\ud800\\u0000', 1)),
        _CHUNKED % (len(_BODY), _BODY),
        _http(gzip.compress(_BODY), "HTTP/1.1 200 OK", "content-encoding: gzip"),
        _http(refused, "HTTP/1.1 400 Bad Request"),
        _http(b"busy", "HTTP/1.1 429 Too Many Requests", "retry-after: 0"),
        _http(b"", "HTTP/1.1 302 Found", "location: http://else/v1"),
        _http(b"<html>502</html>", "HTTP/1.0 502 Bad Gateway", "retry-after: Wed, 21 Oct 2015"),
        _http(_BODY.replace(b'"stop"', b'"content_filter"')),
    ]


_HTTP_TOKENS = (
    *("HTTP/1.1 ", "200 OK", "404 x", "503 x", "100 Continue", "content-length: ", "chunked"),
    *("transfer-encoding: ", "content-encoding: deflate\r\n", "content-encoding: gzip\r\n"),
    *(
        "retry-after: ",
        "Fri, 31 Dec 9999 23:59:59 +9999999999",
        "location: \x01",
        "\r\n\r\n",
        ": ",
    ),
    *(
        '"choices"',
        '"usage"',
        '"prompt_tokens": 99999999999',
        '"token_ids": [4294967296]',
        "-1e308",
    ),
    *(
        '"finish_reason": "error"',
        '"text": null',
        '"message": null',
        '"logprobs": null',
        '"token_id:7": NaN',
        "[-1e308]",
    ),
    *('"id": "m\\n"', '"owned_by": "\\u001b[31m"', '"error": "\\ud800\\n"', '"cached_tokens": -1'),
)


def _open_replies(_folder: Path) -> Door:
    config = FilterConfig(judge=True)
    asked = Answer(
        text="",
        finish_reason="stop",
        transcript=_SPOKEN,
        task="intent",
        may_copy=False,
        expected_language="en",
        control_strings=("<|im_end|>", "</s>"),
    )

    def door(content: bytes) -> Taken:
        text = content.decode("utf-8", "replace")
        if len(content) % 8 == 0:
            text = text.replace("\ufffd", "\ud800")  # half a pair, as JSON may carry it
        score = parse_judge(text)
        must(score is None or score in range(1, 6), f"a score of {score}")
        as_json = len(content) % 4 == 1
        verdict = judge_response(
            replace(asked, text=text, judge_score=score, expects_json=as_json), config
        )
        if verdict.reason is not None:
            check_line(verdict.detail, what=f"detail of {verdict.reason}", at_most=500)
        for share in (verdict.quality.copy_rate, verdict.quality.repetition):
            must(share is None or 0 <= share <= 1, f"a share of {share}")
        restored = check_restored(_SPOKEN, text, language="en", max_changed_words=len(content) % 2)
        if restored is not None:
            must(len(restored.splitlines()) == 1, f"a transcript of several lines: {restored!r}")
        for how in ("as_read", "lower", "whisper"):
            prepared = prepare(text, how=how, language=("en", "tr", "th")[len(content) % 3])
            must(prepared == prepared.strip(), f"{how} leaves space around")
        reason = verdict.quality.verdict or ""
        return Taken(shapes=frozenset({reason, f"score {score}", f"restored {bool(restored)}"}))

    return door


_SPOKEN = "she said that 7 o'clock was fine and she'd be there"
_REPLIES = (
    "She said that 7 o'clock was fine, and she'd be there.",
    "Here it is:\n\n“She said that 7 o'clock was fine and she'd be there!”",
    "Score: 4. It has 3 faults.",
    '```json\n{"score": 2, "why": ["a", "b"]}\n```',
    "As a language model, I can't assist with that.",
    "no no no no no no no no no no no no no no no no no no no",
    "Das ist ein schöner langer Satz auf Deutsch, der nichts sagt.<|im_end|>",
    "今天天气很好，我们去公园散步吧。\nUSER: and so on",  # noqa: RUF001 - Chinese
)
_REPLY_TOKENS = (
    *("score: ", "4/5", "3 out of 5", "rating is", "**5**", "<|im_end|>", "</s>", "[INST]"),
    *(
        "USER:",
        "### Response:",
        "```",
        "```json\n",
        "{}",
        "As an AI",
        "I cannot ",
        "ha ",
        "hahaha",
    ),
    *(
        "“",
        "”",
        "「",
        "。",
        "İ",
        "ß",
        "\u0307",
        "\u200d",
        "٤",
        "ก",
        "中",
        "\U0001f468",
        "'",
        "\u2019",
    ),
)

TARGETS = (
    Target(
        name="server",
        open=_ServerDoor,
        seeds=_answers,
        mutator=Mutator(tokens=(*JSON.tokens, *_HTTP_TOKENS, *_HTTP_TOKENS), max_bytes=1 << 13),
        craft=crafted([_DOCUMENT], lambda rng, document: _http(as_json(rng, document))),
    ),
    Target(
        name="replies",
        open=_open_replies,
        seeds=lambda: [text.encode() for text in _REPLIES],
        mutator=Mutator(tokens=_REPLY_TOKENS, max_bytes=1 << 13),
    ),
)
