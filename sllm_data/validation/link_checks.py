"""Level 1: the links of all parts are looked after.

In a dataset of this package part k comes from part k, so links are run part by part over a
few columns in memory; where another program wrote the parts they are run once over all of
them, by a DuckDB that spills.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from sllm_data.shards import part_name
from sllm_data.validation.findings import Finding, Tally, shown
from sllm_data.validation.index_parts import index_parts
from sllm_data.validation.keys import database as own_database
from sllm_data.validation.links import Link, of_candidates, of_index, references, view_of
from sllm_data.validation.pages import batches, noting_damage
from sllm_data.validation.subject import Part, Subject, database, over_parts, workers_for

_BATCH_ROWS = 50_000
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "candidates": ("audio_id",),
    "audio": ("audio_id", "num_samples"),
    "index": ("audio_id", "audio_part", "kept", "tasks"),
    "alignments": ("audio_id",),
    "requests": ("request_id", "sample_id", "audio_id", "audio_part", "task"),
    "responses": ("request_id",),
    "samples": ("sample_id", "audio_refs", "messages"),
    "rejections": ("row_id", "audio_id", "reason"),
}


def check(subject: Subject, tally: Tally) -> None:
    """Checks all links."""
    if subject.foreign:
        _check_at_once(subject, tally)
    else:
        workers = workers_for(sum(part.rows for part in subject.parts))
        over_parts(subject, tally, "links", _check_parts, list(_jobs(subject)), workers=workers)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    root: Path
    parts: tuple[Part, ...]
    """The parts that the views are made of."""
    links: tuple[Link, ...]
    clips: frozenset[int]
    """The parts of audio/ that can be read."""
    unread: tuple[int, ...]
    """Those that can't."""
    keep: int


def _jobs(subject: Subject) -> Iterator[_Job]:
    there = {part.file: part for part in subject.parts}
    clips = frozenset(part.number for part in subject.parts_of("audio"))
    unread = _unread_clips(subject)
    turns = sorted({part.folder.partition("/")[2] for part in subject.parts_of("requests")})

    def job(links: Sequence[Link], numbers: Mapping[str, int], other: int) -> _Job:
        """A job of those links whose parts are all there."""
        folders = {folder for link in links for folder in link.views} - {"clips"}
        files = {f: f"{f}/{part_name(numbers.get(f, other))}" for f in folders}
        found = {folder: there[file] for folder, file in files.items() if file in there}
        return _Job(
            root=subject.root,
            parts=tuple(found.values()),
            links=tuple(link for link in links if found.keys() >= {*link.views} - {"clips"}),
            clips=clips,
            unread=unread,
            keep=subject.keep,
        )

    if "ingest" in subject.manifests:
        of_ingest = tuple(of_candidates())
        for part in subject.parts_of("candidates"):
            yield job(of_ingest, {}, part.number)
    for index_part in index_parts(subject.manifests):
        links = tuple(of_index(index_part, turns))
        yield job(links, {"audio": index_part.audio_part}, index_part.number)


def _check_parts(job: _Job) -> Tally:
    tally = Tally(job.keep)
    connection = own_database()
    for part in job.parts:
        table = pa.table({})
        with noting_damage(part, tally):
            table = _loaded(job.root, part)
        if not table.num_columns:
            return tally
        connection.register(view_of(part.folder), table)
    connection.register("clips", _clips(job, connection))
    connection.register("unread_clips", _numbers(job.unread))
    homes = {part.folder: part for part in job.parts}
    for link in job.links:
        with noting_damage(homes[link.views[0]], tally):
            _run(connection, link, tally)
    return tally


def _unread_clips(subject: Subject) -> tuple[int, ...]:
    return tuple(part.number for part in subject.unread if part.table == "audio")


def _numbers(parts: Sequence[int]) -> pa.Table:
    return pa.table({"audio_part": pa.array(parts, pa.int32())})


def _loaded(root: Path, part: Part) -> pa.Table:
    """The columns of a part that links need, with file and row number."""
    path, names = root / part.file, _COLUMNS[part.table]
    schema = pq.read_schema(path)
    empty = pa.schema([schema.field(name) for name in names])
    table = pa.Table.from_batches(batches(path, names, _BATCH_ROWS), schema=empty)
    return table.append_column("row", pa.array(range(table.num_rows), pa.int64())).append_column(
        "file", pa.repeat(pa.scalar(part.file), table.num_rows)
    )


def _clips(job: _Job, connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The clips of those parts of audio/ that the rows at hand name."""
    named = [
        f"SELECT audio_part FROM {view_of(part.folder)}"
        if part.table != "samples"
        else "SELECT unnest(audio_refs).audio_part FROM samples"
        for part in job.parts
        if part.table in ("index", "requests", "samples")
    ]
    numbers: list[int] = []
    if named:
        query = f"SELECT DISTINCT * FROM ({' UNION ALL '.join(named)}) AS t(n) ORDER BY n"
        numbers = [number for (number,) in connection.execute(query).fetchall()]
    kind = pa.schema(
        [("audio_part", pa.int32()), ("audio_id", pa.string()), ("num_samples", pa.int64())]
    )
    tables = [kind.empty_table()]
    for number in numbers:
        if number in job.clips:
            part = Part(file=f"audio/{part_name(number)}", table="audio", number=number)
            rows = _loaded(job.root, part)
            numbered = rows.append_column(
                "audio_part", pa.array([number] * rows.num_rows, pa.int32())
            )
            tables.append(numbered.select(kind.names).cast(kind))
    return pa.concat_tables(tables)


def _check_at_once(subject: Subject, tally: Tally) -> None:
    if not subject.parts_of("audio") or tally.counts["part_pages"]:
        return  # no clips to look for; or pages that DuckDB can't read, which is told already
    with database(subject) as connection:
        _add_view(connection, subject, "clips", "audio")
        connection.register("unread_clips", _numbers(_unread_clips(subject)))
        for folder in sorted({p.folder for p in subject.parts}):
            table = folder.partition("/")[0]
            if table in ("samples", "requests", "index"):
                _add_view(connection, subject, view_of(folder), folder)
                for link in references(folder):
                    with noting_damage(subject.parts_of(folder)[0], tally):
                        _run(connection, link, tally)


def _add_view(
    connection: duckdb.DuckDBPyConnection, subject: Subject, view: str, folder: str
) -> None:
    parts = subject.parts_of(folder)
    names = pa.table(
        {
            "filename": [str(subject.path(part)) for part in parts],
            "file": [part.file for part in parts],
            "number": pa.array([part.number for part in parts], pa.int32()),
        }
    )
    connection.register(f"{view}_names", names)
    columns = [*_COLUMNS[parts[0].table], *(["number AS audio_part"] if view == "clips" else [])]
    options = ("filename = true", "file_row_number = true", "union_by_name = true")
    connection.execute(
        f"CREATE VIEW {view} AS SELECT {', '.join(columns)}, n.file, file_row_number AS row "
        f"FROM {subject.rows_of(folder, *options)} JOIN {view}_names n USING (filename)"
    )


def _run(connection: duckdb.DuckDBPyConnection, link: Link, tally: Tally) -> None:
    """Runs a link's query; all findings are counted, the first described."""
    rows = connection.execute(
        f"SELECT *, count(*) OVER () FROM ({link.query}) AS t(file, row, key, value) "
        f"ORDER BY file, row LIMIT {tally.keep}"
    ).fetchall()
    tally.add_all(_finding(link, row[:-1]) for row in rows)
    if rows:
        tally.count_more(link.rule, rows[0][-1] - len(rows))


def _finding(link: Link, row: tuple[Any, ...]) -> Finding:
    file, number, key, value = row
    return Finding(
        rule=link.rule,
        part=file,
        row=f"row {number}" if key is None else shown(key),
        column=link.column,
        value=shown(value),
        message=link.message,
    )
