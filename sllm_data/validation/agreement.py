"""Tables that say the same thing twice are held against each other, part by part.

DuckDB joins part k of a table with part k of another (of `audio/`, with the parts that its
rows name) and hands over only rows that differ. That a row has a partner at all is level 1's
business: rows without one are not looked at here.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from sllm_data.shards import TABLES, part_name
from sllm_data.shards.database import connect, parquet
from sllm_data.shards.schema import missing_columns
from sllm_data.validation.comparisons import Comparison, comparisons
from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.pages import noting_damage
from sllm_data.validation.subject import Part, Subject, sampled_sql

_FETCH_ROWS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PairJob:
    """The comparisons of one part of a table."""

    root: Path
    part: Part
    turns: tuple[str, ...]
    share: float
    keep: int
    scratch: Path
    unread: frozenset[str]
    """Files of parts that are no partners: level 0 names them."""


def pair_jobs(subject: Subject) -> Iterator[PairJob]:
    """Yields the jobs of a dataset; none where another program wrote it."""
    if subject.foreign:
        return
    turns = tuple(sorted({part.folder.partition("/")[2] for part in subject.parts_of("requests")}))
    judged = {comparison.folder for comparison in comparisons(turns)}
    for part in subject.parts:
        if part.folder in judged:
            yield PairJob(
                root=subject.root,
                part=part,
                turns=turns,
                share=subject.sample,
                keep=subject.keep,
                scratch=subject.scratch,
                unread=frozenset(part.file for part in subject.unread),
            )


def compare(job: PairJob) -> Tally:
    """Compares the rows of one part with their partners."""
    tally = Tally(job.keep)
    database = _database(job.scratch)
    for comparison in comparisons(job.turns):
        if comparison.folder == job.part.folder:
            with noting_damage(job.part, tally):
                _compare(database, job, comparison, tally)
    return tally


@lru_cache(maxsize=1)
def _database(scratch: Path) -> duckdb.DuckDBPyConnection:
    """This process's own DuckDB: connecting takes longer than comparing a small part."""
    return connect(scratch / f"spill-{os.getpid()}", threads=1)


def _compare(
    database: duckdb.DuckDBPyConnection, job: PairJob, comparison: Comparison, tally: Tally
) -> None:
    partners = _partners(database, job, comparison)
    if not partners:
        return
    differ = [f"({same.found}) IS DISTINCT FROM ({same.expected})" for same in comparison.same]
    columns = ", ".join(
        f"{different}, {same.found}, {same.expected}"
        for different, same in zip(differ, comparison.same, strict=True)
    )
    result = database.execute(
        f"SELECT l.{comparison.key}, {columns} "
        f"FROM {_rows([job.root / job.part.file], comparison.folder)} l "
        f"JOIN {_rows(partners, comparison.other)} r ON {comparison.join} "
        f"WHERE {comparison.where} AND {sampled_sql(comparison.sampled_by, job.share)} "
        f"AND ({' OR '.join(differ)}) ORDER BY l.file_row_number"
    )
    while rows := result.fetchmany(_FETCH_ROWS):
        for row in rows:
            tally.add_all(_findings(job, comparison, row))


def _rows(paths: Sequence[Path], folder: str) -> str:
    """SQL of the rows of parts, with the columns that may be missing and are."""
    names = {name for path in paths for name in pq.read_schema(path).names}
    missing = missing_columns(TABLES[folder.partition("/")[0]], names)
    added = "".join(f', NULL AS "{column.name}"' for column in missing)
    options = ("file_row_number = true", "union_by_name = true")
    return f"(SELECT *{added} FROM {parquet(paths, *options)})"


def _findings(
    job: PairJob,
    comparison: Comparison,
    row: tuple[Any, ...],  # Any: values of the columns
) -> Iterator[Finding]:
    key, *values = row
    for place, same in enumerate(comparison.same):
        differs, found, expected = values[3 * place : 3 * place + 3]
        if differs:
            yield Finding(
                rule=comparison.rule,
                part=job.part.file,
                row=shown(key),
                column=same.column,
                value=shown(found),
                message=f"must be {shown(expected)}, by {comparison.other}/",
            )


def _partners(
    database: duckdb.DuckDBPyConnection, job: PairJob, comparison: Comparison
) -> list[Path]:
    """The parts that hold the partners and can be read."""
    numbers = [job.part.number]
    if comparison.folder == "samples" and comparison.other == "audio":
        own = parquet([job.root / job.part.file])
        named = database.execute(
            "SELECT DISTINCT ref.audio_part FROM "
            f"(SELECT unnest(audio_refs) AS ref FROM {own}) ORDER BY 1"
        ).fetchall()
        numbers = [number for (number,) in named if number is not None]
    files = [f"{comparison.other}/{part_name(number)}" for number in numbers]
    paths = [job.root / file for file in files if file not in job.unread]
    return [path for path in paths if path.is_file()]
