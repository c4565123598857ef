"""The durations that newer Common Voice releases list beside their tables.

They are claims: the true length is measured when a clip is decoded. A table of 2.4 million
clips takes 29 MB here: a hash and a number of milliseconds for each clip, no names.
"""

import hashlib
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sllm_data.corpora.folders import named
from sllm_data.corpora.tables import Row, read_columns, read_rows
from sllm_data.errors import CorpusError

FILE_NAME = "clip_durations.tsv"

_DURATION_COLUMNS = ("duration[ms]", "duration")
_MAX_DURATION_MS = 2**32
_MAX_DIGITS = 10


class ClipDurations:
    """Milliseconds by clip name, filled once and then looked up."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._durations_ms = array("L")
        self._sorted_hashes = np.empty(0, np.uint64)
        self._sorted_ms = np.empty(0, np.uint32)

    def fill(self, path: Path) -> Iterator[Row]:
        """Reads the table and yields the rows of it that can't be used.

        Raises:
            CorpusError: The table can't be read or has other columns.
        """
        columns = read_columns(path, needed=("clip",))
        column = next((name for name in _DURATION_COLUMNS if name in columns), None)
        if column is None:
            raise CorpusError(
                f"{path}: line 1 must name the column duration[ms], found: {named(columns)}; "
                "remove the file to go without it"
            )
        for row in read_rows(path, needed=("clip", column)):
            if row.problem is not None:
                yield row
                continue
            duration_ms = _milliseconds(row.cells[column])
            if duration_ms is None:
                problem = f"{column} must be a number of ms, got {row.cells[column][:40]!r}"
                yield Row(line=row.line, cells={}, problem=problem)
                continue
            self._hashes.append(_hash(row.cells["clip"]))
            self._durations_ms.append(duration_ms)
        self._sort()

    def of(self, clip: str) -> float | None:
        """Returns the listed duration of a clip in seconds, None where none is listed."""
        key = np.uint64(_hash(clip))
        position = int(np.searchsorted(self._sorted_hashes, key))
        if position == len(self._sorted_hashes) or self._sorted_hashes[position] != key:
            return None
        return int(self._sorted_ms[position]) / 1000

    def _sort(self) -> None:
        hashes = np.array(self._hashes, np.uint64)
        order = np.argsort(hashes, kind="stable")  # stable: the first line of a clip counts
        self._sorted_hashes = hashes[order]
        self._sorted_ms = np.array(self._durations_ms, np.uint32)[order]
        self._hashes = array("Q")
        self._durations_ms = array("L")


def _hash(clip: str) -> int:
    return int.from_bytes(hashlib.blake2b(clip.encode("utf-8"), digest_size=8).digest())


def _milliseconds(cell: str) -> int | None:
    whole = cell.removesuffix(".0")
    # what has too many digits is not even asked for its value: int() refuses thousands of them
    if not (whole.isascii() and whole.isdecimal()) or len(whole) > _MAX_DIGITS:
        return None
    return int(whole) if int(whole) < _MAX_DURATION_MS else None
