"""One folder of object storage, by its URL: list, fetch, send, whole or not at all.

    s3://bucket/folder       Amazon S3 and what speaks like it (AWS_ENDPOINT_URL)
    gs://bucket/folder       Google Cloud Storage (the extra `gs`)
    hf://datasets/owner/name the hub; each file is a commit, `publish` does better
    file:///folder           this disk
    memory://folder          this process, for trials

Credentials come from where each storage's own tools look for them, never from the URL. What may
pass (503, a lost connection, no name server) is waited out; what won't is said at once. No error
holds text from a storage or its library, which might quote a key.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

from botocore.exceptions import BotoCoreError

from sllm_data.errors import ConfigError, StorageError
from sllm_data.files import atomic_path, sha256_of_file, writing
from sllm_data.storage.backend import Backend, ChangedError, Entry
from sllm_data.storage.faults import fault_of
from sllm_data.storage.patience import Patience, Waits

__all__ = ["Entry", "Store", "is_url"]

T = TypeVar("T")

_PROTOCOLS = ("s3", "gs", "hf", "file", "memory")
_URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]+)://(?P<rest>.*)", re.DOTALL)
_PIECE = 16 * 2**20
_READS = 5
"""How often an object is read anew that is written anew meanwhile."""
_ANSWER_S = 60.0


def is_url(text: str) -> bool:
    r"""Whether a text is a URL, not a path of this disk.

    >>> is_url("s3://bucket/folder"), is_url("C:\\data"), is_url("data")
    (True, False, False)
    """
    return _URL.fullmatch(text) is not None


class Store:
    """A folder of a storage. Threads may share it; a process that is spawned opens it anew.

    Open it by `Store.open`.
    """

    def __init__(self, url: str, backend: Backend, *, patience_s: float) -> None:
        self.url = url
        """As shown in messages; it holds no credentials."""
        self._backend = backend
        self._patience_s = patience_s
        self._waits = Waits()

    def __reduce__(self) -> tuple[Callable[..., "Store"], tuple[str, float]]:
        return _made, (self.url, self._patience_s)

    @classmethod
    def open(cls, url: str, *, patience_s: float = 300.0) -> "Store":
        """Opens a folder, which need not hold anything yet, and sees that it can be reached.

        Args:
            url: Its URL.
            patience_s: How long a storage may go without answering, in seconds.

        Raises:
            ConfigError: No such kind of storage, no bucket, or credentials in the URL.
            StorageError: It can't be reached, there is no such bucket, or it is not allowed.
        """
        store = _made(url, patience_s)
        store._patiently(store._backend.check)  # noqa: SLF001 - of this very class
        return store

    def entries(self, prefix: str = "") -> dict[str, Entry]:
        """All objects below the folder whose relative name begins with `prefix`.

        Raises:
            StorageError: The storage can't be reached.
        """
        return self._patiently(lambda: self._backend.entries(prefix))

    def entry(self, name: str) -> Entry | None:
        """One object; None where there is none.

        Raises:
            StorageError: The storage can't be reached.
        """
        return self._patiently(lambda: self._backend.entry(_checked(name)), name)

    def digest(self, name: str) -> str | None:
        """The SHA-256 of an object: as the storage tells it, else of its content, which is read.

        Raises:
            StorageError: The storage can't be reached.
        """
        for _ in range(_READS):
            entry = self.entry(name)
            if entry is None or entry.sha256 is not None:
                return None if entry is None else entry.sha256
            found = hashlib.sha256()
            try:
                for piece in self._pieces(name, entry):
                    found.update(piece)
            except ChangedError:
                continue
            return found.hexdigest()
        raise StorageError(self._unsteady(name))

    def put(self, path: Path, name: str) -> Entry:
        """Sends a file. Readers see the whole of it or what was there before.

        A broken upload is aborted, and one of a killed process by the next `put` of this name.
        What arrived is compared by size, and by the digest where the storage tells it.

        Raises:
            StorageError: It could not be sent, or something else arrived.
            OutputError: The file can't be read.
        """
        with writing(path):
            size, sha256 = path.stat().st_size, sha256_of_file(path)
        patience = self._patience(name)
        try:
            self._final(
                lambda: self._backend.put(path, _checked(name), sha256=sha256, patiently=patience),
                name,
            )
        except ChangedError:
            raise StorageError(
                f"{path}: must not change while it is sent, it did; run the same command again"
            ) from None
        entry = self.entry(name)
        if entry is None or entry.size != size or entry.sha256 not in (None, sha256):
            found = "nothing" if entry is None else f"{entry.size} bytes"
            raise StorageError(
                f"{self._named(name)}: must hold what was sent, {size} bytes, found {found}; does "
                "another run write the same folder? Run the same command again"
            )
        return entry

    def get(self, name: str, path: Path) -> Entry:
        """Fetches an object to a file, which is whole or not there.

        Raises:
            StorageError: There is no such object, it can't be fetched, or changes all the time.
            OutputError: The file can't be written.
        """
        for _ in range(_READS):
            try:
                return self._fetch(name, path)
            except ChangedError:
                continue
        raise StorageError(self._unsteady(name))

    def read(self, name: str, *, max_bytes: int) -> bytes | None:
        """The content of a small object; None where there is none.

        Raises:
            StorageError: It can't be reached, is larger, or changes all the time.
        """
        for _ in range(_READS):
            if (entry := self.entry(name)) is None:
                return None
            if entry.size > max_bytes:
                raise StorageError(
                    f"{self._named(name)}: must be at most {max_bytes} bytes, got {entry.size}; "
                    "remove it"
                )
            try:
                return b"".join(self._pieces(name, entry))
            except ChangedError:
                continue
        raise StorageError(self._unsteady(name))

    def write(self, name: str, content: bytes, *, only_new: bool = False) -> bool:
        """Writes a small object; returns False where `only_new` and there is one already.

        S3, gs, disk and memory decide that themselves, so that of two at once one gets False. The
        hub, and what speaks like S3 but does not know If-None-Match, can't: there it is looked
        for just before. A content that equals this one counts as this one: the answer to a try
        may have been lost. So writers that compete put their own name into it.

        Raises:
            StorageError: The storage can't be reached.
        """
        try:
            self._patiently(
                lambda: self._backend.write(_checked(name), content, only_new=only_new), name
            )
        except FileExistsError:
            # a try whose answer was lost may have written it; aiohttp makes one more by itself
            return self.read(name, max_bytes=2**24) == content
        return True

    def remove(self, name: str) -> None:
        """Removes an object; it need not be there.

        Raises:
            StorageError: The storage can't be reached.
        """
        self._patiently(lambda: self._backend.remove(_checked(name)), name)

    def _fetch(self, name: str, path: Path) -> Entry:
        if (entry := self.entry(name)) is None:
            raise StorageError(
                f"{self._named(name)}: must be there, it is not; was it removed, or is it still "
                "being written?"
            )
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            found = hashlib.sha256()
            for piece in self._pieces(name, entry):
                found.update(piece)
                file.write(piece)
            if entry.sha256 not in (None, found.hexdigest()):
                raise StorageError(
                    f"{self._named(name)}: must have the digest that was stored with it, it does "
                    "not; it is damaged: send it again"
                )
        return entry

    def _pieces(self, name: str, entry: Entry) -> Iterator[bytes]:
        for start in range(0, entry.size, _PIECE):
            stop = min(start + _PIECE, entry.size)
            yield self._patiently(partial(self._backend.piece, name, start, stop, of=entry), name)

    def _patience(self, name: str = "") -> Patience:
        rights = self._backend.rights
        return Patience(
            self._named(name), patience_s=self._patience_s, rights=rights, waits=self._waits
        )

    def _patiently(self, call: Callable[[], T], name: str = "") -> T:
        patience = self._patience(name)
        return self._final(lambda: patience(call), name)

    def _final(self, call: Callable[[], T], name: str) -> T:
        """Says of what won't pass why; what has a meaning to the caller goes through."""
        try:
            return call()
        except (ChangedError, FileExistsError):
            raise
        except FileNotFoundError as error:
            why = fault_of(error).why
            raise StorageError(
                f"{self._named(name)}: the bucket or repository must exist, found: {why}; check "
                "the URL, or create it"
            ) from None
        except (ValueError, OSError, RuntimeError, BotoCoreError) as error:
            raise StorageError(
                f"{self._named(name)}: the storage must do what it is asked, found: "
                f"{fault_of(error).why}; check the URL and the storage"
            ) from None

    def _unsteady(self, name: str) -> str:
        return (
            f"{self._named(name)}: must not change while it is read, it did {_READS} times; wait "
            "for its writer to end"
        )

    def _named(self, name: str) -> str:
        return f"{self.url}/{name}" if name else self.url


def _made(url: str, patience_s: float) -> Store:
    """A Store that has not asked for anything yet."""
    protocol, rest = _split(url)
    shown = f"{protocol}://{rest}"
    if protocol == "file":
        from sllm_data.storage.disk import DiskFolder  # noqa: PLC0415 - as below

        root = Path("/" + rest.lstrip("/"))
        return Store(f"file://{root}", DiskFolder(root), patience_s=patience_s)
    bucket, _, folder = rest.partition("/")
    if protocol == "s3":
        from sllm_data.storage.s3 import S3Folder  # noqa: PLC0415 - takes most of a second

        answer_s = max(1.0, min(_ANSWER_S, patience_s / 5))
        return Store(shown, S3Folder(bucket, folder, answer_s=answer_s), patience_s=patience_s)
    from sllm_data.storage.filesystems import FilesystemFolder  # noqa: PLC0415 - as above

    return Store(shown, FilesystemFolder(protocol, rest), patience_s=patience_s)


def _split(url: str) -> tuple[str, str]:
    """Protocol and rest of a URL that may be used; an error shows no more than the protocol."""
    found = _URL.fullmatch(url)
    if found is None or found["protocol"] not in _PROTOCOLS:
        got = f"{found['protocol']}://" if found else "no protocol"
        raise ConfigError(
            f"a storage must be one of {', '.join(f'{p}://' for p in _PROTOCOLS)}, got {got}"
        )
    protocol, rest = found["protocol"], found["rest"].rstrip("/")
    first = rest.split("/")[0]
    if protocol != "file" and ("@" in first or re.search(r"[?#]", rest)):
        raise ConfigError(
            f"a URL must hold no user, password, key or query, got one of {protocol}:// that "
            "does; credentials come from the environment"
        )
    names = rest.lstrip("/").split("/") if protocol == "file" else rest.split("/")
    if any(part in ("", ".", "..") or not part.isprintable() for part in names):
        raise ConfigError(
            f"a URL must be {protocol}://bucket/folder, without empty names or '..', got "
            f"{protocol}://{rest}"
        )
    return protocol, rest


def _checked(name: str) -> str:
    """A name that stays below the folder; another is refused, whoever asks for it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name:
        raise StorageError(f"a name in a storage must be a relative path, got {name!r}")
    return name
