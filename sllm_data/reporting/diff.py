"""What differs between the samples of two datasets: rows, columns, tasks, examples.

Rows are paired by sample_id, which is a hash of what was asked and not of the seed or the
answer: the same cell of two runs has the same id. Each row then is one of

    removed    in a only                 added      in b only
    response   another response          metadata   the same response, another column differs
    equal      equal in every column, nested ones included

Values are compared as they are (two NaNs are equal), not by digest. Memory follows the size
of a bucket, see `pairing`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from heapq import nsmallest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from sllm_data.errors import ShardError
from sllm_data.reporting.pairing import (
    BUCKET_BYTES,
    Samples,
    Watch,
    open_samples,
    paired_buckets,
)

KINDS = ("removed", "added", "response", "metadata", "equal")
_CHANGED = ("response", "metadata")
_MEMORY = "512MB"
Row = Mapping[str, Any]  # Any: values of the samples table


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One task in one of the datasets."""

    rows: int = 0
    response_tokens: int = 0
    mean_characters: float = 0.0
    """Of a response."""
    splits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskDiff:
    """One task in both."""

    a: Side
    b: Side
    rows: Mapping[str, int]
    """By kind; a changed row counts for the task that it has in a."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnDiff:
    """One column, or a field of a struct: in how many of the rows on both sides it differs."""

    rows: int
    same_response: int
    """Of these, where the response is the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One row that differs."""

    sample_id: str
    task: str
    a: Row
    """The columns that differ, fields of structs as `generator.seed`; the response alone where
    b does not have the row, nothing where a does not."""
    b: Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """The difference of two tables of samples."""

    a: str
    """The folder."""
    b: str
    rows: Mapping[str, int]
    """By kind, all tasks together."""
    tasks: Mapping[str, TaskDiff]
    columns: Mapping[str, ColumnDiff]
    """Those that differ anywhere, in the order of the table."""
    only_a: tuple[str, ...]
    """Columns that b does not have."""
    only_b: tuple[str, ...]
    examples: Mapping[str, tuple[Example, ...]]
    """By kind: the first by sample_id, which is a hash."""

    @property
    def is_equal(self) -> bool:
        """Whether both hold the same rows with the same columns."""
        kinds = {kind for kind, rows in self.rows.items() if rows}
        return kinds <= {"equal"} and not self.only_a and not self.only_b

    def as_json(self) -> dict[str, Any]:  # Any: JSON document
        """The same as plain values."""
        return asdict(self) | {"is_equal": self.is_equal}


def open_pair(a: Path, b: Path) -> tuple[Samples, Samples]:
    """Finds the samples of both.

    Raises:
        ShardError: One has none, or a column has another type in each.
    """
    sides = open_samples(a), open_samples(b)
    for name in _common(*sides):
        found = [side.schema.field(name).type for side in sides]
        if found[0] != found[1]:
            raise ShardError(
                f"{b}: the column {name} must have the type that it has in {a}, {found[0]}, "
                f"found {found[1]}"
            )
    return sides


def diff_samples(
    a: Samples, b: Samples, *, examples: int, watch: Watch, bucket_bytes: int = BUCKET_BYTES
) -> Diff:
    """Compares all rows.

    Args:
        a: The old side.
        b: The new one.
        examples: Rows to keep of each kind.
        watch: Called while parts are read, with numbers of rows.
        bucket_bytes: Rows of one side that are compared at a time, in bytes; memory follows it.

    Raises:
        ShardError: A part is damaged, or a sample_id is there twice.
        OutputError: The disk is too small for a copy of both tables.
    """
    totals = _Totals(a, b, examples)
    with (
        TemporaryDirectory(prefix="sllm-data-") as folder,
        duckdb.connect() as database,
    ):
        scratch = Path(folder)
        (scratch / "rows").mkdir()
        database.execute(f"SET memory_limit = '{_MEMORY}'")
        database.execute("SET temp_directory = '" + f"{scratch}/spill".replace("'", "''") + "'")
        buckets = paired_buckets(a, b, scratch / "rows", bucket_bytes=bucket_bytes, watch=watch)
        for left, right in buckets:
            with _in_words(a, b):
                totals.add(database, left, right)
    return totals.diff()


@contextmanager
def _in_words(a: Samples, b: Samples) -> Iterator[None]:
    """Says what DuckDB could not do, and lets Ctrl-C through, which it wraps."""
    try:
        yield
    except (duckdb.Error, UnicodeDecodeError) as error:
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        raise ShardError(
            f"{a.root} and {b.root}: the samples can't be compared: {problem}; run "
            "`sllm-data validate --level 2` on both"
        ) from error
    except RuntimeError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__ from None
        raise


def _common(a: Samples, b: Samples) -> list[str]:
    return [name for name in a.schema.names if name in b.schema.names]


def _columns(schema: pa.Schema, names: Iterable[str]) -> dict[str, str]:
    """What is compared: columns, and the fields of structs, each with its SQL."""
    found: dict[str, str] = {}
    for name in names:
        found[name] = _name(name)
        kind = schema.field(name).type
        if pa.types.is_struct(kind):
            found |= {f"{name}.{f.name}": f"{_name(name)}.{_name(f.name)}" for f in kind}
    del found["sample_id"]
    return found


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_unique(database: duckdb.DuckDBPyConnection, a: Samples, b: Samples) -> None:
    for name, side in (("a", a), ("b", b)):
        twice = database.execute(
            f"SELECT sample_id, count(*) FROM {name} GROUP BY 1 "
            "HAVING count(*) > 1 OR sample_id IS NULL LIMIT 1"
        ).fetchone()
        if twice:
            raise ShardError(
                f"{side.root}: every sample_id must be there once, {twice[0]!r} is there "
                f"{twice[1]} times; run `sllm-data validate` to find the rows"
            )


class _Totals:
    """Adds up buckets."""

    def __init__(self, a: Samples, b: Samples, examples: int) -> None:
        self._a = a
        self._b = b
        self._columns = _columns(a.schema, _common(a, b))
        self._num_examples = examples
        self._kinds: dict[str, Counter[str]] = {}
        self._sides: dict[tuple[str, str], list[tuple[str, int, int, int]]] = {}
        self._differ: Counter[tuple[str, bool]] = Counter()
        self._examples: dict[str, list[Example]] = {kind: [] for kind in KINDS[:-1]}

    def add(self, database: duckdb.DuckDBPyConnection, a: pa.Table, b: pa.Table) -> None:
        """Adds a bucket."""
        database.register("a", a)
        database.register("b", b)
        _check_unique(database, self._a, self._b)
        self._judge(database)
        for task, kind, rows in database.execute(
            "SELECT coalesce(task_a, task_b, ''), kind, count(*) FROM judged GROUP BY ALL"
        ).fetchall():
            self._kinds.setdefault(task, Counter())[kind] += rows
        for side in ("a", "b"):
            for task, *figures in database.execute(
                "SELECT coalesce(task, ''), coalesce(split, ''), count(*), "
                f"sum(num_response_tokens), sum(length(response)) FROM {side} GROUP BY ALL"
            ).fetchall():
                self._sides.setdefault((task, side), []).append(tuple(figures))
        self._count_columns(database)
        self._keep_examples(database, a, b)

    def _judge(self, database: duckdb.DuckDBPyConnection) -> None:
        """Makes the table `judged`: each pair, its kind, and a flag for each column."""
        flags = [
            f"(a.{sql} IS DISTINCT FROM b.{sql}) AS d{place}"
            for place, sql in enumerate(self._columns.values())
        ]
        any_flag = " OR ".join(f"d{place}" for place in range(len(self._columns)))
        response = list(self._columns).index("response")
        database.execute(
            f"""CREATE OR REPLACE TEMP TABLE judged AS SELECT *, CASE
                WHEN id_b IS NULL THEN 'removed'
                WHEN id_a IS NULL THEN 'added'
                WHEN d{response} THEN 'response'
                WHEN {any_flag} THEN 'metadata'
                ELSE 'equal' END AS kind
            FROM (SELECT a.sample_id AS id_a, b.sample_id AS id_b,
                a.task AS task_a, b.task AS task_b, {", ".join(flags)}
                FROM a FULL JOIN b ON a.sample_id = b.sample_id)"""
        )

    def _count_columns(self, database: duckdb.DuckDBPyConnection) -> None:
        counts = ", ".join(f"count_if(d{place})" for place in range(len(self._columns)))
        for kind, *row in database.execute(
            f"SELECT kind, {counts} FROM judged WHERE kind IN {_CHANGED} GROUP BY kind"
        ).fetchall():
            for name, rows in zip(self._columns, row, strict=True):
                self._differ[name, kind == "metadata"] += rows

    def _keep_examples(self, database: duckdb.DuckDBPyConnection, *sides: pa.Table) -> None:
        flags = ", ".join(f"d{place}" for place in range(len(self._columns)))
        for kind, kept in self._examples.items():
            found = database.execute(
                f"""SELECT coalesce(id_a, id_b) AS id, [{flags}] FROM judged WHERE kind = ?
                ORDER BY id LIMIT ?""",
                [kind, self._num_examples],
            ).fetchall()
            if len(kept) == self._num_examples:
                found = [row for row in found if row[0] < kept[-1].sample_id]
            if not found:
                continue
            ids = pa.array([sample_id for sample_id, _ in found])
            a, b = (_rows(side, ids) for side in sides)
            fresh = [self._example(kind, i, a.get(i), b.get(i), differ) for i, differ in found]
            self._examples[kind] = nsmallest(
                self._num_examples, [*kept, *fresh], key=lambda example: example.sample_id
            )

    def _example(
        self, kind: str, sample_id: str, a: Row | None, b: Row | None, flags: list[bool]
    ) -> Example:
        differ = [n for n, flag in zip(self._columns, flags, strict=True) if flag]
        # fields of structs in place of the whole: generator.seed, not generator as well
        whole = {name.partition(".")[0] for name in differ if "." in name}
        shown = [n for n in differ if n not in whole] if kind in _CHANGED else ["response"]
        task = (a or b or {})["task"] or ""
        return Example(
            sample_id=sample_id,
            task=task,
            a={name: _value(a, name) for name in shown} if a else {},
            b={name: _value(b, name) for name in shown} if b else {},
        )

    def diff(self) -> Diff:
        """Returns the sum."""
        common = _common(self._a, self._b)
        tasks = sorted({task for task, _ in self._sides} | self._kinds.keys(), key=str)
        rows: Counter[str] = Counter()
        for kinds in self._kinds.values():
            rows.update(kinds)
        return Diff(
            a=str(self._a.root),
            b=str(self._b.root),
            rows={kind: rows[kind] for kind in KINDS},
            tasks={
                task: TaskDiff(
                    a=_side(self._sides.get((task, "a"), ())),
                    b=_side(self._sides.get((task, "b"), ())),
                    rows={kind: self._kinds.get(task, Counter())[kind] for kind in KINDS},
                )
                for task in tasks
            },
            columns=dict(self._column_diffs()),
            only_a=tuple(n for n in self._a.schema.names if n not in common),
            only_b=tuple(n for n in self._b.schema.names if n not in common),
            examples={kind: tuple(kept) for kind, kept in self._examples.items()},
        )

    def _column_diffs(self) -> Iterator[tuple[str, ColumnDiff]]:
        for name in self._columns:
            same, other = self._differ[name, True], self._differ[name, False]
            if same or other:
                yield name, ColumnDiff(rows=same + other, same_response=same)


def _value(row: Row, name: str) -> Any:  # Any: a value of the samples table
    column, _, inner = name.partition(".")
    return (row[column] or {}).get(inner) if inner else row[column]


def _rows(side: pa.Table, ids: pa.Array) -> dict[str, Row]:
    rows = side.filter(pc.is_in(side.column("sample_id"), value_set=ids)).to_pylist()
    return {row["sample_id"]: row for row in rows}


def _side(figures: Iterable[tuple[str, int, int, int]]) -> Side:
    splits: Counter[str] = Counter()
    tokens = characters = 0
    for split, rows, more_tokens, more_characters in figures:
        splits[split] += rows
        tokens += more_tokens or 0
        characters += more_characters or 0
    return Side(
        rows=splits.total(),
        response_tokens=tokens,
        mean_characters=characters / max(1, splits.total()),
        splits=dict(sorted(splits.items())),
    )
