"""A dataset's tables for DuckDB: what its finished steps wrote, and nothing else.

A table that is not there yet is an empty one, so that a dataset in the making has a report,
too. Sums are made of whole numbers: of fractions they would depend on which thread was first.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from sllm_data.errors import ShardError
from sllm_data.shards import TABLES, Manifest, read_manifest
from sllm_data.shards.database import interruptible, opened, parquet

_VIEWS = {
    "candidates": ("candidates", "candidates/"),
    "audio": ("audio", "audio/"),
    "samples": ("samples", "samples/"),
    "requests": ("requests", "requests/main/"),
    "responses": ("responses", "responses/main/"),
    "rejections": ("rejections", "rejections/"),
}
"""By the name in SQL: whose columns it has, and where its parts lie."""

MILLIONTHS = "CAST(round({} * 1e6) AS BIGINT)"
"""SQL of a share as a whole number."""


class Tables:
    """The views `candidates`, `audio`, `samples`, `requests`, `responses`, `rejections`."""

    def __init__(
        self,
        root: Path,
        manifests: Mapping[str, Manifest],
        database: duckdb.DuckDBPyConnection,
    ) -> None:
        self.root = root
        self.manifests = manifests
        self._database = database
        for view, (table, folder) in _VIEWS.items():
            files = self.files(folder)
            if files:
                source = parquet(files, "union_by_name = true", "filename = true")
                self.rows(f"CREATE VIEW {view} AS SELECT * FROM {source}")
            else:
                database.register(f"no_{view}", TABLES[table].arrow.empty_table())
                self.rows(f"CREATE VIEW {view} AS SELECT *, '' AS filename FROM no_{view}")

    def files(self, folder: str) -> list[Path]:
        """Returns the parts below a folder, by their manifests, in order."""
        records = (record for manifest in self.manifests.values() for record in manifest.parts)
        return [
            self.root / file
            for file in sorted(record.file for record in records)
            if file.startswith(folder)
        ]

    def rows(
        self, sql: str, parameters: object = None
    ) -> list[tuple[Any, ...]]:  # Any: by the query
        """Asks, and returns all rows: queries are written so that these are few.

        Raises:
            ShardError: A part is missing or damaged, or has other columns than it should.
        """
        try:
            with interruptible():
                found: list[tuple[Any, ...]] = self._database.execute(sql, parameters).fetchall()
                return found
        except (duckdb.Error, UnicodeDecodeError) as error:
            problem = next(iter(str(error).splitlines()), type(error).__name__)
            raise ShardError(
                f"{self.root}: its tables can't be added up: {problem}; "
                "run `sllm-data validate --level 2`"
            ) from error


@contextmanager
def open_tables(root: Path) -> Iterator[Tables]:
    """Opens a dataset for the length of a block.

    Raises:
        ShardError: It is none, or a manifest or a part is damaged.
    """
    manifests = {
        path.stem: manifest
        for path in sorted((root / "manifest").glob("*.json"))
        if (manifest := read_manifest(path)) is not None
    }
    if not manifests:
        raise ShardError(f"{root}: must be a dataset, found no manifest/*.json; run it first")
    with (
        TemporaryDirectory(prefix="sllm-data-") as spill,
        opened(Path(spill, "spill")) as database,
    ):
        yield Tables(root, manifests, database)
