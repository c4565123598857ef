"""What differs between the samples of two datasets, as values; `comparison` finds it.

Rows are paired by sample_id, which is a hash of what was asked and not of the seed or the
answer: the same cell of two runs has the same id. Each row then is one of

    removed    in a only                 added      in b only
    response   another response          metadata   the same response, another column differs
    equal      equal in every column, nested ones included
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = ("removed", "added", "response", "metadata", "equal")
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
