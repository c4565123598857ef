"""The seam between a Store and what keeps its objects; each call is one request, tried once."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Patiently = Callable[[Callable[[], Any]], Any]  # Any: what the call returns


@dataclass(frozen=True, slots=True)
class Entry:
    """An object in a storage."""

    size: int
    """Bytes."""

    mark: str
    """The storage's own mark of this content (ETag); changes whenever the content does."""

    sha256: str | None = field(default=None, compare=False)
    """The content's digest where the storage keeps one; a listing does not tell it."""


class ChangedError(Exception):
    """An object was written anew while it was read."""


class Backend(Protocol):
    """A folder of one kind of storage; names are relative to it."""

    rights: str
    """What to check where access is denied."""

    def check(self) -> None:
        """Raises FileNotFoundError where the bucket is missing."""
        ...

    def entries(self, prefix: str) -> dict[str, Entry]:
        """All objects whose name begins with `prefix`."""
        ...

    def entry(self, name: str) -> Entry | None:
        """One object."""
        ...

    def piece(self, name: str, start: int, stop: int, *, of: Entry) -> bytes:
        """Bytes [start, stop); raises ChangedError where the object is not `of` any more."""
        ...

    def put(self, path: Path, name: str, *, sha256: str, patiently: Patiently) -> None:
        """Sends a file; it is visible when it is whole."""
        ...

    def write(self, name: str, content: bytes, *, only_new: bool) -> None:
        """Writes bytes; raises FileExistsError where there is one and only a new one is meant."""
        ...

    def remove(self, name: str) -> None:
        """Removes an object, if it is there."""
        ...


def digest(text: object) -> str | None:
    """Returns a text that a storage gives as a SHA-256; None where it is none."""
    return text if isinstance(text, str) and re.fullmatch(r"[0-9a-f]{64}", text) else None
