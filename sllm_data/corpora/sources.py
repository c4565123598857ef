"""Audio in a corpus folder, in plain files or in archives: one clip as bytes, or a long file.

Nothing outside the folder is opened, whatever a table says, and nothing is decoded here.
A path is relative to the folder: `wavs/a.wav`, or `shards/audio_0.tar:a.wav` for a member.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sllm_data.audio.window import FileWindow
from sllm_data.corpora.archive_index import Kind, Member, index_of
from sllm_data.corpora.archives import content_start, read_member, split_member
from sllm_data.corpora.audio_file import AudioFile, Unfit
from sllm_data.corpora.folders import is_file, stays_inside
from sllm_data.errors import CorpusError
from sllm_data.records import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an audio file lies; it is there, and inside the corpus folder."""

    path: Path
    """The file, or the archive that holds it."""
    member: Member | None
    name: str
    """Of the file or member, without folders."""


def find_audio(root: Path, relative: str) -> Place | Unfit:
    """Looks for an audio file without opening it, or says why it can't be used.

    Raises:
        CorpusError: An archive as a whole is unreadable.
    """
    file, member = split_member(relative)
    path = stays_inside(root, file)
    if path is None:
        return Reason.PATH_OUTSIDE_CORPUS, f"{file[:80]!r} must stay in the corpus folder"
    if not is_file(path):
        return Reason.AUDIO_MISSING, f"{file} must be a file, there is none"
    if member is None:
        return Place(path=path, member=None, name=PurePosixPath(file).name)
    found = index_of(path).find(member)
    if isinstance(found, Member):
        return Place(path=path, member=found, name=PurePosixPath(member).name)
    reason, detail = found
    return reason, f"{file}: {detail}"


def read_file(root: Path, relative: str, *, max_bytes: int) -> AudioFile | Unfit:
    """Reads an audio file whole, or says why it can't be used.

    Raises:
        CorpusError: The storage failed while reading, or an archive as a whole is unreadable.
    """
    place = find_audio(root, relative)
    if not isinstance(place, Place):
        return place
    with _storage(place.path):
        content = _content(place, max_bytes)
    return AudioFile(content=content, name=place.name) if isinstance(content, bytes) else content


@contextmanager
def long_file(root: Path, relative: str, *, max_bytes: int) -> Iterator[FileWindow | Unfit]:
    """Opens an audio file of any length to cut from it, or says why it can't be used.

    An OSError of the block under `with` counts as one of the storage.

    Args:
        root: The corpus folder.
        relative: Path of the file or member in it.
        max_bytes: Bound for what must be in memory as a whole: a deflated member.

    Raises:
        CorpusError: As for `read_file`.
    """
    place = find_audio(root, relative)
    if not isinstance(place, Place):
        yield place
        return
    with _storage(place.path), place.path.open("rb") as file:
        member = place.member
        if member is None:
            yield FileWindow(file, size=os.fstat(file.fileno()).st_size)
        elif member.kind is not Kind.DEFLATED:
            yield FileWindow(file, start=content_start(file, member), size=member.stored)
        else:
            yield _inflated(file, member, max_bytes)


def _inflated(file: BinaryIO, member: Member, max_bytes: int) -> FileWindow | Unfit:
    content = read_member(file, member, max_bytes=max_bytes)
    if not isinstance(content, bytes):
        return content
    return FileWindow(io.BytesIO(content), size=len(content))


def _content(place: Place, max_bytes: int) -> bytes | Unfit:
    with place.path.open("rb") as file:
        if place.member is not None:
            return read_member(file, place.member, max_bytes=max_bytes)
        num_bytes = os.fstat(file.fileno()).st_size
        if num_bytes > max_bytes:
            return Reason.TOO_LONG, f"must have at most {max_bytes} bytes, got {num_bytes}"
        return file.read()


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Turns an operating-system error into a CorpusError.

    A lost disk or mount would turn good clips into rejections for ever: the run stops instead.
    """
    try:
        yield
    except OSError as error:
        raise CorpusError(
            f"{path}: can't be read: {error.strerror or error}; "
            "check the storage and the permissions, then run the same command again"
        ) from error
