"""A folder of object storage and its copy on this disk, kept the same.

    pull      what is in the storage is fetched; the copy is only read
    settle    both ways, before a run goes on: what a killed run had not sent yet is sent, what
              another machine made is fetched
    send      a file that was committed here, in the background while the run goes on

Each file is whole or absent on both sides: an upload is visible when it is complete, a
download gets its name when it is complete. Listings may be late, so a dataset's manifests, which
go last, say what belongs to it: what a listing leaves out is asked for by name where a manifest
that was fetched names it, before it is sent, and before it is taken for removed.

What is the same on both sides stands in `.mirror.jsonl` beside the files: a line for each
transfer, with the mark that the storage gives the content (ETag) and with size and time here. So
it is known on which side a file has changed since. Names that begin with a dot stay here: locks,
leases, temporary and intermediate files.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Self

from sllm_data.errors import OutputError, StorageError
from sllm_data.files import TEMPORARY_SUFFIX, atomic_path, sha256_of_file, writing
from sllm_data.storage.lease import Lease
from sllm_data.storage.store import Entry, Store

_STATE = ".mirror.jsonl"
_THREADS = 8
_PART = re.compile(r"(?:[a-z][\w.]*/){1,2}part-\d+\.parquet")
_REMOVED = ("candidates/", "rejections/")
"""What a run may remove: the parts of a listing that was not finished."""

Begin = Callable[[int], Callable[[int], None]]
"""Told how many files will be moved; what it returns is told of each: a bar, say."""


def _unseen(_: int) -> Callable[[int], None]:
    return lambda _: None


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A file that was the same on both sides when this was written down."""

    mark: str
    size: int
    mtime_ns: int


class Mirror:
    """The copy of one folder. One process writes it at a time; its threads may share it.

    Args:
        root: The copy.
        store: What it is a copy of.
        lease: Checked before anything is sent; None where nothing is.
    """

    def __init__(self, root: Path, store: Store, *, lease: Lease | None = None) -> None:
        self._root = root
        self._store = store
        self._lease = lease
        self._state = _State(root / _STATE)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="storage")
        self._sending: dict[str, Future[None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._state.close()

    def pull(self, begin: Begin = _unseen, *, only: str | None = None) -> int:
        """Fetches what is not here, or has changed in the storage; returns how many files.

        What was fetched once and is gone from the storage goes here, too.

        Args:
            begin: Told how many files there are.
            only: The one file that is asked for; all of them where it is absent.

        Raises:
            StorageError: The storage can't be reached, or lost a file in the middle.
            OutputError: The copy can't be written.
        """
        if only is not None:
            entry = self._store.entry(only)
            if entry is not None and self._is_old(only, entry):
                self._fetch(only)
            return 1
        there = self._there()
        wanted = [name for name, entry in there.items() if self._is_old(name, entry)]
        self._move(self._fetch, _in_order(wanted), begin(len(wanted)))
        for name in self._state.names() - set(there):
            if self._is_gone(name):
                self._forget(name)
        return len(wanted) + self._fetch_named(wanted, there)

    def settle(self, begin: Begin = _unseen) -> int:
        """Makes both sides the same before a run goes on; returns how many files moved.

        Raises:
            OutputError: A file has changed on both sides.
            StorageError: The storage can't be reached.
        """
        there, here = self._there(), set(self._here())
        there |= self._asked([n for n in here if n not in there and self._has_changed(n)])
        fetch = [n for n, entry in there.items() if n not in here or self._is_old(n, entry)]
        send = []
        fetched = set(fetch)
        for name in here:
            if self._has_changed(name):
                if name not in fetched:
                    send.append(name)
            elif name not in there and self._is_gone(name):
                self._forget(name)
        for name in [n for n in fetch if n in here and n in self._state]:
            if self._has_changed(name):
                self._compare(name, there[name])
                fetch.remove(name)
        if any(name in here and name not in self._state for name in fetch):
            # another machine made what this one had not sent: its manifests are not of these files
            for name in [n for n in send if n.startswith("manifest/")]:
                self._forget(name)
                send.remove(name)
        moved = begin(len(fetch) + len(send))
        self._move(self._fetch, _in_order(fetch), moved)
        named = self._fetch_named(fetch, there)
        self._move(self._send, _in_order(send), moved)
        return len(fetch) + named + len(send)

    def send_soon(self, names: Iterable[str]) -> None:
        """Sends files that were committed, in the background.

        Raises:
            StorageError: An earlier one could not be sent.
        """
        self._check_lease()
        for name, running in list(self._sending.items()):
            if running.done():
                del self._sending[name]
                running.result()
        for name in names:
            if name not in self._sending:
                self._sending[name] = self._threads.submit(self._send, name)

    def send_changed(self) -> None:
        """Sends all that was written or removed here since, manifests last; waits for it.

        Raises:
            StorageError: It could not be sent; it is sent when the run is started again.
            OutputError: A file that no step removes is not in the copy any more.
        """
        sending, self._sending = self._sending, {}
        for running in sending.values():
            running.result()
        here = set(self._here())
        changed = [name for name in here if self._has_changed(name)]
        self._move(self._send, _in_order(changed), _unseen(len(changed)))
        for name in sorted(self._state.names() - here):
            if not name.startswith(_REMOVED):
                raise OutputError(
                    f"{self._root / name}: must stay in the copy while a run goes on, it went; "
                    "nothing was removed from the storage: run the same command again"
                )
            self._check_lease()
            self._store.remove(name)
            self._state.forget(name)

    def _there(self) -> dict[str, Entry]:
        return {name: e for name, e in self._store.entries().items() if self._is_ours(name)}

    def _asked(self, names: Sequence[str]) -> dict[str, Entry]:
        """Those of some names that are in the storage, whatever it lists."""
        entries = self._threads.map(self._store.entry, names)
        return {n: entry for n, entry in zip(names, entries, strict=True) if entry is not None}

    def _fetch_named(self, fetched: Iterable[str], there: Mapping[str, Entry]) -> int:
        """Fetches parts that were not listed, and that a manifest names which was fetched."""
        named: set[str] = set()
        for name in fetched:
            if name.startswith("manifest/"):
                named |= _parts_in(self._root / name)
        missing = [name for name in named - there.keys() if not (self._root / name).exists()]
        late = self._asked(missing)  # what is not there either, its reader misses
        self._move(self._fetch, _in_order(late), _unseen(len(late)))
        return len(late)

    def _is_ours(self, name: str) -> bool:
        parts = name.split("/")
        if not name.isprintable() or not {"", ".", ".."}.isdisjoint(parts):
            raise StorageError(
                f"{self._store.url}: every object must have a name that a file may have, found "
                f"{name!r}; move it elsewhere"
            )
        return not any(part.startswith(".") for part in parts)

    def _here(self) -> Iterator[str]:
        def lost(error: OSError) -> None:
            raise error

        with writing(self._root):  # a folder that can't be listed is not an empty one
            for folder, folders, names in os.walk(self._root, onerror=lost):
                folders[:] = [name for name in folders if not name.startswith(".")]
                below = Path(folder).relative_to(self._root)
                yield from ((below / n).as_posix() for n in names if not n.startswith("."))

    def _is_gone(self, name: str) -> bool:
        """Whether somebody removed a file from the storage; a listing may be late."""
        is_here = (self._root / name).exists()
        return not (is_here and self._has_changed(name)) and self._store.entry(name) is None

    def _is_old(self, name: str, entry: Entry) -> bool:
        known = self._state.get(name)
        return known is None or known.mark != entry.mark or not (self._root / name).exists()

    def _has_changed(self, name: str) -> bool:
        known = self._state.get(name)
        if known is None:
            return True
        found = (self._root / name).stat()
        return (found.st_size, found.st_mtime_ns) != (known.size, known.mtime_ns)

    def _move(
        self,
        one: Callable[[str], None],
        groups: Iterable[list[str]],
        moved: Callable[[int], None],
    ) -> None:
        for names in groups:
            for _ in self._threads.map(one, names):
                moved(1)

    def _fetch(self, name: str) -> None:
        path = self._root / name
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        entry = self._store.get(name, path)
        self._note(name, entry, path.stat())

    def _send(self, name: str) -> None:
        if self._has_changed(name):
            self._check_lease()
            before = (self._root / name).stat()  # what is written anew meanwhile is sent again
            self._note(name, self._store.put(self._root / name, name), before)

    def _compare(self, name: str, entry: Entry) -> None:
        """Settles a file that differs from what is known on both sides: sent by a killed run?"""
        path = self._root / name
        other = path.with_name(f".{path.name}.there{TEMPORARY_SUFFIX}")
        try:
            self._store.get(name, other)
            if sha256_of_file(other) != sha256_of_file(path):
                raise OutputError(
                    f"{path}: has changed here and in {self._store.url} since both were the same; "
                    "keep one: remove it here, or there, then run the same command again"
                )
        finally:
            other.unlink(missing_ok=True)
        self._note(name, entry, path.stat())

    def _check_lease(self) -> None:
        if self._lease is not None:
            self._lease.check()

    def _note(self, name: str, entry: Entry, found: os.stat_result) -> None:
        known = Known(mark=entry.mark, size=found.st_size, mtime_ns=found.st_mtime_ns)
        self._state.note(name, known)

    def _forget(self, name: str) -> None:
        with writing(self._root / name):
            (self._root / name).unlink(missing_ok=True)
        self._state.forget(name)


def _in_order(names: Iterable[str]) -> Iterator[list[str]]:
    """Groups that are moved one after the other: run.yaml, parts, manifests, cards."""
    groups: list[list[str]] = [[], [], [], []]
    for name in sorted(names):
        if name == "run.yaml":
            groups[0].append(name)
        elif name.startswith("manifest/"):
            groups[2].append(name)
        else:
            groups[1 if "/" in name else 3].append(name)
    yield from groups


def _parts_in(manifest: Path) -> set[str]:
    """The parts that a file names, if it is a manifest."""
    try:
        files = [part["file"] for part in json.loads(manifest.read_bytes())["parts"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return set()  # whoever reads it has a sentence for that
    return {file for file in files if isinstance(file, str) and _PART.fullmatch(file)}


class _State:
    """What is known to be the same on both sides: a file of lines, the last of a name counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._known: dict[str, Known] = dict(_read(path))
        with writing(path):
            with atomic_path(path) as temporary:
                temporary.write_text("".join(_lines(self._known)), encoding="utf-8")
            self._file = path.open("a", encoding="utf-8")

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def get(self, name: str) -> Known | None:
        return self._known.get(name)

    def names(self) -> set[str]:
        return set(self._known)

    def note(self, name: str, known: Known) -> None:
        with self._lock, writing(self._path):
            self._known[name] = known
            self._file.writelines(_lines({name: known}))
            self._file.flush()

    def forget(self, name: str) -> None:
        with self._lock, writing(self._path):
            self._known.pop(name, None)
            self._file.write(json.dumps({"name": name}) + "\n")
            self._file.flush()

    def close(self) -> None:
        with writing(self._path):
            self._file.close()


def _lines(known: Mapping[str, Known]) -> Iterator[str]:
    for name, each in known.items():
        yield json.dumps({"name": name} | asdict(each), ensure_ascii=False) + "\n"


def _read(path: Path) -> Iterator[tuple[str, Known]]:
    """What stands in the file; a line that was cut by a kill says nothing of its file."""
    found: dict[str, Known] = {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            fields = json.loads(line)
            name = fields.pop("name")
            if fields:
                found[name] = Known(**fields)
            else:
                found.pop(name, None)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    yield from found.items()
