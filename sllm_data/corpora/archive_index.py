"""Which members a tar or zip archive has, and where: its directory as a table in memory.

The directory is read once in a process and kept as hashes and places, 53 bytes a member, so
that any member is one read away in whatever order they are asked for. Only plain tars and
zips can do that: a compressed tar has no places. No member is read here.
"""

import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from stat import S_ISLNK
from typing import Any, BinaryIO

import numpy as np

from sllm_data.corpora.audio_file import Unfit
from sllm_data.corpora.folders import readable
from sllm_data.errors import CorpusError
from sllm_data.records import Reason
from sllm_data.seeding import hash128

_MAX_HEADER_BYTES = 1 << 20
_MAX_INDEX_BYTES = 256 * 2**20
_BLOCK_BYTES = 512

_ROW = np.dtype(
    [
        ("high", "u8"),
        ("low", "u8"),
        ("start", "i8"),
        ("stored", "i8"),
        ("size", "i8"),
        ("crc", "u4"),
        ("kind", "u1"),
    ]
)
# what damaged headers make tarfile and zipfile raise; found by tests/corpora/test_archives.py
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    ValueError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    EOFError,
)


class Kind(IntEnum):
    """How a member stands in its archive, or why it can't be read."""

    TAR = 0
    STORED = 1
    DEFLATED = 2
    NO_FILE = 3
    LOCKED = 4
    UNKNOWN = 5


_PROBLEMS = {
    Kind.NO_FILE: "must be a file, is a link, a device or a sparse file",
    Kind.LOCKED: "must be readable without a password, is encrypted",
    Kind.UNKNOWN: "must be stored or deflated, is compressed in another way",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """Where the bytes of one member stand."""

    start: int
    """First byte: of its content in a tar, of its local header in a zip."""
    stored: int
    """Bytes in the archive."""
    size: int
    """Bytes of the content."""
    crc: int
    kind: Kind


class ArchiveIndex:
    """The members of one archive by their names; of a name that stands twice the last counts."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows[np.argsort(rows["high"], kind="stable")]
        self._high = np.ascontiguousarray(self._rows["high"])  # or each search would copy it
        self.num_bytes = self._rows.nbytes + self._high.nbytes

    def find(self, name: str) -> Member | Unfit:
        """Returns the place of a member, or why it can't be used."""
        normal = _normal(name)
        if normal.startswith("/") or ".." in normal.split("/"):
            return Reason.PATH_OUTSIDE_CORPUS, f"{name[:80]!r} must stay in the archive"
        high, low = map(np.uint64, _hashes(normal))
        first = np.searchsorted(self._high, high, "left")
        stop = np.searchsorted(self._high, high, "right")
        for row in self._rows[first:stop][::-1]:
            if row["low"] == low:
                kind = Kind(row["kind"])
                if kind in _PROBLEMS:
                    return Reason.AUDIO_MISSING, f"{name[:80]!r} in it {_PROBLEMS[kind]}"
                return Member(
                    start=int(row["start"]),
                    stored=int(row["stored"]),
                    size=int(row["size"]),
                    crc=int(row["crc"]),
                    kind=kind,
                )
        return Reason.AUDIO_MISSING, f"{name[:80]!r} must be a member of it, is none"


class _Indexes:
    """The indexes of the archives that were used last, up to a bound on their memory."""

    def __init__(self, max_bytes: int = _MAX_INDEX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._indexes: OrderedDict[tuple[str, int, int], ArchiveIndex] = OrderedDict()
        self._num_bytes = 0

    def of(self, path: Path) -> ArchiveIndex:
        """Returns the index of an archive; one that changed is read again."""
        with readable(path):
            about = path.stat()
        key = (str(path), about.st_mtime_ns, about.st_size)
        if key in self._indexes:
            self._indexes.move_to_end(key)
            return self._indexes[key]
        index = read_index(path)
        self._indexes[key] = index
        self._num_bytes += index.num_bytes
        while self._num_bytes > self._max_bytes and len(self._indexes) > 1:
            _, oldest = self._indexes.popitem(last=False)
            self._num_bytes -= oldest.num_bytes
        return index


_indexes = _Indexes()


def index_of(path: Path) -> ArchiveIndex:
    """Returns the members of an archive, from memory where it was used before.

    Raises:
        CorpusError: It is no archive, or damaged.
    """
    return _indexes.of(path)


def read_index(path: Path) -> ArchiveIndex:
    """Reads the directory of an archive.

    Raises:
        CorpusError: It is neither a plain tar nor a zip, or it is damaged.
    """
    suffix = path.suffix.lower()
    if suffix not in (".tar", ".zip"):
        raise CorpusError(
            f"{path}: can't be read member by member, since it is compressed as a whole; "
            "uncompress it to a .tar"
        )
    members = _tar_members if suffix == ".tar" else _zip_members
    with readable(path), path.open("rb") as file:
        try:
            rows = np.fromiter(members(file), _ROW)
        except _DAMAGE as error:
            raise CorpusError(
                f"{path}: must be a plain {suffix} archive, found: {error}; "
                "get it again, or uncompress it where it is compressed as a whole"
            ) from error
    return ArchiveIndex(rows)


class _HeaderFile:
    """What tarfile reads headers from: one that claims to be huge is damage, not memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


def _tar_members(file: BinaryIO) -> Iterator[tuple[int, ...]]:
    # Any: tarfile needs less of a file, and has more of an archive, than annotations say
    headers: Any = _HeaderFile(file)
    archive: Any = tarfile.TarFile(fileobj=headers)
    last = -1
    while (info := archive.next()) is not None:
        if info.offset <= last:
            raise tarfile.ReadError("a header that leads backwards")
        last = info.offset
        archive.members.clear()  # it would keep them all
        kind = (
            Kind.TAR if info.isreg() and not info.issparse() and info.size >= 0 else Kind.NO_FILE
        )
        if not info.isdir():
            yield (*_hashes(_normal(info.name)), info.offset_data, info.size, info.size, 0, kind)
    # tarfile takes a damaged header for the end; the true end is a block of zeros, or none
    file.seek(archive.offset)
    if file.read(_BLOCK_BYTES).strip(b"\0"):
        raise tarfile.ReadError(f"no header at byte {archive.offset}")


def _zip_members(file: BinaryIO) -> Iterator[tuple[int, ...]]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.filename or info.is_dir():  # no line of a manifest can name nothing
                continue
            place = (info.header_offset, info.compress_size, info.file_size, info.CRC)
            yield (*_hashes(_normal(info.filename)), *place, _zip_kind(info))


def _zip_kind(info: zipfile.ZipInfo) -> Kind:
    if S_ISLNK(info.external_attr >> 16):
        return Kind.NO_FILE
    if info.flag_bits & 1:
        return Kind.LOCKED
    kinds = {zipfile.ZIP_STORED: Kind.STORED, zipfile.ZIP_DEFLATED: Kind.DEFLATED}
    return kinds.get(info.compress_type, Kind.UNKNOWN)


def _normal(name: str) -> str:
    while name.startswith("./"):
        name = name.removeprefix("./")
    return name


def _hashes(name: str) -> tuple[int, int]:
    digits = hash128(name)
    return int(digits[:16], 16), int(digits[16:], 16)
