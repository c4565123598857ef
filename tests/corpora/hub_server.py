"""A stand-in for the Hugging Face Hub: one dataset at one commit, out of a folder.

It speaks as much of the protocol as `datasets` needs to load and to stream a repository.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repository: ClassVar[str]
    folder: ClassVar[Path]
    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        url = urlparse(unquote(self.path))
        self.asked.append(f"{self.command} {url.path}")
        content = re.fullmatch(f"/datasets/{self.repository}/resolve/[^/]+/(.+)", url.path)
        tree = re.fullmatch(f"/api/datasets/{self.repository}/tree/[^/]+/?(.*)", url.path)
        if content:
            self._file(self.folder / content[1])
        elif tree:
            self._tree(self.folder / tree[1], is_deep="recursive=true" in url.query.lower())
        elif re.fullmatch(f"/api/datasets/{self.repository}(/revision/[^/]+)?", url.path):
            self._send(200, json.dumps({"id": self.repository, "sha": COMMIT}).encode())
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def _tree(self, folder: Path, *, is_deep: bool) -> None:
        if not folder.is_dir():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        found = sorted(folder.rglob("*") if is_deep else folder.iterdir())
        self._send(200, json.dumps([self._entry(path) for path in found]).encode())

    def _entry(self, path: Path) -> dict[str, object]:
        entry = {"path": path.relative_to(self.folder).as_posix(), "oid": "0" * 40, "size": 0}
        if path.is_dir():
            return entry | {"type": "directory"}
        return entry | {"type": "file", "size": path.stat().st_size}

    def _file(self, path: Path) -> None:
        if not path.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self._send(200, content, headers)
            return
        start, stop = int(wanted[1]), min(int(wanted[2] or len(content)) + 1, len(content))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        self._send(206, content[start:stop], headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"X-Repo-Commit": COMMIT} | dict(headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def hub_with(repository: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serves a folder as a dataset; yields the endpoint and what was asked for so far."""
    asked: list[str] = []
    handler = type("Hub", (_Hub,), {"repository": repository, "folder": folder, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
