"""Level 1: the columns of every part, in batches, without the audio.

1. Each row alone (`row_rules`, `bounds`), and each part's counts (`recounts`).
2. Keys, which are hashed on the way (`keys`), must be unique in the dataset.
3. Rows of one part against those that they name (`links`): clips, tasks, requests, answers.
4. Tasks against their quotas (`quotas`), and what the contract wants at all (`required`).

Memory is that of one part's columns for each process, whatever the number of rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sllm_data.shards import TABLES
from sllm_data.shards.schema import missing_columns
from sllm_data.validation import (
    bounds,
    keys,
    link_checks,
    links,
    quotas,
    recounts,
    required,
    row_rules,
)
from sllm_data.validation.checksums import RULES as CHECKSUM_RULES
from sllm_data.validation.checksums import checksum_faults
from sllm_data.validation.conditions import Condition
from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.pages import batches, noting_damage
from sllm_data.validation.subject import (
    Part,
    Subject,
    over_parts,
    quoted,
    sampled_sql,
    workers_for,
)

RULES = (
    *row_rules.RULES,
    *bounds.RULES,
    *recounts.RULES,
    *CHECKSUM_RULES,
    *keys.RULES,
    *links.RULES,
    *quotas.RULES,
    *required.RULES,
)

_BATCH_ROWS = 10_000
_ROW = "row_in_part"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    root: Path
    part: Part
    key: str
    conditions: tuple[Condition, ...]
    hashes: Path
    sample: float
    foreign: bool
    keep: int


def check(subject: Subject, tally: Tally) -> None:
    """Checks level 1."""
    workers = workers_for(sum(part.rows for part in subject.parts))
    over_parts(subject, tally, "columns", _judge, list(_jobs(subject)), workers=workers)
    keys.check(subject, tally)
    link_checks.check(subject, tally)
    quotas.check(subject, tally)
    required.check(subject, tally)


def _jobs(subject: Subject) -> Iterator[_Job]:
    known: dict[str, tuple[Condition, ...]] = {}
    for part in subject.parts:
        published = subject.published.tables[part.table]
        if part.folder not in known:
            turn = part.folder.partition("/")[2] if part.table != "rejections" else ""
            known[part.folder] = bounds.conditions(
                part.table, turn, published, config=subject.config, contract=subject.contract
            )
        yield _Job(
            root=subject.root,
            part=part,
            key=published.key,
            conditions=known[part.folder],
            hashes=keys.file_of(subject.scratch, part),
            sample=subject.sample,
            foreign=subject.foreign,
            keep=subject.keep,
        )


def _judge(job: _Job) -> Tally:
    tally = Tally(job.keep)
    path = job.root / job.part.file
    database, recount = keys.database(), recounts.Recount(job.part.table)
    rows = looked = 0
    with keys.Hashes(job.hashes) as hashes, noting_damage(job.part, tally):
        names = pq.read_schema(path).names
        tally.add_all(checksum_faults(path, job.part))
        for batch in batches(path, _without_audio(job.part, names), _BATCH_ROWS):
            numbers = pa.array(range(rows, rows + batch.num_rows))
            database.register("batch", _whole(batch, job.part).append_column(_ROW, numbers))
            rows += batch.num_rows
            hashes.add(job.key)
            looked += _judge_batch(names, job, tally)
            if not job.foreign:
                recount.add(database)
        if not job.foreign:
            tally.add_all(recount.against_footer(path, job.part))
    tally.look(1, job.part.table, rows=looked, of_rows=rows)
    return tally


def _whole(batch: pa.RecordBatch, part: Part) -> pa.RecordBatch:
    """Adds the columns that may be missing and are, without values."""
    for column in missing_columns(TABLES[part.table], batch.schema.names):
        batch = batch.append_column(column.name, pa.nulls(batch.num_rows, column.type))
    return batch


def _without_audio(part: Part, names: Sequence[str]) -> list[str]:
    # the audio itself is level 2's: its path is enough to see where it is missing
    return ["audio.path" if (part.table, name) == ("audio", "audio") else name for name in names]


def _judge_batch(names: Sequence[str], job: _Job, tally: Tally) -> int:
    database = keys.database()
    there = [c for c in job.conditions if c.column.partition(".")[0] in names]
    key = quoted(job.key)
    # at least something of every part
    taken = f"({sampled_sql(key, job.sample)} OR {_ROW} = 0)" if job.sample < 1 else "true"
    counts = ["count(*)", *(f"count_if({condition.wrong})" for condition in there)]
    first, *wrong = database.execute(
        f"SELECT {', '.join(counts)} FROM batch WHERE {taken}"
    ).fetchall()[0]
    for condition, count in zip(there, wrong, strict=True):
        if count:
            found = database.execute(
                f"SELECT {_ROW}, CAST({key} AS VARCHAR), CAST({condition.value} AS VARCHAR) "
                f"FROM batch WHERE {taken} AND ({condition.wrong}) ORDER BY 1 LIMIT {job.keep}"
            ).fetchall()
            tally.add_all(_finding(job.part, condition, row) for row in found)
            tally.count_more(condition.rule, count - len(found))
    return int(first)


def _finding(part: Part, condition: Condition, row: tuple[Any, ...]) -> Finding:
    number, key, value = row
    return Finding(
        rule=condition.rule,
        part=part.file,
        row=f"row {number}" if key is None else shown(key),
        column=condition.column,
        value=shown(value),
        message=condition.message,
    )
