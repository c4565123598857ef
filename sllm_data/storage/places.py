"""Places: a folder on this disk, or one in object storage by its URL.

What lies in object storage is worked on in a copy on this disk, so that a step, DuckDB and a
reader of Parquet see files, whatever the storage. Which folder that is follows from the URL
alone:

    s3://bucket/corpora/en    $SLLM_COPIES/s3/bucket/corpora/en

`SLLM_COPIES` is `~/.cache/sllm-data/copies` where it is not set. A configuration keeps the
URL: each machine finds its own copy.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

COPIES = "SLLM_COPIES"
"""The variable that names the folder of all copies."""

_URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]+)://(?P<rest>.*)", re.DOTALL)


def copies_folder() -> Path:
    """The folder of all copies on this machine."""
    named = os.environ.get(COPIES)
    if named:
        return Path(named).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(cache).expanduser().absolute() / "sllm-data/copies"


def local_copy(place: str | Path) -> Path:
    """Returns the folder or file of this disk in which a place is worked on.

    Args:
        place: A path, which is returned as it is, or a URL.

    Raises:
        ValueError: A URL names no folder of a bucket.
    """
    found = None if isinstance(place, Path) else _URL.fullmatch(place)
    if found is None:
        return Path(place)
    protocol, rest = found["protocol"], found["rest"].rstrip("/")
    if protocol == "file":
        return Path("/" + rest.lstrip("/"))
    parts = rest.split("/")
    if not all(map(_is_name, parts)) or "@" in parts[0] or re.search(r"[?#]", rest):
        raise ValueError(
            "a URL must be protocol://bucket/folder, without user, key, question mark or '..'"
        )
    return copies_folder().joinpath(protocol, *parts)


def _is_name(part: str) -> bool:
    return part not in ("", ".", "..") and part.isprintable() and "\\" not in part


def url_of(path: Path) -> str | None:
    """Returns the URL whose copy a path is; None for any other path."""
    root = copies_folder()
    if not path.is_absolute() or not path.is_relative_to(root):
        return None
    parts = path.relative_to(root).parts
    at_least = 2  # protocol and bucket
    return f"{parts[0]}://{'/'.join(parts[1:])}" if len(parts) >= at_least else None


def shown(path: Path) -> str:
    """Returns a place as its user wrote it: the URL of a copy, any other path as it is."""
    return url_of(path) or str(path)


def _from_document(place: Any) -> Any:  # Any: whatever stands there; what is no text is refused
    return str(local_copy(place)) if isinstance(place, str) else place


Place = Annotated[
    Path,
    BeforeValidator(_from_document),
    PlainSerializer(shown, return_type=str, when_used="json"),
]
"""A field for a path or URL: holds the path on this disk, and is written as it was read."""
