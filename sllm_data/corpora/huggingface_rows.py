"""Rows of Hugging Face datasets with their audio, by address, each read once.

Rows of a prepared dataset are found at once. Those of a streamed one are read forwards, by
one reader per process and dataset, which is told beforehand what a part will ask for: each
row group of it, or each file that has none, is then read once, in whatever order the part
asks. A row that is read before its turn waits on disk.
"""

import functools
import io
import tempfile
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sllm_data.corpora.huggingface_columns import Columns, find_columns
from sllm_data.corpora.huggingface_config import HuggingFaceConfig
from sllm_data.corpora.huggingface_splits import (
    Address,
    Batch,
    features_by_split,
    group_of,
    read_rows,
    rows_of,
)
from sllm_data.errors import CorpusError, OutputError

_BATCH_ROWS = 16  # so many rows are in memory with their audio
_MAX_WAITING_BYTES = 64 * 2**20  # what waits for its turn goes to disk above this


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRow:
    """What a row holds of its audio."""

    content: bytes | None
    path: str | None
    transcript: object
    """As it is, to tell the row by."""


class RowReader:
    """Reads rows of one dataset, forwards where it is streamed."""

    def __init__(self, config: HuggingFaceConfig) -> None:
        self._config = config
        self._columns: dict[str, Columns] = {}
        self._batches: Generator[Batch] = _no_batches()
        self._batch: Batch | None = None
        self._ahead: deque[Address] = deque()
        self._waiting: _Waiting | None = None

    def expect(self, addresses: Iterable[Address], *, scratch: Path) -> None:
        """Says which rows will be asked for next, in any order.

        Args:
            addresses: All of them; for a prepared dataset this changes nothing.
            scratch: A folder on a disk with room for their audio.
        """
        self._ahead = deque(sorted(a for a in addresses if a.shard is not None))
        self._waiting = _Waiting(scratch)

    def read(self, address: Address) -> StoredRow | None:
        """Returns the row at an address; None where it holds text that is not UTF-8.

        Raises:
            CorpusError: `datasets` can't read it, or the row is there no more.
            OutputError: Rows that were read before their turn have no room.
        """
        if self._waiting is not None and address.shard is not None:
            if address in self._waiting:
                return self._waiting.take(address)
            while self._ahead and self._ahead[0] < address:
                earlier = self._ahead.popleft()
                self._waiting.put(earlier, self._row(earlier))
        if self._ahead and self._ahead[0] == address:
            self._ahead.popleft()
        return self._row(address)

    def _row(self, address: Address) -> StoredRow | None:
        batch = self._batch_with(address)
        columns = self._columns[address.split]
        (row,) = rows_of(self._config, batch.table.slice(address.row - batch.first.row, 1))
        if row is None:
            return None
        content, path = _stored(columns.audio.value(row))
        return StoredRow(content=content, path=path, transcript=columns.transcript.value(row))

    def _batch_with(self, address: Address) -> Batch:
        names, batch = self._opened(address), self._batch
        if batch is None or not self._goes_on_to(address, batch):
            self._batches.close()
            self._batches = read_rows(self._config, address, names, batch_rows=_BATCH_ROWS)
            batch = next(self._batches, None)
        while batch is not None and batch.stop <= address.row:
            batch = next(self._batches, None)
        self._batch = batch
        if batch is None:
            raise CorpusError(changed(self._config, address, "is there no more"))
        return batch

    def _goes_on_to(self, address: Address, batch: Batch) -> bool:
        """Tells whether reading on after a batch comes to a row, over no row group in between."""
        if replace(batch.first, row=0) != replace(address, row=0):
            return False
        last = group_of(self._config, replace(address, row=batch.stop - 1))
        return batch.first.row <= address.row and group_of(self._config, address) <= last + 1

    def _opened(self, address: Address) -> list[str]:
        if address.split not in self._columns:
            features = features_by_split(self._config, streamed=address.shard is not None)
            columns = find_columns(self._config, features.get(address.split, {}))
            self._columns[address.split] = columns
        return self._columns[address.split].opened


@functools.lru_cache(maxsize=8)
def row_reader(config: HuggingFaceConfig) -> RowReader:
    """Returns this process's reader of a dataset."""
    return RowReader(config)


def changed(config: HuggingFaceConfig, address: Address, how: str) -> str:
    """Says that the dataset is not the one that was listed."""
    return (
        f"{config.where}: the row {address} {how}: the dataset is not the one that was listed; "
        "bring it back to what it was, or begin again with another output"
    )


def _no_batches() -> Generator[Batch]:
    yield from ()


def _stored(value: Any) -> tuple[bytes | None, str | None]:  # Any: as Arrow has it
    """The bytes and the path in a value of a column that holds audio."""
    match value:
        case None:
            return None, None
        case str():
            return None, value
        case bytes():
            return value, None
        case _:
            return value.get("bytes"), value.get("path")


class _Waiting:
    """Rows that were read before their turn; their audio is in a temporary file."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._content = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - stays open
            _MAX_WAITING_BYTES, dir=str(scratch)
        )
        self._rows: dict[Address, tuple[StoredRow | None, int, int]] = {}

    def __contains__(self, address: Address) -> bool:
        return address in self._rows

    def put(self, address: Address, row: StoredRow | None) -> None:
        content = b"" if row is None else row.content or b""
        try:
            start = self._content.seek(0, io.SEEK_END)
            self._content.write(content)
        except OSError as error:
            raise OutputError(
                f"{self._scratch}: rows of a streamed dataset can't be put aside there: "
                f"{error.strerror or error}; make room, then run the same command again"
            ) from error
        if row is not None and row.content is not None:
            row = replace(row, content=b"")
        self._rows[address] = (row, start, len(content))

    def take(self, address: Address) -> StoredRow | None:
        row, start, length = self._rows.pop(address)
        if row is None or row.content is None:
            return row
        self._content.seek(start)
        return replace(row, content=self._content.read(length))
