"""Reading whole datasets in tests: tables as rows, and digests of all that must not change."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sllm_data.config import RunConfig
from sllm_data.steps import Progress, StepReport, run_all

Row = dict[str, Any]


def build(config: RunConfig, *, extend: bool = False) -> list[StepReport]:
    return list(run_all(config, Progress(None), extend=extend))


def rows(root: Path, table: str, columns: list[str] | None = None) -> list[Row]:
    found: list[Row] = []
    for path in sorted((root / table).glob("**/part-*.parquet")):
        found += pq.read_table(path, columns=columns).to_pylist()
    return found


def digests(root: Path) -> dict[str, str]:
    """Digest of every part and manifest: all of a dataset that rows stand in."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for pattern in ("**/part-*.parquet", "manifest/*.json")
        for path in sorted(root.glob(pattern))
    }
