"""An HTTP proxy in front of a storage that spoils answers on order: a real one, over sockets.

fault        what the client sees
refuse       503 SlowDown in S3's own words, as often as ordered
deny         403 AccessDenied
cut          the head of the answer and half of its body, then the end of the connection
lose         nothing: the request was carried out, its answer is lost
hang         nothing, until the client gives up

A listing is late where `unlisted` says so: it leaves out the names that hold that pattern.
"""

import http.client
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Kind = Literal["refuse", "deny", "cut", "lose", "hang"]


@dataclass
class Fault:
    kind: Kind
    method: str = ".*"
    target: str = ".*"
    """What the path and query must hold."""
    times: int = 1


class FaultyProxy:
    """Forwards to `port` of this machine; spoils what `faults` order."""

    def __init__(self, port: int) -> None:
        self.behind = port
        self.faults: list[Fault] = []
        self.seen: list[str] = []
        """The requests, as `GET /bucket/name`."""
        self.is_away = False
        self.goes_away_at: str | None = None
        """What a request must hold for the storage to go away with it."""
        self.unlisted: str | None = None
        self.lock = threading.Lock()
        self.ended = threading.Event()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def order(self, kind: Kind, *, method: str = ".*", target: str = ".*", times: int = 1) -> None:
        self.faults.append(Fault(kind, method, target, times))

    def fault_for(self, method: str, target: str) -> Kind | None:
        with self.lock:
            self.seen.append(f"{method} {target}")
            if self.goes_away_at is not None and self.goes_away_at in target:
                self.goes_away_at, self.is_away = None, True
            for fault in self.faults:
                is_meant = re.fullmatch(fault.method, method) and re.search(fault.target, target)
                if is_meant and fault.times:
                    fault.times -= 1
                    return fault.kind
        return None

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _without(listing: bytes, pattern: str) -> bytes:
    """A page of a listing without some names."""
    items = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)

    def kept(item: re.Match[bytes]) -> bytes:
        key = re.search(rb"<Key>(.*?)</Key>", item[0])
        return b"" if key and re.search(pattern, key[1].decode()) else item[0]

    return items.sub(kept, listing)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultyProxy

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the client gave up
            self.close_connection = True

    def _serve(self) -> None:
        proxy = self.owner
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        fault = proxy.fault_for(self.command, self.path)
        self.close_connection = True
        if proxy.is_away:
            return
        if fault == "hang":
            proxy.ended.wait()
        elif fault in ("refuse", "deny"):
            self._say(*((503, "SlowDown") if fault == "refuse" else (403, "AccessDenied")))
        else:
            self._forward(body, fault)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - as http.server asks

    def _forward(self, body: bytes, fault: Kind | None) -> None:
        behind = http.client.HTTPConnection("127.0.0.1", self.owner.behind)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
        behind.request(self.command, self.path, body or None, headers)
        answer = behind.getresponse()
        content = answer.read()
        if fault == "lose":
            return
        if self.owner.unlisted is not None and "list-type=2" in self.path:
            content = _without(content, self.owner.unlisted)
        self.send_response(answer.status)
        length = str(len(content))
        for name, value in answer.getheaders():
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

    def _say(self, status: int, code: str) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass
