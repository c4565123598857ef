"""What the tests of engines share: requests, answers, a scripted HTTP server, real engines."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from sllm_data.generation import Engine, VllmConfig
from sllm_data.records import Message, Rejection, Request, Response, Sampling
from tests.ports import free_port

MakeRequest = Callable[..., Request]
Ask = Callable[[Engine, Sequence[Request]], dict[str, Response | Rejection]]

STARTS_S = 400


def build_request(name: str = "r", **changes: Any) -> Request:
    """A request; `text`, `ids`, and any field of Sampling may be given."""
    sampling = {
        key: changes.pop(key)
        for key in ("temperature", "top_p", "top_k", "max_tokens", "stop")
        if key in changes
    }
    text = changes.pop("text", "Listen.\n\nsay it again")
    fields: dict[str, Any] = {
        "request_id": f"{name}:main",
        "sample_id": name,
        "audio_part": 0,
        "audio_id": f"corpus/1/x/{name}",
        "task": "repetition",
        "task_params": "{}",
        "variant": "plain",
        "draw_index": 0,
        "instruction_id": "repetition.en.1",
        "instruction_language": "en",
        "template_id": "plain",
        "split": "train",
        "eval_group": "train",
        "transcript_prepared": "say it again",
        "target": "generated",
        "messages": (Message(role="user", content=text),),
        "prompt_token_ids": tuple(changes.pop("ids", (5, 6, 7))),
        "sampling": Sampling(
            **({"temperature": 0.0, "top_p": 1.0, "top_k": 0, "max_tokens": 16} | sampling)
        ),
        "seed": 1,
        "request_key": f"key of {name}",
    }
    return Request(**(fields | changes))


def ask_all(engine: Engine, requests: Sequence[Request]) -> dict[str, Response | Rejection]:
    """Submits within the engine's bound and returns the answers by request_id."""
    waiting = list(requests)
    answers: dict[str, Response | Rejection] = {}
    in_flight = 0
    while waiting or in_flight:
        while waiting and in_flight < engine.max_in_flight:
            engine.submit(waiting.pop(0))
            in_flight += 1
        for answer in engine.receive():
            in_flight -= 1
            name = answer.row_id if isinstance(answer, Rejection) else answer.request_id
            assert name not in answers
            answers[name] = answer
    return answers


@pytest.fixture(scope="session")
def make_request() -> MakeRequest:
    return build_request


@pytest.fixture(scope="session")
def ask() -> Ask:
    return ask_all


@dataclass
class Reply:
    """What the scripted server sends; `content` shorter than `length` is half an answer."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    wait_s: float = 0.0


class ScriptedServer:
    """A real server on a loopback socket, whose replies a test writes down.

    `script(path, body)` is asked for every POST that is no probe (probes want one token);
    `probe` likewise for probes.
    """

    def __init__(self) -> None:
        self.models: Reply = Reply(
            content=json.dumps({"data": [{"id": "tiny", "owned_by": "tests"}]}).encode()
        )
        self.version: Reply = Reply(content=b'{"version": "0.99"}')
        self.script: Callable[[str, dict[str, Any]], Reply] = lambda _path, _body: self.good()
        self.probe: Callable[[str, dict[str, Any]], Reply] = lambda _path, _body: self.good()
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    @staticmethod
    def good(text: str | None = "hello", *, prompt_tokens: int = 3, **choice: Any) -> Reply:
        """A good answer, of either path."""
        document = {
            "choices": [
                {"text": text, "message": {"content": text}, "finish_reason": "stop"} | choice
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": len((text or "").split()),
                "prompt_tokens_details": {"cached_tokens": 1},
            },
        }
        return Reply(content=json.dumps(document).encode())

    @staticmethod
    def bad(status: int, message: str, **headers: str) -> Reply:
        """An error as servers send them."""
        return Reply(status, json.dumps({"error": {"message": message}}).encode(), headers)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def replies(self, *replies: Reply) -> None:
        """Sends these, one after the other, and the last one for ever."""
        left = list(replies)
        self.script = lambda _path, _body: left.pop(0) if len(left) > 1 else left[0]

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - self is the handler
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.headers.append(dict(self.headers))
                self._send(server.version if self.path == "/version" else server.models)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                path = self.path.removeprefix("/v1/")
                if body.get("max_tokens", body.get("max_completion_tokens")) == 1:
                    self._send(server.probe(path, body))
                    return
                server.bodies.append((path, body))
                self._send(server.script(path, body))

            def _send(self, reply: Reply) -> None:
                time.sleep(reply.wait_s)
                self.send_response(reply.status)
                length = len(reply.content) if reply.length is None else reply.length
                for name, value in ({"content-length": str(length)} | reply.headers).items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(reply.content)
                self.close_connection = length != len(reply.content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Says nothing."""

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (BrokenPipeError, ConnectionResetError):  # a client that gave up
                    self.close_connection = True

        return Handler


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with closing(ScriptedServer()) as running:
        yield running


@pytest.fixture(scope="session")
def vllm_config(tiny_backbone: Path) -> VllmConfig:
    """Small enough to start fast: no compilation, short contexts."""
    return VllmConfig(
        engine="vllm",
        model=str(tiny_backbone),
        max_model_len=256,
        max_num_seqs=32,
        max_num_batched_tokens=512,
        kv_cache_gib=1,
        enforce_eager=True,
        logprobs=True,
        top_logprobs=4,
    )


@pytest.fixture(scope="session")
def vllm_server(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM's own OpenAI server over the tiny backbone; its base URL."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--model", str(tiny_backbone), "--served-model-name", "tiny"]
    command += ["--max-model-len", "256", "--max-num-seqs", "32", "--enforce-eager"]
    command += ["--max-num-batched-tokens", "512", "--no-enable-chunked-prefill"]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with log.open("wb") as output:
        process = psutil.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        family = [process, *process.children(recursive=True)] if process.is_running() else []
        for member in family:
            member.terminate()
        _, left = psutil.wait_procs(family, timeout=15)
        for member in left:
            member.kill()


def _wait_until_up(url: str, process: psutil.Popen, log: Path) -> None:
    deadline = time.monotonic() + STARTS_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    pytest.fail(f"vLLM's server did not come up: {log.read_text()[-2000:]}")
