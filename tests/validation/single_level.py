"""One level by itself, and faults in single rows; a part that was changed is put right around."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from planting import Row, Rows, change

from sllm_data.validation.contract import Contract
from sllm_data.validation.findings import Finding, Tally
from sllm_data.validation.manifests import check as check_footers
from sllm_data.validation.opening import Options, open_subject
from sllm_data.validation.subject import Subject

Check = Callable[[Subject, Tally], None]


def all_rows(root: Path, folder: str) -> list[tuple[str, Row]]:
    """File and row of every row of a folder; clips without their bytes."""
    found = []
    for path in sorted((root / folder).glob("*.parquet")):
        names = [name for name in pq.read_schema(path).names if name != "audio"]
        rows = pq.read_table(path, columns=names).to_pylist()
        found += [(f"{folder}/{path.name}", row) for row in rows]
    return found


def first(root: Path, folder: str, wanted: Callable[[Row], bool] = bool) -> tuple[str, Row]:
    """The first row that is wanted, with its file."""
    return next((file, row) for file, row in all_rows(root, folder) if wanted(row))


def plant(root: Path, file: str, key: str, row_id: str, **values: Any) -> None:
    """Gives one row other values; `generator__seed=1` means a field of a struct."""

    def edit(rows: Rows) -> None:
        row = next(row for row in rows if row[key] == row_id)
        for name, value in values.items():
            *parents, last = name.split("__")
            level = row
            for parent in parents:
                level = level[parent]
            level[last] = value

    if (root / "manifest").exists():
        change(root, file, edit)
        return
    table = pq.read_table(root / file)
    rows = table.to_pylist()
    edit(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), root / file)


def findings(
    check: Check, root: Path, contract: Contract | None = None, **options: Any
) -> list[Finding]:
    """What one level finds, called as `runner` does; options are those of a Request."""
    tally = looked(check, root, contract, **options)
    return [finding for rule in sorted(tally.counts) for finding in tally.findings(rule)]


def looked(check: Check, root: Path, contract: Contract | None = None, **options: Any) -> Tally:
    """The same with counts, and what was looked at."""
    request = Options(**{"jobs": 1} | options)
    tally, before = Tally(request.keep), Tally(request.keep)
    with tempfile.TemporaryDirectory() as scratch:
        subject = open_subject(root, request, contract or Contract(), Path(scratch), before)
        check(check_footers(subject, before), tally)
    return tally


def subject_of(root: Path) -> Subject:
    """The subject as a level gets it."""
    subjects = []
    looked(lambda subject, _: subjects.append(subject), root)
    return subjects[0]


def told(found: list[Finding]) -> list[tuple[str, str, str, str]]:
    """Rule, part, row and column of each finding."""
    return [(f.rule, f.part, f.row, f.column) for f in found]


def with_field(text: str, **values: Any) -> str:
    """A JSON object with other values."""
    return json.dumps(json.loads(text) | values, separators=(",", ":"), sort_keys=True)
