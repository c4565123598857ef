"""An export from its plan to its folder, which is whole or absent.

1. A temporary folder beside the target gets all files, under a lock; what a killed export
   leaves behind never has the final name, and goes when the command is given again.
2. What was written is read back and counted against the plan.
3. Every file is flushed to disk, then the folder gets its name.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sllm_data.errors import ShardError
from sllm_data.exporting.card import card_of
from sllm_data.exporting.clips import ClipSource
from sllm_data.exporting.formats import FORMATS
from sllm_data.exporting.layout import Found, Target, read_json
from sllm_data.exporting.planning import Plan
from sllm_data.exporting.rows import Row
from sllm_data.files import check_is_apart, new_folder

_SUMMARY = "export.json"
_PLAIN = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What an export wrote."""

    output: Path
    plan: Plan
    bytes: int
    """Of all files."""
    is_checked: bool

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        """Returns it as plain values."""
        return {
            "output": str(self.output),
            **_summary(self.plan),
            "bytes": self.bytes,
            "checked": self.is_checked,
        }


def write_export(
    plan: Plan,
    output: Path,
    *,
    rows_per_shard: int = 1000,
    check: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Writes an export.

    Args:
        plan: What is written.
        output: A folder that is not there yet, or is empty.
        rows_per_shard: At most so many rows in a file, of layouts that have several.
        check: Whether to read back what was written.
        advance: Called after each row.

    Raises:
        OutputError: The folder holds something, lies in the dataset, or can't be written.
        ShardError: The dataset is damaged, or what was written is not what it must be.
    """
    check_is_apart(output, plan.dataset)
    source = ClipSource(plan.dataset)
    try:
        with new_folder(output) as folder:
            target = Target(
                folder=folder,
                stem=plan.selection.split,
                source=source,
                rows_per_shard=rows_per_shard,
                several_clips=plan.several_clips,
                mark=plan.mark,
            )
            plan.layout.write(_told(plan.held(), advance), target)
            _write_text(folder / "README.md", card_of(plan, output))
            _write_text(folder / _SUMMARY, json.dumps(_summary(plan), indent=2) + "\n")
            if check:
                _compare(plan, read_back(folder))
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    finally:
        source.close()
    return Report(output=output, plan=plan, bytes=size, is_checked=check)


def read_back(folder: Path) -> Found:
    """Reads an export as its layout is written down, and counts it.

    Raises:
        ShardError: It is not what its layout asks for.
    """
    path = folder / _SUMMARY
    if not path.is_file():
        raise ShardError(f"{folder}: must be an export with {_SUMMARY}, there is none")
    summary = read_json(path)
    name, split = summary.get("format"), summary.get("split")
    if not isinstance(name, str) or name not in FORMATS or not _is_plain(split):
        raise ShardError(f"{path}: must name a format and a split, got {name!r} and {split!r}")
    return FORMATS[name].check(folder, str(split))


def _is_plain(name: object) -> bool:
    return isinstance(name, str) and _PLAIN.fullmatch(name) is not None


def _compare(plan: Plan, found: Found) -> None:
    told = Found(rows=plan.rows, stretches=plan.stretches)
    if found != told:
        raise ShardError(
            f"the {plan.format} export must have {told.rows} rows with {told.stretches} stretches "
            f"of speech, has {found.rows} with {found.stretches}; run the same command again, "
            "and leave the dataset alone meanwhile"
        )


def _summary(plan: Plan) -> dict[str, Any]:  # Any: JSON values
    return {
        "format": plan.format,
        "split": plan.selection.split,
        "eval_group": plan.selection.eval_group,
        "tasks": list(plan.selection.tasks),
        "kinds": list(plan.selection.kinds),
        "limit": plan.selection.limit,
        "dataset": plan.dataset.resolve().name,
        "dataset_digest": plan.digest,
        "rows": plan.rows,
        "stretches": plan.stretches,
        "left_out": {reason: asdict(left) for reason, left in plan.left_out.items()},
    }


def _told(rows: Iterable[Row], advance: Callable[[], None]) -> Iterator[Row]:
    for row in rows:
        yield row
        advance()


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
