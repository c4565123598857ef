"""A server that speaks the OpenAI protocol, knows every answer, and misbehaves when told to.

    python answer_server.py --port 0 --faults html,500 --from 3 --until 9

The answer follows from the prompt alone, so that two servers give the same. Requests are
counted from 1; those in [from, until) meet the faults in turn. The one line it prints is its
port.
"""

import argparse
import json
import os
import threading
import time
from collections.abc import Sequence
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = ("none", "429", "500", "html", "half", "slow", "dies", "shuffled")
_SILENT_S = 30.0
_SPREAD_S = 0.2
_WORDS = 8


class Answers(ThreadingHTTPServer):
    """Counts requests, and says which of them meet a fault."""

    daemon_threads = True

    def __init__(self, port: int, *, faults: Sequence[str], begin: int, end: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self._faults = faults
        self._range = range(begin, end)
        self._lock = threading.Lock()
        self._seen = 0

    def next_fault(self) -> str:
        """The fault that the next request meets, `none` for none."""
        with self._lock:
            self._seen += 1
            if self._seen not in self._range:
                return "none"
            return self._faults[self._seen % len(self._faults)]


class Handler(BaseHTTPRequestHandler):
    """One exchange."""

    server: Answers
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(200, json.dumps({"data": [{"id": "answers", "owned_by": "tests"}]}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps(answer_to(body)).encode()
        is_probe = body["max_tokens"] == 1
        self._answer(answer, "none" if is_probe else self.server.next_fault())

    def _answer(self, answer: bytes, fault: str) -> None:
        match fault:
            case "429":
                self._send(429, b'{"error": {"message": "slow down"}}', {"retry-after": "1"})
            case "500":
                self._send(500, b'{"error": {"message": "out of order"}}')
            case "html":
                self._send(200, b"<html>a proxy says sorry</html>")
            case "half":
                self._send(200, answer[: len(answer) // 2], {"content-length": str(len(answer))})
                self.close_connection = True
            case "slow":
                time.sleep(_SILENT_S)
            case "dies":
                os._exit(1)
            case "shuffled":
                time.sleep(_SPREAD_S * sha256(answer).digest()[0] / 255)
                self._send(200, answer)
            case _:
                self._send(200, answer)

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"content-length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Says nothing."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):  # a client that gave up
            self.close_connection = True


def answer_to(body: dict[str, Any]) -> dict[str, Any]:
    """Some words of the prompt, drawn by its hash."""
    words = " ".join(message["content"] for message in body["messages"]).split()
    drawn = sha256(json.dumps(body["messages"]).encode()).digest()[:_WORDS]
    text = " ".join(words[number % len(words)] for number in drawn)
    return {
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": len(words), "completion_tokens": _WORDS},
    }


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--faults", default="none", help=f"some of {', '.join(FAULTS)}")
    parser.add_argument("--from", type=int, default=1, dest="begin")
    parser.add_argument("--until", type=int, default=10**9, dest="end")
    given = parser.parse_args()
    server = Answers(given.port, faults=given.faults.split(","), begin=given.begin, end=given.end)
    print(server.server_address[1], flush=True)  # noqa: T201 - its one line
    server.serve_forever()


if __name__ == "__main__":
    main()
