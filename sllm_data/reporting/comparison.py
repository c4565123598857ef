"""Compares the samples of two datasets, row by row and column by column, in DuckDB.

Values are compared as they are (two NaNs are equal), not by digest. Memory follows the size
of a bucket, see `pairing`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import nsmallest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from sllm_data.errors import ShardError
from sllm_data.reporting.diff import KINDS, ColumnDiff, Diff, Example, Row, Side, TaskDiff
from sllm_data.reporting.pairing import (
    BUCKET_BYTES,
    Samples,
    Watch,
    open_samples,
    paired_buckets,
)
from sllm_data.shards.database import interruptible, opened

_CHANGED = ("response", "metadata")


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
        opened(Path(folder, "spill")) as database,
    ):
        scratch = Path(folder)
        (scratch / "rows").mkdir()
        buckets = paired_buckets(a, b, scratch / "rows", bucket_bytes=bucket_bytes, watch=watch)
        for left, right in buckets:
            with _in_words(a, b):
                totals.add(database, left, right)
    return totals.diff()


@contextmanager
def _in_words(a: Samples, b: Samples) -> Iterator[None]:
    """Says what DuckDB could not do."""
    try:
        with interruptible():
            yield
    except (duckdb.Error, UnicodeDecodeError) as error:
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        raise ShardError(
            f"{a.root} and {b.root}: the samples can't be compared: {problem}; run "
            "`sllm-data validate --level 2` on both"
        ) from error


def _common(a: Samples, b: Samples) -> list[str]:
    return [name for name in a.schema.names if name in b.schema.names]


def _columns(schema: pa.Schema, names: list[str]) -> dict[str, tuple[str, ...]]:
    """What is compared, with its path: columns, and fields of structs as `generator.seed`."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        found[name] = (name,)
        kind = schema.field(name).type
        if pa.types.is_struct(kind):
            found |= {f"{name}.{inner.name}": (name, inner.name) for inner in kind}
    del found["sample_id"]
    return found


def _sql(path: tuple[str, ...]) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in path)


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
        self._splits: dict[str, dict[str, Counter[str]]] = {"a": {}, "b": {}}
        self._tokens: dict[str, Counter[str]] = {"a": Counter(), "b": Counter()}
        self._characters: dict[str, Counter[str]] = {"a": Counter(), "b": Counter()}
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
            self._count_side(database, side)
        self._count_columns(database)
        self._keep_examples(database, a, b)

    def _judge(self, database: duckdb.DuckDBPyConnection) -> None:
        """Makes the table `judged`: each pair, its kind, and a flag for each column."""
        flags = [
            f"(a.{sql} IS DISTINCT FROM b.{sql}) AS d{place}"
            for place, sql in enumerate(map(_sql, self._columns.values()))
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

    def _count_side(self, database: duckdb.DuckDBPyConnection, side: str) -> None:
        for task, split, rows, tokens, characters in database.execute(
            "SELECT coalesce(task, ''), coalesce(split, ''), count(*), "
            "coalesce(sum(num_response_tokens), 0), coalesce(sum(length(response)), 0) "
            f"FROM {side} GROUP BY ALL"
        ).fetchall():
            self._splits[side].setdefault(task, Counter())[split] += rows
            self._tokens[side][task] += tokens
            self._characters[side][task] += characters

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
        paths = [self._columns[name] for name in differ]
        whole = {path[0] for path in paths if len(path) > 1}
        shown = [n for n in differ if n not in whole] if kind in _CHANGED else ["response"]
        task = (a or b or {})["task"] or ""
        return Example(
            sample_id=sample_id,
            task=task,
            a={name: _value(a, self._columns[name]) for name in shown} if a else {},
            b={name: _value(b, self._columns[name]) for name in shown} if b else {},
        )

    def diff(self) -> Diff:
        """Returns the sum."""
        common = _common(self._a, self._b)
        rows: Counter[str] = Counter()
        for kinds in self._kinds.values():
            rows.update(kinds)
        return Diff(
            a=str(self._a.root),
            b=str(self._b.root),
            rows={kind: rows[kind] for kind in KINDS},
            tasks={
                task: TaskDiff(
                    a=self._side("a", task),
                    b=self._side("b", task),
                    rows={kind: self._kinds.get(task, Counter())[kind] for kind in KINDS},
                )
                for task in sorted(self._splits["a"].keys() | self._splits["b"].keys())
            },
            columns=dict(self._column_diffs()),
            only_a=tuple(n for n in self._a.schema.names if n not in common),
            only_b=tuple(n for n in self._b.schema.names if n not in common),
            examples={kind: tuple(kept) for kind, kept in self._examples.items()},
        )

    def _side(self, side: str, task: str) -> Side:
        splits = self._splits[side].get(task, Counter())
        return Side(
            rows=splits.total(),
            response_tokens=self._tokens[side][task],
            mean_characters=self._characters[side][task] / max(1, splits.total()),
            splits=dict(sorted(splits.items())),
        )

    def _column_diffs(self) -> Iterator[tuple[str, ColumnDiff]]:
        for name in self._columns:
            same, other = self._differ[name, True], self._differ[name, False]
            if same or other:
                yield name, ColumnDiff(rows=same + other, same_response=same)


def _value(row: Row, path: tuple[str, ...]) -> Any:  # Any: a value of the samples table
    value = row[path[0]]
    return value if len(path) == 1 else (value or {}).get(path[1])


def _rows(side: pa.Table, ids: pa.Array) -> dict[str, Row]:
    rows = side.filter(pc.is_in(side.column("sample_id"), value_set=ids)).to_pylist()
    return {row["sample_id"]: row for row in rows}
