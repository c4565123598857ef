"""Writing and reading one part: a Parquet file that is whole or absent.

Layout, as measured for audio next to text: the audio column uncompressed, PLAIN and one
clip a page (clips below 64 KiB share one), about 100 rows a row group; everything else zstd
with dictionaries; page indexes and checksums on. Each footer tells the table, the schema
version, the identity of the step, and counts, so that a part explains itself and a resumed
run need not re-read it.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sllm_data.errors import ShardError
from sllm_data.files import atomic_path, sha256_of_bytes, sha256_of_file
from sllm_data.shards.features import footer_entry
from sllm_data.shards.manifest import Manifest, PartRecord
from sllm_data.shards.schema import SCHEMA_VERSION, Table

Row = Mapping[str, Any]  # Any: a row's values have the types of its table's columns
Counts = Mapping[str, Mapping[str, int]]

AUDIO_ROWS_PER_GROUP = 100
TEXT_ROWS_PER_GROUP = 10_000
_MAX_GROUP_BYTES = 64 * 2**20  # a group of long clips must not grow with their length
_FOOTER_TAIL_BYTES = 8  # four bytes of length, four of magic
_REMEDY = "put it back, or delete it and its step's manifest and run the same command again"
# what a flipped bit makes pyarrow raise; found by tests/shards/test_damage.py
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """What a part says about itself."""

    table: str
    identity: str
    rows: int
    counts: Counts


def part_name(number: int) -> str:
    """File name of a part.

    >>> part_name(7)
    'part-00007.parquet'
    """
    return f"part-{number:05d}.parquet"


class _HashingFile(io.RawIOBase):
    """A file that hashes what is written through it: no second read for the digest."""

    def __init__(self, path: Path) -> None:
        # unbuffered: pyarrow hands over whole pages, and a buffer halves the speed of clips
        self._file = path.open("wb", buffering=0)
        self.sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:  # Any: whatever buffer pyarrow hands over
        self.sha256.update(content)
        rest = memoryview(content).cast("B")
        size = len(rest)
        while rest:
            rest = rest[self._file.write(rest) :]
        self.size += size
        return size

    def tell(self) -> int:
        return self.size

    def close(self) -> None:
        self._file.close()
        super().close()


def write_part(
    root: Path,
    file: str,
    rows: Iterable[Row],
    *,
    table: Table,
    identity: str,
    counts: Counts | None = None,
) -> PartRecord:
    """Writes rows to a part, flushes it to disk and gives it its final name.

    Args:
        root: The dataset.
        file: Final path below it, with forward slashes; its folder is made where missing.
        rows: In their final order; consumed as a stream, one row group in memory. `counts`
            may be filled while they are consumed: it is read after the last row.
        table: Whose schema the rows have.
        identity: Hash of the step's configuration, kept in the footer.
        counts: Totals by kind, kept in the footer.

    Raises:
        OutputError: The disk is full or the folder can't be written.
    """
    schema = table.arrow.with_metadata(_entries(table, identity))
    with atomic_path(root / file) as temporary:
        sink = _HashingFile(temporary)
        num_rows = 0
        with sink, pq.ParquetWriter(pa.PythonFile(sink), schema, **_options(table)) as writer:
            for group in _groups(rows, table):
                writer.write_table(_arrow_of(group, schema), row_group_size=len(group))
                num_rows += len(group)
            entry = {"sllm_data.counts": json.dumps(counts or {}, sort_keys=True)}
            writer.add_key_value_metadata(entry)
        digest = sink.sha256.hexdigest()
        size = sink.size
        footer = _footer_digest(temporary)
    return PartRecord(
        file=file,
        rows=num_rows,
        bytes=size,
        sha256=digest,
        footer_sha256=footer,
    )


def _arrow_of(group: list[Row], schema: pa.Schema) -> pa.Table:
    return pa.table(
        {
            field.name: pa.array([row.get(field.name) for row in group], type=field.type)
            for field in schema
        },
        schema=schema,
    )


def _groups(rows: Iterable[Row], table: Table) -> Iterator[list[Row]]:
    if table.name != "audio":
        source = iter(rows)
        while group := list(islice(source, TEXT_ROWS_PER_GROUP)):
            yield group
        return
    group, size = [], 0
    for row in rows:
        group.append(row)
        size += len(row["audio"]["bytes"])
        if len(group) == AUDIO_ROWS_PER_GROUP or size >= _MAX_GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _options(table: Table) -> dict[str, Any]:  # Any: keyword arguments of pyarrow
    common: dict[str, Any] = {
        "write_page_index": True,
        "write_page_checksum": True,
        "store_schema": True,
    }
    if table.name != "audio":
        return common | {"compression": "zstd", "use_content_defined_chunking": True}
    others = [p for p in _leaves(table.arrow) if p != "audio.bytes"]
    return common | {
        "compression": {"audio.bytes": "none"} | dict.fromkeys(others, "zstd"),
        "use_dictionary": others,
        "write_statistics": others,
        "write_batch_size": 1,
        "data_page_size": 64 * 1024,
    }


def _leaves(schema: pa.Schema) -> list[str]:
    leaves = []
    for field in schema:
        if pa.types.is_struct(field.type):
            leaves += [f"{field.name}.{inner.name}" for inner in field.type]
        else:
            leaves.append(field.name)
    return leaves


def _entries(table: Table, identity: str) -> dict[str, str]:
    return {
        "sllm_data.table": table.name,
        "sllm_data.schema_version": str(SCHEMA_VERSION),
        "sllm_data.identity": identity,
        "huggingface": footer_entry(table.arrow),
    }


def _footer_digest(path: Path) -> str:
    with path.open("rb") as content:
        content.seek(-_FOOTER_TAIL_BYTES, io.SEEK_END)
        length = int.from_bytes(content.read(4), "little")
        content.seek(-_FOOTER_TAIL_BYTES - length, io.SEEK_END)
        return sha256_of_bytes(content.read())


def record_of(root: Path, file: str) -> PartRecord:
    """Returns the record of a committed part by reading all of it."""
    path = root / file
    return PartRecord(
        file=file,
        rows=read_footer(path).rows,
        bytes=path.stat().st_size,
        sha256=sha256_of_file(path),
        footer_sha256=_footer_digest(path),
    )


def check_unchanged(root: Path, manifest: Manifest) -> None:
    """Compares size and footer of a step's parts with its manifest: what was cut off or replaced.

    Rows are not read for it: a byte that flipped in a page is found by the page's checksum
    when it is read.

    Raises:
        ShardError: A part is missing, or not the file that was committed.
    """
    for record in manifest.parts:
        path = root / record.file
        try:
            size = path.stat().st_size
            if size == record.bytes and _footer_digest(path) == record.footer_sha256:
                continue
            found = "another file" if size == record.bytes else f"{size:,} bytes"
        except OSError as error:  # a size that is right, and no footer that can be found
            found = error.strerror or "another file"
        raise ShardError(
            f"{path}: must be the part of {record.bytes:,} bytes that {manifest.step} wrote, "
            f"found: {found}; put it back, or delete it and manifest/{manifest.step}.json and "
            "run the same command again"
        )


def read_footer(path: Path) -> Footer:
    """Reads what a part says about itself, without its rows.

    Raises:
        ShardError: It is not a Parquet file, or not one of ours.
    """
    with _opened(path) as file:
        entries = file.metadata.metadata or {}
        rows = int(file.metadata.num_rows)
    try:
        version = int(entries[b"sllm_data.schema_version"])
        if version > SCHEMA_VERSION:
            raise ShardError(
                f"{path}: has schema version {version}, this sllm-data reads up to "
                f"{SCHEMA_VERSION}; update sllm-data"
            )
        return Footer(
            table=entries[b"sllm_data.table"].decode(),
            identity=entries[b"sllm_data.identity"].decode(),
            rows=rows,
            counts=_counts_in(entries[b"sllm_data.counts"]),
        )
    except KeyError as error:
        raise ShardError(
            f"{path}: must be a part written by sllm-data, its footer lacks "
            f"{error.args[0].decode()}; {_REMEDY}"
        ) from error
    except ValueError as error:
        raise ShardError(
            f"{path}: must be a part written by sllm-data, its footer holds what none has: "
            f"{error}; {_REMEDY}"
        ) from error


def _counts_in(entry: bytes) -> Counts:
    try:
        counts = json.loads(entry)
    except RecursionError as error:
        raise ValueError("counts that are nested too deep") from error
    if not isinstance(counts, dict) or not all(map(_are_counts, counts.values())):
        raise ValueError("counts that are no numbers by kind")
    return counts


def _are_counts(found: Any) -> bool:  # Any: JSON
    return isinstance(found, dict) and all(type(number) is int for number in found.values())


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise ShardError(f"{path}: the part must exist; run the step that writes it") from error
    except _DAMAGE as error:
        raise ShardError(
            f"{path}: must be a whole Parquet file, found: {_first_line(error)}; {_REMEDY}"
        ) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Reads a part, or some of its columns.

    Raises:
        ShardError: It is missing, damaged, or lacks a column.
    """
    with _opened(path) as file:
        try:
            missing = set(columns or ()) - set(file.schema_arrow.names)
            if missing:
                raise ShardError(f"{path}: must have the columns {sorted(missing)}, lacks them")
            return file.read(columns=columns)
        except _DAMAGE as error:
            raise ShardError(f"{path}: can't be read: {_first_line(error)}; {_REMEDY}") from error
