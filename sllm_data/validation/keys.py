"""Level 1: keys are unique in the dataset, however many rows it has.

1. While a part's columns are read, its keys are hashed to 64 bits and kept on disk, sorted.
2. The hashes of all parts of a table are dealt to buckets of about a million by their size;
   one bucket at a time is sorted, and equal neighbours are counted.
3. Only where there are any, the parts are read again to find and compare the keys themselves:
   two different keys with one hash are no finding.

Memory is one bucket; the disk holds 8 bytes for each row, twice.
"""

import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sllm_data.shards.database import connect
from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.index_parts import growth_numbers
from sllm_data.validation.pages import batches, noting_damage
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part, Subject, mapped, quoted

RULES = (
    Rule(
        name="unique_id",
        level=1,
        meaning="no two rows of a table have one key; a clip stands in the index once, and once "
        "more in each extension that gives it new tasks",
    ),
)

Hashed = npt.NDArray[np.uint64]

_BUCKET_HASHES = 1_000_000
_MAX_BUCKETS = 512  # as many files are open at once
_LOCATED = 1_000  # hashes whose keys are looked up; the rest is only counted
_BATCH_ROWS = 100_000


def file_of(scratch: Path, part: Part) -> Path:
    """Where the hashes of a part's keys are kept."""
    return scratch / "keys" / f"{part.file}.u64"


@functools.cache
def database() -> duckdb.DuckDBPyConnection:
    """Returns this process's own DuckDB, for rows that are in memory already."""
    return connect(None, threads=1)


class Hashes:
    """Collects the hashes of one part's keys and writes them, sorted, when it is left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pieces: list[Hashed] = []

    def __enter__(self) -> Self:
        return self

    def add(self, key: str) -> None:
        """Hashes a column of the view `batch` in this process's database."""
        name = quoted(key)
        query = f"SELECT hash({name}) AS h FROM batch WHERE {name} IS NOT NULL"
        self._pieces.append(database().execute(query).to_arrow_table().column("h").to_numpy())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        np.sort(np.concatenate([np.empty(0, np.uint64), *self._pieces])).tofile(self._path)


def check(subject: Subject, tally: Tally) -> None:
    """Finds keys that stand in several rows; `columns` has written their hashes."""
    for key, parts in _groups(subject):
        files = [path for part in parts if (path := file_of(subject.scratch, part)).exists()]
        repeated, rows = repeated_hashes(subject.scratch / "buckets", files)
        if not repeated.size:
            continue
        searches = [
            Search(path=subject.path(p), part=p, key=key, hashes=repeated, keep=subject.keep)
            for p in parts
        ]
        places = [
            p for some in mapped(subject, "repeated keys", places_of, searches) for p in some
        ]
        found, false_alarms = told(places, key)
        tally.add_all(found)
        tally.count_more("unique_id", rows - false_alarms - len(found))


def _groups(subject: Subject) -> Iterator[tuple[str, Sequence[Part]]]:
    """Parts among which a key is unique; a growth part repeats keys of older parts."""
    growth = growth_numbers(subject.manifests)
    groups: dict[tuple[str, int], list[Part]] = defaultdict(list)
    for part in subject.parts:
        if part.table == "rejections":
            continue  # a row may be rejected by name more than once
        alone = part.folder in _REPEATING and part.number in growth
        groups[part.folder, part.number if alone else -1].append(part)
    for (_, _), parts in sorted(groups.items()):
        yield subject.published.tables[parts[0].table].key, parts


_REPEATING = ("index", "requests/restore", "responses/restore")


def repeated_hashes(
    folder: Path, files: Sequence[Path], *, bucket: int = _BUCKET_HASHES
) -> tuple[Hashed, int]:
    """Returns the first hashes that occur more than once, and how many rows are too many.

    Args:
        folder: Where to keep the buckets; made where missing.
        files: Sorted hashes, uint64, some of each part.
        bucket: Hashes in memory at once, about.
    """
    total = sum(path.stat().st_size for path in files) // 8
    count = max(1, min(_MAX_BUCKETS, total // bucket))
    borders = np.array([2**64 * number // count for number in range(1, count)], np.uint64)
    buckets = [folder / f"{number}.u64" for number in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        sinks = [stack.enter_context(path.open("wb")) for path in buckets]
        for file in files:
            hashes = np.fromfile(file, np.uint64)
            pieces = np.split(hashes, np.searchsorted(hashes, borders))
            for sink, piece in zip(sinks, pieces, strict=True):
                sink.write(piece.tobytes())
    repeated, rows = [np.empty(0, np.uint64)], 0
    for path in buckets:
        hashes, times = np.unique(np.fromfile(path, np.uint64), return_counts=True)
        path.unlink()
        rows += int((times - 1).sum())
        room = _LOCATED - sum(piece.size for piece in repeated)
        repeated.append(hashes[times > 1][:room])
    return np.concatenate(repeated), rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """A part in which keys of some hashes are looked for."""

    path: Path
    part: Part
    key: str
    """Name of the column."""
    hashes: Hashed
    keep: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One row whose key has a repeated hash."""

    key: str
    part: Part
    row: int
    hash: int


def places_of(search: Search) -> list[Place]:
    """Reads a part's keys again and returns the first rows of those hashes, in their order."""
    connection, key = database(), quoted(search.key)
    connection.register("wanted", pa.table({"h": search.hashes}))
    places: list[Place] = []
    start = 0
    with noting_damage(search.part, Tally(0)):  # what is damaged was told when it was hashed
        for batch in batches(search.path, [search.key], _BATCH_ROWS):
            numbers = pa.array(range(start, start + batch.num_rows))
            connection.register("batch", batch.append_column("row_in_part", numbers))
            start += batch.num_rows
            found = connection.execute(
                f"SELECT {key}, row_in_part, h FROM batch JOIN wanted ON hash({key}) = h "
                f"ORDER BY row_in_part LIMIT {2 * search.keep}"
            ).fetchall()
            places += [
                Place(key=str(text), part=search.part, row=row, hash=number)
                for text, row, number in found
            ]
    return places


def told(places: Sequence[Place], column: str) -> tuple[list[Finding], int]:
    """Returns a finding for each row whose key stood before, and the number of false alarms.

    A false alarm is two different keys with one hash.
    """
    first: dict[str, Place] = {}
    findings = []
    for place in sorted(places, key=lambda place: (place.part.file, place.row)):
        before = first.setdefault(place.key, place)
        if before is place:
            continue
        findings.append(
            Finding(
                rule="unique_id",
                part=place.part.file,
                row=shown(place.key),
                column=column,
                value=shown(place.key),
                message=f"row {place.row} has the key of row {before.row} of {before.part.file}",
            )
        )
    return findings, len(first) - len({place.hash for place in first.values()})
