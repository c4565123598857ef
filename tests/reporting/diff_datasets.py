"""Finished datasets of samples that a test writes down, for what compares them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sllm_data.reporting.comparison import diff_samples, open_pair
from sllm_data.reporting.diff import Diff
from sllm_data.shards import TABLES, Manifest, part_name, write_manifest, write_part
from tests.shards.random_rows import Row, some_rows

SAMPLES = TABLES["samples"]


def sample(sample_id: str, **changes: Any) -> Row:
    """A sample with values in every column; its task follows from its id, as in real ones."""
    task = "intent" if sum(sample_id.encode()) % 2 else "summary"
    row = some_rows(SAMPLES)[2] | {"sample_id": sample_id, "task": task}
    return row | {"response": "a b", "num_response_tokens": 2, "split": "train"} | changes


def write_dataset(root: Path, rows: Sequence[Row], *, part_rows: int = 3) -> Path:
    """Writes rows as parts and the manifest that closes them."""
    pieces = [rows[k : k + part_rows] for k in range(0, len(rows), part_rows)] or [[]]
    records = [
        write_part(root, f"samples/{part_name(k)}", piece, table=SAMPLES, identity="i")
        for k, piece in enumerate(pieces)
    ]
    manifest = Manifest(
        step="assemble",
        identity="i",
        inputs={},
        parts=tuple(records),
        counts={},
        code_version="0",
    )
    write_manifest(root / "manifest/assemble.json", manifest)
    return root


def compare(a: Path, b: Path, *, examples: int = 3, bucket_bytes: int = 2**20) -> Diff:
    """Compares two of them."""
    pair = open_pair(a, b)
    return diff_samples(*pair, examples=examples, watch=lambda _: None, bucket_bytes=bucket_bytes)
