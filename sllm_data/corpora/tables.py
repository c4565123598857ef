"""Tab-separated tables as Common Voice writes them, read line by line as bytes.

No quoting: a quotation mark is a letter like any other, and a line ends at a line feed and
nowhere else. What the cells mean is not known here. A line that can't be used is handed on
as such, with its number; only a table that as a whole makes no sense is an error.
"""

import codecs
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sllm_data.corpora.folders import named, readable
from sllm_data.corpora.lines import MAX_LINE_BYTES, OVERLONG, numbered_lines
from sllm_data.errors import CorpusError


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a table."""

    line: int
    """Counted from 1, the header is line 1."""
    cells: Mapping[str, str]
    """By column; empty where `problem` is set."""
    problem: str | None = None
    """Why the line is unusable: what was expected and what was found."""


def read_columns(path: Path, *, needed: Collection[str]) -> tuple[str, ...]:
    """Returns the column names of a table.

    Raises:
        CorpusError: The table can't be read, has no header, or lacks a needed column.
    """
    with readable(path), path.open("rb") as table:
        return _columns(path, table, needed)


def read_rows(path: Path, *, needed: Collection[str]) -> Iterator[Row]:
    """Yields the rows of a table in their order; lines without anything on them are no rows.

    Raises:
        CorpusError: As for `read_columns`, or the table becomes unreadable half-way.
    """
    with readable(path), path.open("rb") as table:
        columns = _columns(path, table, needed)
        for line, content in numbered_lines(table, first=2):
            if content is None:
                yield Row(line=line, cells={}, problem=OVERLONG)
            elif content:
                yield _row(line, content, columns)


def _columns(path: Path, table: BinaryIO, needed: Collection[str]) -> tuple[str, ...]:
    header = table.readline(MAX_LINE_BYTES).removeprefix(codecs.BOM_UTF8)
    try:
        columns = tuple(header.decode("utf-8").rstrip("\r\n").split("\t"))
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: line 1 must be column names in UTF-8, byte {error.start} is none; "
            "is this the table that the archive holds?"
        ) from error
    missing = [column for column in needed if column not in columns]
    if missing:
        raise CorpusError(
            f"{path}: line 1 must name the columns {named(needed)} between tabs; "
            f"missing: {named(missing)}; found: {named(columns)}"
        )
    if len(set(columns)) != len(columns):
        raise CorpusError(f"{path}: line 1 must name each column once, found: {named(columns)}")
    return columns


def _row(line: int, content: bytes, columns: tuple[str, ...]) -> Row:
    if b"\x00" in content:
        return Row(line=line, cells={}, problem="a line must be text, it holds a NUL byte")
    try:
        cells = content.decode("utf-8").split("\t")
    except UnicodeDecodeError as error:
        problem = f"a line must be UTF-8, byte {error.start} of it is not"
        return Row(line=line, cells={}, problem=problem)
    if len(cells) != len(columns):
        problem = f"a line must have {len(columns)} fields, got {len(cells)}"
        return Row(line=line, cells={}, problem=problem)
    return Row(line=line, cells=dict(zip(columns, cells, strict=True)))
