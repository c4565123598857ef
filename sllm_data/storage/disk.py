"""A folder of this disk behind the same seam as object storage: for trials, and as a target."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sllm_data.files import TEMPORARY_SUFFIX, atomic_path, sha256_of_file
from sllm_data.storage.backend import ChangedError, Entry, Patiently


class DiskFolder:
    """A folder, which need not be there before something is put in it."""

    rights = "check whose folder it is"

    def __init__(self, root: Path) -> None:
        self._root = root

    def check(self) -> None:
        """Nothing is missing that could not be made."""

    def entries(self, prefix: str) -> dict[str, Entry]:
        """All files whose name begins with `prefix`, but for those in the making."""
        found = {name: self.entry(name) for name in self._names() if name.startswith(prefix)}
        return {name: entry for name, entry in found.items() if entry is not None}

    def _names(self) -> Iterator[str]:
        for folder, _, names in os.walk(self._root):
            below = Path(folder).relative_to(self._root)
            for name in names:
                if not (name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)):
                    yield (below / name).as_posix()

    def entry(self, name: str) -> Entry | None:
        """One file."""
        try:
            found = (self._root / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Entry(found.st_size, f"{found.st_mtime_ns}-{found.st_ino}-{found.st_size}")

    def piece(self, name: str, start: int, stop: int, *, of: Entry) -> bytes:
        """Bytes [start, stop); raises ChangedError where the file is not `of` any more."""
        with (self._root / name).open("rb") as file:
            file.seek(start)
            content = file.read(stop - start)
        if self.entry(name) != of or len(content) != stop - start:
            raise ChangedError(name)
        return content

    def put(self, path: Path, name: str, *, sha256: str, patiently: Patiently) -> None:  # noqa: ARG002 - a disk needs no patience
        """Copies a file; it has its name when it is whole."""
        with atomic_path(self._root / name) as temporary, path.open("rb") as file:
            with temporary.open("wb") as copy:
                while content := file.read(2**22):
                    copy.write(content)
            if sha256_of_file(temporary) != sha256:
                raise ChangedError(name)

    def write(self, name: str, content: bytes, *, only_new: bool) -> None:
        """Writes bytes; raises FileExistsError where there is one and only a new one is meant."""
        path = self._root / name
        if not only_new:
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # named by the process, since two may try at once; a link is refused where there is one
        temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
        try:
            temporary.write_bytes(content)
            os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Removes a file, if it is there, and the folders that are empty then."""
        path = self._root / name
        path.unlink(missing_ok=True)
        with suppress(OSError):  # one that is not empty stays
            for folder in path.relative_to(self._root).parents:
                if folder != Path():
                    (self._root / folder).rmdir()
