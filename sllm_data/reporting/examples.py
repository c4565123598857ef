"""A few samples as a person wants to read them."""

from itertools import islice
from pathlib import Path
from typing import Any

from sllm_data.shards import read_part

_COLUMNS = [
    "sample_id",
    "task",
    "task_params",
    "instruction_id",
    "audio_refs",
    "messages",
    "text_messages",
    "response",
    "transcript",
    "language",
    "split",
    "eval_group",
    "finish_reason",
    "generator",
    "quality",
]


def first_samples(
    root: Path, count: int, *, generated: bool = True
) -> list[dict[str, Any]]:  # Any: values of the samples table
    """Returns the first samples of a dataset, without columns that only machines read.

    Args:
        root: The dataset.
        count: How many at most.
        generated: Whether to pass over rows whose answer is the transcript.

    Raises:
        ShardError: A part is damaged.
    """

    def rows() -> Any:  # Any: rows as dictionaries
        for path in sorted((root / "samples").glob("part-*.parquet")):
            for row in read_part(path, _COLUMNS).to_pylist():
                if not generated or row["generator"]["engine"] != "none":
                    yield _lean(row)

    return list(islice(rows(), count))


def _lean(value: Any) -> Any:  # Any: nested values; those that are missing are left out
    if isinstance(value, dict):
        return {key: _lean(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_lean(inner) for inner in value]
    return value
