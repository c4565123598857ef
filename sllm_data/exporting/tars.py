"""Tar shards with the same bytes whenever they are written: no times, no owners.

Nothing is compressed: sound does not get smaller, and readers that seek need it so.
"""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from sllm_data.errors import ShardError


class TarShard:
    """A tar file that is being written."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def add(self, name: str, content: bytes) -> None:
        """Writes a member."""
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        self._tar.addfile(entry, io.BytesIO(content))


def read_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the members of a tar file, each with its name.

    Raises:
        ShardError: It is none, or is cut off.
    """
    try:
        with tarfile.open(path, "r|") as tar:
            for entry in tar:
                content = tar.extractfile(entry)
                yield entry.name, b"" if content is None else content.read()
    except (tarfile.TarError, OSError) as error:
        raise ShardError(f"{path}: must be a whole tar file, found: {error}") from error
