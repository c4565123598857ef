"""Where in a part of `audio/` the bytes of each clip stand, so that one is read without others.

pyarrow reads a whole row group, about 100 clips, to give one: a shuffled order would read the
dataset a hundred times. Parts are written so that it need not: the audio column is not
compressed and a page holds one clip, or several of less than 64 KiB together.

    row group -> pages, one behind the other: [header: sizes, checksum][levels][length, clip] ...

The headers are Thrift in its compact coding, of which a dozen lines are needed here. Cost: two
small reads a page to open a part, then one read for each clip, its checksum compared.
"""

import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sllm_data.errors import ShardError
from sllm_data.shards.parts import part_name

_COLUMN = "audio.bytes"
_HEAD = 512  # bytes that hold a page's header and levels; more are read where they don't
_TRUE = 1
_OPEN_FILES = 64
_SIZE, _CRC, _DATA_PAGE = 3, 4, 5  # fields of a page's header
_NUM_VALUES, _ENCODING = 1, 2  # fields of a data page's header
_PLAIN = 0
_REMEDY = "put back the part that sllm-data wrote"


@dataclass(frozen=True, slots=True)
class _Page:
    start: int
    """In the file, behind the header."""
    size: int
    crc: int | None


class ClipFile:
    """One part of `audio/`, open to read single clips."""

    def __init__(self, path: Path) -> None:
        """Finds the clips.

        Raises:
            ShardError: The part is missing, damaged, or not laid out as sllm-data does.
        """
        self._path = path
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise ShardError(
                f"{path}: the part must exist, found: {error.strerror}; {_REMEDY}"
            ) from error
        try:
            self._places = dict(self._find())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file; may be called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def read(self, audio_id: str) -> bytes:
        """Returns the encoded bytes of a clip.

        Raises:
            KeyError: The part has no such clip.
            ShardError: The bytes are not those that were written.
        """
        page, start, size = self._places[audio_id]
        content = os.pread(self._file, page.size, page.start)
        if len(content) < page.size or (page.crc is not None and zlib.crc32(content) != page.crc):
            raise self._error(f"other bytes than were written for {audio_id}")
        return content[start : start + size]

    def _find(self) -> Iterator[tuple[str, tuple[_Page, int, int]]]:
        try:
            with pq.ParquetFile(self._path) as part:
                names: list[str] = part.read(columns=["audio_id"])["audio_id"].to_pylist()
                groups = [part.metadata.row_group(k) for k in range(part.metadata.num_row_groups)]
        except Exception as error:  # pyarrow has a dozen for damage, some of them Python's own
            raise self._error(str(error).partition("\n")[0]) from error
        rows = iter(names)
        for group in groups:
            chunks = [group.column(k) for k in range(group.num_columns)]
            (chunk,) = (c for c in chunks if c.path_in_schema == _COLUMN)
            if chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
                raise self._error("audio that is compressed once more")
            position, left = chunk.data_page_offset, chunk.num_values
            while left > 0:
                page, num_values = self._page(position)
                for start, size in self._values(page, num_values):
                    yield next(rows), (page, start, size)
                position = page.start + page.size
                left -= num_values

    def _page(self, position: int) -> tuple[_Page, int]:
        head = os.pread(self._file, _HEAD, position)
        try:
            header, size = _read_struct(head, 0)
            values = header[_DATA_PAGE]
            if values[_ENCODING] != _PLAIN:
                raise self._error("audio that is not coded plainly")
            crc = header.get(_CRC)
            page = _Page(position + size, header[_SIZE], None if crc is None else crc & 0xFFFFFFFF)
            return page, values[_NUM_VALUES]
        except (KeyError, IndexError, TypeError) as error:
            raise self._error("no header where a page should begin") from error

    def _values(self, page: _Page, num_values: int) -> Iterator[tuple[int, int]]:
        """Yields start and size of each clip in a page."""
        position = 4 + self._number(page, 0)  # how deep each value is: never null, so not read
        for _ in range(num_values):
            size = self._number(page, position)
            yield position + 4, size
            position += 4 + size
        if position != page.size:
            raise self._error("clips that are longer or shorter than their page")

    def _number(self, page: _Page, position: int) -> int:
        if position + 4 > page.size:
            raise self._error("a page that ends within a clip")
        return int.from_bytes(os.pread(self._file, 4, page.start + position), "little")

    def _error(self, found: str) -> ShardError:
        return ShardError(
            f"{self._path}: must be a part of audio/ as sllm-data writes it, found: {found}; "
            f"{_REMEDY}"
        )


class StoredClips:
    """The clips of a dataset as they are stored; the parts that were read last stay open."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: OrderedDict[int, ClipFile] = OrderedDict()

    def bytes_of(self, audio_part: int, audio_id: str) -> bytes:
        """Returns the encoded bytes of a clip.

        Raises:
            ShardError: The part can't be read, or does not hold the clip.
        """
        file = self._open.pop(audio_part, None)
        if file is None:
            file = ClipFile(self._root / "audio" / part_name(audio_part))
        self._open[audio_part] = file
        if len(self._open) > _OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        try:
            return file.read(audio_id)
        except KeyError as error:
            raise ShardError(
                f"{self._root}: audio/{part_name(audio_part)} must hold {audio_id}, does not; "
                f"{_REMEDY}"
            ) from error

    def close(self) -> None:
        """Closes all parts."""
        while self._open:
            self._open.popitem()[1].close()


def _read_struct(content: bytes, position: int) -> tuple[dict[int, Any], int]:
    """Returns the fields of a Thrift struct by number, and where it ends.

    Raises:
        IndexError: It goes on behind the content.
    """
    fields: dict[int, Any] = {}  # Any: numbers, bytes, structs of the same kind
    number = 0
    while kind := content[position]:
        position += 1
        if step := kind >> 4:
            number += step
        else:
            number, position = _read_number(content, position)
        fields[number], position = _read_value(content, position, kind & 15)
    return fields, position + 1


def _read_value(content: bytes, position: int, kind: int) -> tuple[Any, int]:  # Any: as above
    match kind:
        case 1 | 2:
            return kind == _TRUE, position
        case 3:
            return content[position], position + 1
        case 7:
            return None, position + 8
        case 8:
            size, position = _read_varint(content, position)
            return content[position : position + size], position + size
        case 12:
            return _read_struct(content, position)
        case 9:
            raise TypeError("a page's header holds no list")
        case _:
            return _read_number(content, position)


def _read_number(content: bytes, position: int) -> tuple[int, int]:
    value, position = _read_varint(content, position)
    return (value >> 1) ^ -(value & 1), position


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:  # noqa: PLR2004 - the bit that says that more follow
            return value, position
        shift += 7
