"""Level 1: whether pages carry the checksum by which a reader finds flipped bits.

The footer does not tell, so the header of the first page of each column chunk is read: a
Thrift struct in the compact protocol, of which only the leading integers matter here.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from sllm_data.validation.findings import Finding
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part

RULES = (
    Rule(
        name="layout_checksums",
        level=1,
        meaning="pages carry checksums",
        foreign="warning",
    ),
)

_HEADER_BYTES = 64  # four integers of a page header take at most 24
_I32 = 5
_CRC = 4  # field of a page header, behind type and two sizes


def checksum_faults(path: Path, part: Part) -> Iterator[Finding]:
    """Yields the columns of a part whose pages have no checksum, each once."""
    metadata = pq.read_metadata(path)
    told: set[str] = set()
    with path.open("rb") as file:
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for chunk in map(group.column, range(metadata.num_columns)):
                start = (
                    chunk.dictionary_page_offset
                    if chunk.has_dictionary_page
                    else chunk.data_page_offset
                )
                header = os.pread(file.fileno(), _HEADER_BYTES, start)
                if chunk.path_in_schema not in told and not has_checksum(header):
                    told.add(chunk.path_in_schema)
                    yield Finding(
                        rule="layout_checksums",
                        part=part.file,
                        column=chunk.path_in_schema,
                        message="its pages must carry checksums",
                    )


def has_checksum(header: bytes) -> bool:
    """Whether a page header holds a checksum.

    Fields stand in order, each with a byte of (step from the field before, type); the first
    four are integers of variable length.
    """
    field = at = 0
    while at < len(header):
        step, kind = header[at] >> 4, header[at] & 0x0F
        field += step
        if not step or kind != _I32 or field > _CRC:
            return False
        if field == _CRC:
            return True
        at += 1
        while at < len(header) and header[at] & 0x80:
            at += 1
        at += 1
    return False
