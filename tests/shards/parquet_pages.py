"""The data pages of a Parquet column, read from the page headers: pyarrow does not tell.

A page header is a Thrift struct in the compact protocol. Only what such headers use is read
here: booleans, integers, binaries and structs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

_COMPRESSED_SIZE, _CRC, _DATA_PAGE = 3, 4, 5  # fields of a page header
_NUM_VALUES, _ENCODING = 1, 2  # fields of a data page header


@dataclass(frozen=True, kw_only=True)
class Page:
    """One data page."""

    num_values: int
    num_bytes: int
    encoding: int
    """0 is PLAIN."""
    has_checksum: bool


class _Compact:
    def __init__(self, content: bytes, at: int) -> None:
        self.content, self.at = content, at

    def byte(self) -> int:
        self.at += 1
        return self.content[self.at - 1]

    def varint(self) -> int:
        result = shift = 0
        while (byte := self.byte()) & 0x80:
            result |= (byte & 0x7F) << shift
            shift += 7
        return result | byte << shift

    def value(self, kind: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 8:
            length = self.varint()
            self.at += length
            return self.content[self.at - length : self.at]
        if kind == 12:
            return self.struct()
        number = self.varint()
        return number >> 1 ^ -(number & 1)

    def struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        name = 0
        while (head := self.byte()) != 0:
            name += head >> 4
            fields[name] = self.value(head & 15)
        return fields


def pages_of(path: Path, column: str) -> list[list[Page]]:
    """Returns the data pages of a column without dictionary, by row group."""
    content = path.read_bytes()
    metadata = pq.read_metadata(path)
    found = []
    for group in range(metadata.num_row_groups):
        chunks = (metadata.row_group(group).column(i) for i in range(metadata.num_columns))
        chunk = next(chunk for chunk in chunks if chunk.path_in_schema == column)
        found.append(_pages(content, chunk.data_page_offset, chunk.total_compressed_size))
    return found


def _pages(content: bytes, start: int, size: int) -> list[Page]:
    reader = _Compact(content, start)
    pages = []
    while reader.at < start + size:
        header = reader.struct()
        reader.at += header[_COMPRESSED_SIZE]
        pages.append(
            Page(
                num_values=header[_DATA_PAGE][_NUM_VALUES],
                num_bytes=header[_COMPRESSED_SIZE],
                encoding=header[_DATA_PAGE][_ENCODING],
                has_checksum=_CRC in header,
            )
        )
    return pages
