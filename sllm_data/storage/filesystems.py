"""A folder of any other storage that fsspec knows: gs (gcsfs), hf (the hub), memory.

They have no conditional reads in common: that an object did not change while it was read is
seen from its mark, which is asked for again after the last piece.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec

from sllm_data.errors import ConfigError
from sllm_data.files import sha256_of_bytes, sha256_of_file
from sllm_data.storage.backend import ChangedError, Entry, Patiently, digest

_MARKS = ("generation", "etag", "ETag", "md5Hash", "blob_id", "updated")
_RIGHTS = {
    "gs": "check the credentials (GOOGLE_APPLICATION_CREDENTIALS, or the machine's account)",
    "hf": "check the token (HF_TOKEN, or `hf auth login`) and what it allows",
}


class FilesystemFolder:
    """A folder by its URL.

    Args:
        protocol: `gs`, `hf` or `memory`.
        path: Below it.

    Raises:
        ConfigError: The library of this storage is not installed.
    """

    def __init__(self, protocol: str, path: str) -> None:
        self.rights = _RIGHTS.get(protocol, "check who may use it")
        options = {"use_listings_cache": False} if protocol == "gs" else {}
        try:
            self._fs = fsspec.filesystem(protocol, **options)
        except ImportError:
            extra = " (pip install 'sllm-data[gs]')" if protocol == "gs" else ""
            raise ConfigError(
                f"{protocol}://{path}: the library for {protocol}:// must be installed, it is "
                f"not{extra}"
            ) from None
        self._protocol = protocol
        self._root = f"/{path}" if protocol == "memory" else path

    def check(self) -> None:
        """Raises FileNotFoundError where the bucket or repository is missing."""
        names = {"gs": 1, "hf": 3}.get(self._protocol)
        if names is not None:
            self._fs.info("/".join(self._root.split("/")[:names]))

    def entries(self, prefix: str) -> dict[str, Entry]:
        """All objects whose name begins with `prefix`."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._root) + 1
        named = {path[start:]: info for path, info in found.items() if info["type"] == "file"}
        return {n: self._entry(info) for n, info in named.items() if n and n.startswith(prefix)}

    def entry(self, name: str) -> Entry | None:
        """One object."""
        self._fs.invalidate_cache()
        try:
            info = self._fs.info(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        return self._entry(info) if info["type"] == "file" else None

    def _entry(self, info: dict[str, Any]) -> Entry:  # Any: what the storage says
        size = int(info["size"])
        if self._protocol == "memory":  # it keeps no mark, and times are too coarse
            sha256 = sha256_of_bytes(self._fs.cat_file(info["name"]))
            return Entry(size, sha256, sha256)
        marks = [str(info[key]) for key in _MARKS if info.get(key)]
        told = digest((info.get("lfs") or {}).get("sha256"))
        return Entry(size, "-".join((*marks, str(size))), told)

    def piece(self, name: str, start: int, stop: int, *, of: Entry) -> bytes:
        """Bytes [start, stop); raises ChangedError where the object is not `of` any more."""
        content: bytes = self._fs.cat_file(f"{self._root}/{name}", start=start, end=stop)
        if len(content) != stop - start or (stop == of.size and self.entry(name) != of):
            raise ChangedError(name)
        return content

    def put(self, path: Path, name: str, *, sha256: str, patiently: Patiently) -> None:
        """Sends a file; these storages show it when it is whole."""
        if sha256_of_file(path) != sha256:
            raise ChangedError(name)
        target = f"{self._root}/{name}"
        patiently(lambda: self._fs.put_file(str(path), target))

    def write(self, name: str, content: bytes, *, only_new: bool) -> None:
        """Writes bytes; raises FileExistsError where there is one and only a new one is meant.

        The hub can't be asked to take only a new one: there it is looked for before.
        """
        if only_new and self.entry(name) is not None:
            raise FileExistsError(name)
        mode = {"mode": "create"} if only_new and self._protocol != "hf" else {}
        self._fs.pipe_file(f"{self._root}/{name}", content, **mode)

    def remove(self, name: str) -> None:
        """Removes an object, if it is there."""
        if self.entry(name) is None:
            return
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{name}")
