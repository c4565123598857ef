"""What happens to the files of a folder, as it happens: the moments at which a run is broken.

A moment is an event, never a time: "part 3 of audio/ has been begun". The kernel reports
events through inotify, so that none is missed between two looks, and the run itself is not
slowed down. Folders that are made meanwhile are watched from then on, and what was made in
them before is told as well.
"""

import ctypes
import os
import select
import struct
from collections.abc import Iterator
from pathlib import Path

Event = tuple[str, str]
"""What happened (`begun`, `written`, `named`, `removed`), and the path below the root."""

_CREATE, _MODIFY, _MOVED_TO, _DELETE = 0x100, 0x2, 0x80, 0x200
_IS_FOLDER = 0x40000000
_KINDS = {_CREATE: "begun", _MODIFY: "written", _MOVED_TO: "named", _DELETE: "removed"}
_HEADER = struct.Struct("iIII")
_LIBC = ctypes.CDLL(None, use_errno=True)


class FolderWatch:
    """Reports what happens below a folder that exists."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._descriptor = _LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._descriptor >= 0, os.strerror(ctypes.get_errno())
        self._folders: dict[int, Path] = {}
        self._told: set[Event] = set()
        for _ in self._watch(root):
            pass

    def close(self) -> None:
        os.close(self._descriptor)

    def events(self, timeout_s: float) -> Iterator[Event]:
        """Yields what happened since, each event once; nothing if nothing does for so long."""
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return
        try:
            content = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return
        at = 0
        while at < len(content):
            number, mask, _, length = _HEADER.unpack_from(content, at)
            at += _HEADER.size
            name = content[at : at + length].rstrip(b"\0").decode()
            at += length
            yield from self._new(number, mask, name)

    def _new(self, number: int, mask: int, name: str) -> Iterator[Event]:
        folder = self._folders.get(number)
        if folder is None or not name:
            return
        path = folder / name
        if mask & _IS_FOLDER:
            if mask & (_CREATE | _MOVED_TO):
                yield from self._watch(path)
            return
        yield from self._tell(_KINDS[mask & ~_IS_FOLDER], path)

    def _tell(self, kind: str, path: Path) -> Iterator[Event]:
        event = kind, str(path.relative_to(self._root))
        if event not in self._told:
            self._told.add(event)
            yield event

    def _watch(self, folder: Path) -> Iterator[Event]:
        mask = _CREATE | _MODIFY | _MOVED_TO | _DELETE
        number = _LIBC.inotify_add_watch(self._descriptor, os.fsencode(folder), mask)
        if number < 0:  # it is gone again
            return
        self._folders[number] = folder
        try:
            inside = sorted(folder.iterdir())
        except OSError:
            return
        for path in inside:
            if path.is_dir():
                yield from self._watch(path)
            else:
                yield from self._tell("begun", path)
