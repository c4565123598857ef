"""Samples of two datasets brought together by sample_id, a bucket at a time.

A join of whole rows does not fit a fixed memory: DuckDB's own, which spills, gives up on two
million rows in 256 MB. So the rows are dealt into buckets first, as files:

    a: part, part, ...  ──hash(sample_id)──>  a-0  a-1  a-2 ...
    b: part, part, ...  ──hash(sample_id)──>  b-0  b-1  b-2 ...     a-k meets b-k, nobody else

A sample stands in the same bucket on both sides, and a bucket fits in memory. Each part is
read once, checksums verified. Costs: a copy of both tables on disk, uncompressed (a bucket's
pieces are so small that compressing them takes longer than all the rest).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sllm_data.errors import OutputError, ShardError
from sllm_data.shards import TABLES, read_footer, read_manifest, read_part

BUCKET_BYTES = 32 * 2**20
"""Size of a bucket of one side, in memory."""
NEEDED = ("sample_id", "task", "split", "response", "num_response_tokens")
"""Columns that the figures are made of; any other one is compared where both sides have it."""

Watch = Callable[[int], None]
"""Called with a number of rows that were read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """The samples of one finished dataset."""

    root: Path
    files: tuple[Path, ...]
    rows: int
    schema: pa.Schema
    row_bytes: float
    """Of one row in memory, on average."""

    def tables(self) -> Iterator[pa.Table]:
        """Reads part by part.

        Raises:
            ShardError: A part is damaged, or has other columns than the first.
        """
        for path in self.files:
            yield _table(path, self.schema)


def open_samples(root: Path) -> Samples:
    """Finds the samples of a dataset; rows of a run that is going on are left out.

    Raises:
        ShardError: There is none that is finished, or its parts are no samples.
    """
    manifest = read_manifest(root / "manifest/assemble.json")
    if manifest is None:
        raise ShardError(
            f"{root}: must be a finished dataset, found no manifest/assemble.json; run it first"
        )
    records = [record for record in manifest.parts if record.file.startswith("samples/")]
    files = tuple(root / record.file for record in records)
    for path in files:
        if (table := read_footer(path).table) != "samples":
            raise ShardError(f"{path}: must be a part of samples, found one of {table}")
    schema, row_bytes = _measure(files)
    return Samples(
        root=root,
        files=files,
        rows=sum(record.rows for record in records),
        schema=schema,
        row_bytes=row_bytes,
    )


def _measure(files: tuple[Path, ...]) -> tuple[pa.Schema, float]:
    """The schema of the first part, and the size of a row by the first part that has any."""
    schema: pa.Schema | None = None
    for path in files:
        table = read_part(path)
        schema = table.schema.remove_metadata() if schema is None else schema
        _check_needed(path, table.schema)
        if table.num_rows:
            return schema, table.nbytes / table.num_rows
    return schema or TABLES["samples"].arrow.remove_metadata(), 1.0


def _check_needed(path: Path, schema: pa.Schema) -> None:
    known = TABLES["samples"].arrow
    for name in NEEDED:
        expected = known.field(name).type
        found = schema.field(name).type if name in schema.names else "none"
        if found != expected:
            raise ShardError(
                f"{path}: must have the column {name} of type {expected}, found {found}"
            )


def _table(path: Path, schema: pa.Schema) -> pa.Table:
    table = read_part(path)
    found = {field.name: field.type for field in table.schema}
    if found != {field.name: field.type for field in schema}:
        other = min(set(found.items()) ^ {(f.name, f.type) for f in schema}, key=str)
        raise ShardError(
            f"{path}: must have the columns of the parts before it, differs in {other[0]} "
            f"({other[1]})"
        )
    return table.select(schema.names).cast(schema)


def paired_buckets(
    a: Samples, b: Samples, scratch: Path, *, bucket_bytes: int, watch: Watch
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yields both sides bucket by bucket; a sample_id is in one bucket only.

    Args:
        a: One side.
        b: The other.
        scratch: An empty folder, with room for both tables.
        bucket_bytes: Size of a bucket of one side, in memory.
        watch: Called while parts are read.

    Raises:
        ShardError: A part is damaged.
        OutputError: The disk is full.
    """
    size = max(side.rows * side.row_bytes for side in (a, b))
    num_buckets = max(1, math.ceil(size / bucket_bytes))
    try:
        for name, side in (("a", a), ("b", b)):
            for table in _gathered(side.tables(), bucket_bytes):
                _deal(table, scratch, name, num_buckets)
                watch(table.num_rows)
        for bucket in range(num_buckets):
            yield _dealt(scratch, "a", bucket, a.schema), _dealt(scratch, "b", bucket, b.schema)
    except OSError as error:
        raise OutputError(
            f"{scratch}: comparing needs room for a copy of both tables of samples, found: "
            f"{error.strerror or error}; make room, or set TMPDIR to a folder that has it"
        ) from error


def _gathered(tables: Iterator[pa.Table], num_bytes: int) -> Iterator[pa.Table]:
    """Puts small parts together: a file is opened for each bucket and table."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(one.nbytes for one in held) >= num_bytes:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _deal(table: pa.Table, scratch: Path, name: str, num_buckets: int) -> None:
    buckets = _bucket_of(table.column("sample_id"), num_buckets)
    order = np.argsort(buckets, kind="stable")
    borders = np.searchsorted(buckets[order], np.arange(num_buckets + 1))
    rows = table.take(pa.array(order))
    for bucket in np.flatnonzero(np.diff(borders)):
        piece = rows.slice(borders[bucket], borders[bucket + 1] - borders[bucket])
        # opened anew each time: there may be more buckets than a process may have open files
        with (
            (scratch / f"{name}-{bucket}.arrows").open("ab") as file,
            pa.ipc.new_stream(file, table.schema) as stream,
        ):
            stream.write_table(piece)


def _bucket_of(sample_ids: pa.ChunkedArray, num_buckets: int) -> npt.NDArray[np.int64]:
    ids = sample_ids.cast(pa.binary()).to_pylist()
    return np.fromiter((crc32(one or b"") % num_buckets for one in ids), np.int64, len(ids))


def _dealt(scratch: Path, name: str, bucket: int, schema: pa.Schema) -> pa.Table:
    path = scratch / f"{name}-{bucket}.arrows"
    if not path.exists():
        return schema.empty_table()
    tables: list[pa.Table] = []
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            tables.append(pa.ipc.open_stream(file).read_all())
    path.unlink()
    return pa.concat_tables(tables)
