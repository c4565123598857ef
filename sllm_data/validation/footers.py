"""Level 0, part by part: a footer against its manifest, the schema and the layout policy.

A footer is read with one seek at the end of the file, and no page is touched: a thousand
parts take seconds. What the parts say together is judged in `manifests`.
"""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sllm_data.files import sha256_of_bytes
from sllm_data.shards import PartRecord
from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.layout import RULES as LAYOUT_RULES
from sllm_data.validation.layout import huggingface_faults, layout_faults
from sllm_data.validation.part_schema import RULES as SCHEMA_RULES
from sllm_data.validation.part_schema import extra_columns, schema_faults
from sllm_data.validation.published import PublishedTable
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part, Subject, mapped

RULES = (
    Rule(
        name="part_readable",
        level=0,
        meaning="every part is a whole Parquet file whose footer can be read",
    ),
    Rule(
        name="part_size",
        level=0,
        meaning="a part has as many bytes as its manifest says",
        foreign="off",
    ),
    Rule(
        name="footer_digest",
        level=0,
        meaning="a part's footer has the SHA-256 that its manifest says",
        foreign="off",
    ),
    Rule(
        name="part_rows",
        level=0,
        meaning="a part has as many rows as its manifest says",
        foreign="off",
    ),
    Rule(
        name="footer_entries",
        level=0,
        meaning="a footer names the part's table, schema version, identity and counts",
        foreign="off",
    ),
    Rule(
        name="schema_version",
        level=0,
        meaning="no part has a newer schema version than schema.json",
    ),
    *SCHEMA_RULES,
    *LAYOUT_RULES,
)

_PARTS_PER_JOB = 64
_TAIL_BYTES = 64 * 1024  # most footers fit: one read for each
_END_BYTES = 8  # four of length, four of magic
_MAGIC = b"PAR1"
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)  # as found by tests of shards.parts


@dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """What level 0 keeps of a part."""

    part: Part
    """With its number of rows."""
    is_sound: bool
    """Whether it can be read as its table."""
    identity: str
    """Empty where the footer does not tell."""
    counts: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    root: Path
    parts: tuple[tuple[Part, PartRecord | None, PublishedTable | None], ...]
    extra_columns: Mapping[str, Mapping[str, str]]
    version: int
    foreign: bool
    keep: int


def read_footers(
    subject: Subject, tally: Tally, records: Mapping[str, PartRecord]
) -> Iterator[Footer]:
    """Judges all footers and yields what they say, in any order.

    Args:
        subject: The dataset.
        tally: Where findings go.
        records: What the manifests say, by file.
    """
    for footers, found in mapped(subject, "footers", _judge, _jobs(subject, records)):
        tally.merge(found)
        yield from footers


def _jobs(subject: Subject, records: Mapping[str, PartRecord]) -> list[_Job]:
    parts = [
        (part, records.get(part.file), subject.published.tables.get(part.table))
        for part in subject.parts
    ]
    return [
        _Job(
            root=subject.root,
            parts=tuple(parts[start : start + _PARTS_PER_JOB]),
            extra_columns=subject.contract.extra_columns,
            version=subject.published.version,
            foreign=subject.foreign,
            keep=subject.keep,
        )
        for start in range(0, len(parts), _PARTS_PER_JOB)
    ]


def _judge(job: _Job) -> tuple[list[Footer], Tally]:
    tally = Tally(job.keep)
    footers = []
    for part, record, table in job.parts:
        try:
            size, tail = _tail(job.root / part.file)
            metadata = pq.read_metadata(pa.BufferReader(tail))
            schema = metadata.schema.to_arrow_schema()
            entries = _texts(metadata.metadata)
        except _DAMAGE as error:
            message = f"must be a whole Parquet file, found: {_first_line(error)}"
            tally.add(Finding(rule="part_readable", part=part.file, message=message))
            continue
        tally.look(0, part.table, rows=metadata.num_rows)
        if record is not None:
            tally.add_all(_against_record(record, size, tail, metadata))
        faults = list(schema_faults(part, schema, table, foreign=job.foreign))
        tally.add_all(faults)
        if table is not None:
            allowed = job.extra_columns.get(part.table, {})
            tally.add_all(extra_columns(part, schema, table, allowed))
        tally.add_all(layout_faults(part, metadata))
        tally.add_all(huggingface_faults(part, entries, schema))
        tally.add_all(_version(part, entries, job.version))
        counts = {} if job.foreign else _counts(part, entries, tally)
        footers.append(
            Footer(
                part=replace(part, rows=metadata.num_rows),
                is_sound=not faults,
                identity=entries.get("sllm_data.identity", ""),
                counts=counts,
            )
        )
    return footers, tally


def _tail(path: Path) -> tuple[int, bytes]:
    """Size of the file, and its footer with length and magic; OSError where there is none."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
        length = int.from_bytes(tail[-_END_BYTES:-4], "little") + _END_BYTES
        if tail[-4:] != _MAGIC or not _END_BYTES < length <= size - len(_MAGIC):
            raise OSError("no Parquet footer at its end; it was cut off or overwritten")
        if length > len(tail):
            file.seek(size - length)
            tail = file.read()
        return size, tail[-length:]


def _texts(entries: Mapping[bytes, bytes] | None) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (entries or {}).items()}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _against_record(
    record: PartRecord, size: int, tail: bytes, metadata: pq.FileMetaData
) -> Iterator[Finding]:
    digest = sha256_of_bytes(tail)
    for rule, expected, found in (
        ("part_size", record.bytes, size),
        ("part_rows", record.rows, metadata.num_rows),
        ("footer_digest", record.footer_sha256, digest),
    ):
        if expected != found:
            yield Finding(
                rule=rule,
                part=record.file,
                value=shown(found),
                message=f"the manifest says {expected}, found {found}",
            )


def _version(part: Part, entries: Mapping[str, str], published: int) -> Iterator[Finding]:
    version = entries.get("sllm_data.schema_version", "")
    if version.isdecimal() and int(version) > published:
        yield Finding(
            rule="schema_version",
            part=part.file,
            value=version,
            message=f"must be at most {published}, which schema.json publishes",
        )


def _counts(
    part: Part, entries: Mapping[str, str], tally: Tally
) -> Mapping[str, Mapping[str, int]]:
    """Judges the footer's own entries and returns its counts."""

    def wrong(name: str, message: str) -> None:
        tally.add(
            Finding(
                rule="footer_entries",
                part=part.file,
                column=name,
                value=shown(entries.get(name)),
                message=message,
            )
        )

    if entries.get("sllm_data.table") != part.table:
        wrong("sllm_data.table", f"must be {part.table}")
    if not entries.get("sllm_data.identity"):
        wrong("sllm_data.identity", "must be the identity of its step")
    if not entries.get("sllm_data.schema_version", "").isdecimal():
        wrong("sllm_data.schema_version", "must be a version")
    counts = counts_in(entries.get("sllm_data.counts", ""))
    if counts is None:
        wrong("sllm_data.counts", "must be counts by kind and name, as JSON")
    return counts or {}


def counts_in(entry: str) -> dict[str, dict[str, int]] | None:
    """Reads the counts of a footer; None where the entry holds none.

    >>> counts_in('{"tasks": {"intent": 3}}')
    {'tasks': {'intent': 3}}
    """
    try:
        return {
            str(kind): {str(name): int(number) for name, number in numbers.items()}
            for kind, numbers in json.loads(entry).items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
