"""A small hub: the part of its HTTP API that uploads and reads, over real sockets, in memory.

It lets real `huggingface_hub` create a repository, upload, commit, list and fetch. What it is sent
without the token it refuses; what is large goes by LFS, as on the hub.
"""

import base64
import hashlib
import json
import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_plantedplantedplantedplanted4711"  # noqa: S105 - planted
_POINTER = 130


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class Blob:
    content: bytes
    is_lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def row(self, path: str) -> dict[str, Any]:
        row = {"type": "file", "path": path, "size": len(self.content)}
        row["oid"] = git_oid(self.content)
        if self.is_lfs:
            row["lfs"] = {"oid": self.sha256, "size": row["size"], "pointerSize": _POINTER}
        return row


@dataclass
class Repo:
    private: bool
    branches: dict[str, dict[str, Blob]] = field(default_factory=lambda: {"main": {}})
    commits: list[str] = field(default_factory=list)
    """Their messages."""

    def sha(self, branch: str) -> str:
        names = sorted((path, blob.sha256) for path, blob in self.branches[branch].items())
        return hashlib.sha1(repr(names).encode(), usedforsecurity=False).hexdigest()


class HubServer:
    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.seen: list[str] = []
        self.hang_after_uploads: int | None = None
        """From this LFS upload on nothing is answered."""
        self.refuse = 0
        """So many requests are answered by 503."""
        self.drop = 0
        """So many requests get no answer: the connection ends."""
        self.deny = False
        self.uploads = 0
        self.hanging = threading.Event()
        self.ended = threading.Event()
        self.lock = threading.Lock()
        hub = self

        class Handler(_Handler):
            owner = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def files(self, repo: str, branch: str = "main") -> dict[str, bytes]:
        found = self.repos[repo].branches[branch]
        return {path: blob.content for path, blob in found.items()}

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: HubServer

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass

    def _serve(self) -> None:
        body = self._body()
        path, _, query = self.path.partition("?")
        path = urllib.parse.unquote(path)
        hub = self.owner
        with hub.lock:
            hub.seen.append(f"{self.command} {path}")
            if hub.drop:
                hub.drop -= 1
                self.close_connection = True
                return
            if hub.refuse:
                hub.refuse -= 1
                self._json({"error": "busy"}, 503)
                return
        if path.startswith("/lfs/"):  # as on the hub, its own address is the right to send
            self._put_lfs(path.removeprefix("/lfs/"), body)
            return
        if hub.deny or self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._json({"error": "who are you?"}, 403)
            return
        for pattern, method, route in _ROUTES:
            if self.command == method and (found := re.fullmatch(pattern, path)):
                route(self, *found.groups(), body=body, query=query)
                return
        self._json({"error": f"no such thing: {path}"}, 404)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - as http.server asks

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _json(self, value: Any, status: int = 200, **headers: str) -> None:
        self._bytes(
            json.dumps(value).encode(), status, {"Content-Type": "application/json"} | headers
        )

    def _bytes(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _repo(self, name: str, branch: str | None = None) -> Repo | None:
        repo = self.owner.repos.get(name)
        if repo is not None and (branch is None or branch in repo.branches):
            return repo
        code = "RepoNotFound" if repo is None else "RevisionNotFound"
        self._json({"error": "not found"}, 404, **{"X-Error-Code": code})
        return None

    def _create(self, *, body: bytes, query: str) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.owner.url}/datasets/{name}"
        if name in self.owner.repos:
            self._json({"url": url, "error": "You already created this dataset repo"}, 409)
            return
        is_private = (
            asked.get("visibility", "private" if asked.get("private") else "") == "private"
        )
        repo = self.owner.repos[name] = Repo(private=is_private)
        repo.branches["main"][".gitattributes"] = Blob(b"*.parquet filter=lfs\n", is_lfs=False)
        self._json({"url": url, "name": name})

    def _info(self, name: str, branch: str | None = None, *, body: bytes, query: str) -> None:
        branch = self._resolved(name, branch or "main")
        if repo := self._repo(name, branch):
            files = repo.branches[branch]
            self._json(
                {
                    "id": name,
                    "private": repo.private,
                    "sha": repo.sha(branch),
                    "siblings": [{"rfilename": path} for path in files],
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                }
            )

    def _branch(self, name: str, branch: str, *, body: bytes, query: str) -> None:
        if repo := self._repo(name):
            status = 409 if branch in repo.branches else 200
            repo.branches.setdefault(branch, dict(repo.branches["main"]))
            self._json({} if status == 200 else {"error": "exists"}, status)

    def _preupload(self, name: str, branch: str, *, body: bytes, query: str) -> None:
        if repo := self._repo(name, branch):
            files = []
            for each in json.loads(body)["files"]:
                there = repo.branches[branch].get(each["path"])
                mode = "lfs" if each["path"].endswith(".parquet") else "regular"
                oid = None if there is None else there.row("")["oid"]
                files.append(
                    {"path": each["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}
                )
            self._json({"files": files})

    def _batch(self, name: str, *, body: bytes, query: str) -> None:
        objects = []
        for each in json.loads(body)["objects"]:
            if each["oid"] not in self.owner.lfs:
                each["actions"] = {"upload": {"href": f"{self.owner.url}/lfs/{each['oid']}"}}
            objects.append(each)
        self._json({"objects": objects, "transfer": "basic"})

    def _put_lfs(self, oid: str, body: bytes) -> None:
        hub = self.owner
        with hub.lock:
            hub.uploads += 1
            is_hanging = (
                hub.hang_after_uploads is not None and hub.uploads > hub.hang_after_uploads
            )
        if is_hanging:
            hub.hanging.set()
            hub.ended.wait()
            self.close_connection = True
        elif hashlib.sha256(body).hexdigest() != oid:
            self._json({"error": "another digest"}, 400)
        else:
            hub.lfs[oid] = body
            self._json({})

    def _commit(self, name: str, branch: str, *, body: bytes, query: str) -> None:
        repo = self._repo(name, branch)
        if repo is None:
            return
        files = dict(repo.branches[branch])
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            match entry["key"]:
                case "header":
                    repo.commits.append(value["summary"])
                case "file":
                    files[value["path"]] = Blob(base64.b64decode(value["content"]), is_lfs=False)
                case "lfsFile":
                    files[value["path"]] = Blob(self.owner.lfs[value["oid"]], is_lfs=True)
                case "deletedFile":
                    if files.pop(value["path"], None) is None:
                        gone = {"X-Error-Code": "EntryNotFound"}
                        self._json({"error": "no such file"}, 404, **gone)
                        return
        repo.branches[branch] = files
        oid = repo.sha(branch)
        self._json(
            {"commitUrl": f"{self.owner.url}/datasets/{name}/commit/{oid}", "commitOid": oid}
        )

    def _tree(
        self, name: str, branch: str, below: str | None = None, *, body: bytes, query: str
    ) -> None:
        repo = self._repo(name, self._resolved(name, branch))
        if repo is None:
            return
        files = repo.branches[self._resolved(name, branch)]
        start = f"{below}/" if below else ""
        rows: dict[str, dict[str, Any]] = {}
        for path, blob in files.items():
            if not path.startswith(start):
                continue
            folders = path.removeprefix(start).split("/")[:-1]
            is_deep = "recursive=true" in query.lower()
            for depth in (
                range(1, len(folders) + 1) if is_deep else range(1, min(len(folders), 1) + 1)
            ):
                folder = start + "/".join(folders[:depth])
                rows[folder] = {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
            if is_deep or not folders:
                rows[path] = blob.row(path)
        if start and not rows:
            self._json({"error": "no entry"}, 404, **{"X-Error-Code": "EntryNotFound"})
            return
        self._json(list(rows.values()))

    def _paths(self, name: str, branch: str, *, body: bytes, query: str) -> None:
        branch = self._resolved(name, branch)
        if repo := self._repo(name, branch):
            text = body.decode()
            asked = (
                json.loads(text)["paths"]
                if text.startswith("{")
                else urllib.parse.parse_qs(text).get("paths", [])
            )
            files = repo.branches[branch]
            rows = [files[path].row(path) for path in asked if path in files]
            rows += [
                {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}
                for path in asked
                if any(name.startswith(f"{path}/") for name in files)
            ]
            self._json(rows)

    def _resolve(self, name: str, branch: str, path: str, *, body: bytes, query: str) -> None:
        branch = self._resolved(name, branch)
        repo = self._repo(name, branch)
        if repo is None:
            return
        blob = repo.branches[branch].get(path)
        if blob is None:
            self._json({"error": "no entry"}, 404, **{"X-Error-Code": "EntryNotFound"})
            return
        etag = blob.sha256 if blob.is_lfs else git_oid(blob.content)
        headers = {
            "ETag": f'"{etag}"',
            "X-Repo-Commit": repo.sha(branch),
            "Accept-Ranges": "bytes",
        }
        content, status = blob.content, 200
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, stop = int(found[1]), int(found[2] or len(content) - 1) + 1
            headers["Content-Range"] = (
                f"bytes {start}-{min(stop, len(content)) - 1}/{len(content)}"
            )
            content, status = content[start:stop], 206
        self._bytes(content, status, headers)

    def _resolved(self, name: str, revision: str) -> str:
        """A branch by its name or by its commit."""
        repo = self.owner.repos.get(name)
        for branch in repo.branches if repo else ():
            if repo and repo.sha(branch) == revision:
                return branch
        return revision

    def _yaml(self, *, body: bytes, query: str) -> None:
        self._json({"errors": [], "warnings": []})


_NAME = "([^/]+/[^/]+)"
_API = f"/api/datasets/{_NAME}"
_ROUTES: list[tuple[str, str, Any]] = [
    ("/api/repos/create", "POST", _Handler._create),
    ("/api/validate-yaml", "POST", _Handler._yaml),
    (_API, "GET", _Handler._info),
    (f"{_API}/revision/(.+)", "GET", _Handler._info),
    (f"{_API}/branch/(.+)", "POST", _Handler._branch),
    (f"{_API}/preupload/([^/]+)", "POST", _Handler._preupload),
    (f"{_API}/commit/([^/]+)", "POST", _Handler._commit),
    (f"{_API}/tree/([^/]+)(?:/(.+))?", "GET", _Handler._tree),
    (f"{_API}/paths-info/([^/]+)", "POST", _Handler._paths),
    (f"/datasets/{_NAME}.git/info/lfs/objects/batch", "POST", _Handler._batch),
    (f"/datasets/{_NAME}/resolve/([^/]+)/(.+)", "GET", _Handler._resolve),
    (f"/datasets/{_NAME}/resolve/([^/]+)/(.+)", "HEAD", _Handler._resolve),
]
