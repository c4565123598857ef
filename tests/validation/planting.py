"""Planting a fault: a part is written again with one thing wrong, the rest is put right.

`settle` makes manifests and footers agree with the parts as they are now, so that what is
wrong in a row is not found earlier by a digest.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pyarrow as pa
import pyarrow.parquet as pq

from sllm_data.shards import TABLES, read_footer, read_manifest, record_of, write_manifest
from sllm_data.shards import write_part as write
from sllm_data.shards.parts import _options
from sllm_data.steps.parts import count_parts
from sllm_data.validation.keys import database
from sllm_data.validation.opening import Options
from sllm_data.validation.recounts import Recount
from sllm_data.validation.report import Report
from sllm_data.validation.runner import validate

Row = dict[str, Any]
Rows = list[Row]


def judged(root: Path, level: int, **options: Any) -> Report:
    return validate(root, Options(level=level, **{"jobs": 1} | options))


def broken(report: Report) -> dict[str, int]:
    """The rules that were broken, with their number of findings."""
    return {o.rule.name: o.count for o in report.outcomes if o.count}


def rows_of(root: Path, file: str) -> Rows:
    rows: Rows = pq.read_table(root / file).to_pylist()
    return rows


def change(root: Path, file: str, edit: Callable[[Rows], object]) -> None:
    """Writes a part again after `edit` changed its rows, with fitting counts, and settles."""
    rows = rows_of(root, file)
    edit(rows)
    footer = read_footer(root / file)
    counts = dict(footer.counts) | _counted(footer.table, rows)
    table = TABLES[footer.table]
    write(root, file, rows, table=table, identity=footer.identity, counts=counts)
    settle(root)


def _counted(table: str, rows: Rows) -> dict[str, dict[str, int]]:
    recount = Recount(table)
    if rows:
        schema = TABLES[table].arrow
        database().register("batch", pa.Table.from_pylist(rows, schema=schema))
        recount.add(database())
    return recount.totals


def write_again(
    root: Path,
    file: str,
    *,
    edit: Callable[[pa.Table], pa.Table] = lambda table: table,
    entries: dict[str, str] | None = None,
    **options: Any,
) -> None:
    """Writes a part again with other Parquet options, Arrow types or footer entries."""
    path = root / file
    metadata = {k.decode(): v.decode() for k, v in pq.read_metadata(path).metadata.items()}
    del metadata["ARROW:schema"]
    table = edit(pq.read_table(path))
    footer = {k: v for k, v in (metadata | (entries or {})).items() if v}
    layout = {"compression": "zstd", "write_page_index": True, "write_page_checksum": True}
    if file.startswith("audio/"):
        layout = _options(TABLES["audio"])
    pq.write_table(table.replace_schema_metadata(footer), path, **layout | options)


def settle(root: Path) -> None:
    """Makes every manifest say what its parts are now, in the order of the steps."""
    digests: dict[str, str] = {}
    steps = sorted((root / "manifest").glob("*.json"), key=_place)
    for path in steps:
        manifest = read_manifest(path)
        assert manifest is not None
        parts = tuple(record_of(root, part.file) for part in manifest.parts)
        manifest = replace(
            manifest,
            parts=parts,
            counts=count_parts(root, parts),
            inputs={name: digests[name] for name in manifest.inputs},
        )
        write_manifest(path, manifest)
        digests[path.stem] = manifest.digest()


_ORDER = ("candidates", "ingest", "index", "align", "restore", "main", "judge", "assemble")


def _place(path: Path) -> tuple[int, bool]:
    step, _, turn = path.stem.partition(".")
    return _ORDER.index(turn or step), step == "generate"


def edit_manifest(root: Path, step: str, edit: Callable[[Any], object]) -> None:
    """Changes a manifest's JSON."""
    path = root / f"manifest/{step}.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def as_foreign(dataset: Path, root: Path, *tables: str) -> Path:
    """Writes tables of a dataset as another program would: plain Parquet, names of its own."""
    for table in tables:
        (root / table).mkdir(parents=True)
        for number, path in enumerate(sorted((dataset / table).glob("*.parquet"))):
            rows = pq.read_table(path)
            # Arrow's own types and no word about nullability, as pandas and others write it
            fields = pa.schema([pa.field(f.name, f.type) for f in rows.schema])
            pq.write_table(rows.cast(fields), root / table / f"data-{number}.parquet")
    return root


def record(root: Path, step: str, file: str) -> dict[str, Any]:
    manifest = read_manifest(root / f"manifest/{step}.json")
    assert manifest is not None
    return next(asdict(part) for part in manifest.parts if part.file == file)


def xml_of(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - what we wrote ourselves
