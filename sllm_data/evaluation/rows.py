"""Which rows of a dataset are asked, and their text for people; no audio is opened here."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from typing import Any, get_args

from sllm_data.errors import ShardError
from sllm_data.shards import read_part
from sllm_data.trainer.data.config import DatasetEntry, EvalGroup, Split
from sllm_data.trainer.data.reading import Dataset, MalformedRow, Row

EXTRA = (
    *("task_params", "variant", "instruction_id", "language", "response_language"),
    *("eval_group", "split", "transcript", "transcript_prepared", "response"),
)
"""Columns of `samples/` that predictions carry over, in `Row.extra`."""

_SHOWN = ["sample_id", "audio_refs", "messages"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A row that is not asked, on any side."""

    sample_id: str
    reason: str


def chosen_rows(root: Path, *, split: Split, limit: int | None) -> tuple[list[Row], list[Skipped]]:
    """Returns the rows of a split, sorted by sample_id, and those that say not what they should.

    Args:
        root: The dataset.
        split: Which rows.
        limit: Rows of each task in each eval group, those with the lowest ids, which are
            hashes; None for all.

    Raises:
        ShardError: There is no dataset, a part is missing or damaged, or there is no such row.
    """
    cells: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    skipped: list[Skipped] = []
    for group in get_args(EvalGroup):
        dataset = Dataset(DatasetEntry(path=root, split=split, eval_group=group))
        for part in dataset.parts:
            for row in dataset.rows(part, extra=EXTRA):
                if isinstance(row, MalformedRow):
                    skipped.append(Skipped(sample_id=row.sample_id, reason=row.reason))
                else:
                    cells[group, row.task].append(row)
            if limit is not None:
                for key in cells:
                    cells[key] = nsmallest(limit, cells[key], key=_by_id)
    if not cells:
        raise ShardError(
            f"{root}: must hold rows of the split {split}, has none; choose another split"
        )
    rows = (row for each in cells.values() for row in each)
    return sorted(rows, key=_by_id), skipped


def rows_by_id(root: Path, sample_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Returns what was asked in some rows, by sample_id; those that are not there are left out.

    Returns:
        The columns sample_id, audio_refs and messages. Any: values of the samples table.

    Raises:
        ShardError: The folder has no samples, or a part is damaged.
    """
    wanted = set(sample_ids)
    return {row["sample_id"]: row for path in _parts(root) for row in _rows_among(path, wanted)}


def all_ids(root: Path) -> set[str]:
    """Returns the ids of all samples of a dataset.

    Raises:
        ShardError: The folder has no samples, or a part is damaged.
    """
    return {
        sample_id
        for path in _parts(root)
        for sample_id in read_part(path, ["sample_id"]).column("sample_id").to_pylist()
    }


def _rows_among(path: Path, wanted: Collection[str]) -> Iterator[dict[str, Any]]:
    ids = read_part(path, ["sample_id"]).column("sample_id").to_pylist()
    places = [place for place, sample_id in enumerate(ids) if sample_id in wanted]
    if places:
        yield from read_part(path, _SHOWN).take(places).to_pylist()


def _parts(root: Path) -> Sequence[Path]:
    parts = sorted((root / "samples").glob("part-*.parquet"))
    if not parts:
        raise ShardError(f"{root}: must be a dataset, found no samples/part-*.parquet in it")
    return parts


def _by_id(row: Row) -> str:
    return row.sample_id
