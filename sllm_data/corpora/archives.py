"""Members of tar and zip archives, read where they are: nothing is unpacked.

What an archive says about itself is not believed: sizes bound what is read and inflated, and
what comes out must have the size and checksum that were announced.
"""

import re
import zlib
from typing import BinaryIO

from sllm_data.corpora.archive_index import Kind, Member
from sllm_data.corpora.audio_file import Unfit
from sllm_data.records import Reason

_MEMBER = re.compile(
    r"(?P<archive>.+?\.(?:tar|zip|tgz|tbz2|txz|tar\.\w+)):(?P<member>.+)",
    re.DOTALL | re.IGNORECASE,
)
_LOCAL_HEADER_BYTES = 30
_DEFLATE_SLACK_BYTES = 1 << 16  # what deflate may add to bytes that don't get smaller


def split_member(path: str) -> tuple[str, str | None]:
    """Splits `archive.tar:member`; the member is None where the path names a plain file.

    >>> split_member("shards/audio_0.tar:a.wav"), split_member("a.wav")
    (('shards/audio_0.tar', 'a.wav'), ('a.wav', None))
    """
    found = _MEMBER.fullmatch(path)
    return (found["archive"], found["member"]) if found else (path, None)


def read_member(file: BinaryIO, member: Member, *, max_bytes: int) -> bytes | Unfit:
    """Reads a member of an open archive whole, or says why it can't be used.

    Raises:
        OSError: The storage failed.
    """
    if member.size > max_bytes or member.stored > max_bytes + _DEFLATE_SLACK_BYTES:
        num_bytes = max(member.size, member.stored)
        return Reason.TOO_LONG, f"must have at most {max_bytes} bytes, got {num_bytes}"
    file.seek(content_start(file, member))
    stored = file.read(member.stored)
    content = _inflated(stored, member.size) if member.kind is Kind.DEFLATED else stored
    is_sound = len(content) == member.size
    if member.kind is not Kind.TAR:
        is_sound = is_sound and zlib.crc32(content) == member.crc
    if not is_sound:
        return Reason.UNREADABLE_AUDIO, "must be whole in its archive, is cut off or damaged"
    return content


def content_start(file: BinaryIO, member: Member) -> int:
    """Returns where the stored bytes of a member begin in its archive."""
    if member.kind is Kind.TAR:
        return member.start
    # the names and extra fields beside a zip's members differ from those in its directory
    file.seek(member.start)
    header = file.read(_LOCAL_HEADER_BYTES)
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return member.start + _LOCAL_HEADER_BYTES + lengths


def _inflated(stored: bytes, size: int) -> bytes:
    """Inflates at most a byte more than announced; damaged bytes come out short."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(stored, size + 1)
    except zlib.error:
        return b""
