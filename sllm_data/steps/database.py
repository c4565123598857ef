"""DuckDB as the steps use it: in memory, spilling into the work folder, failing in a sentence.

It does not verify the checksums of Parquet pages: what it decides about is read again with
`shards.read_part`, which does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from sllm_data.errors import OutputError, ShardError

MEMORY_LIMIT = "256MB"
"""What DuckDB may hold of any number of rows; 3 million were tried, see docs/performance.md."""

_OF_THE_MACHINE = (duckdb.IOException, duckdb.OutOfMemoryException)
_BUGS = (duckdb.ParserException, duckdb.CatalogException, duckdb.InternalException)


@contextmanager
def open_database(work: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a database that holds MEMORY_LIMIT and spills the rest into the folder `work`.

    Raises:
        OutputError: The disk is full, a file can't be read, or memory does not suffice.
        ShardError: A part that it read is damaged, or none of the table it should be of.
    """
    with duckdb.connect() as database:
        database.execute(f"SET temp_directory = '{quoted(work / 'spill')}'")
        database.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        database.execute("SET preserve_insertion_order = false")
        try:
            yield database
        except _BUGS:
            raise
        except _OF_THE_MACHINE as error:
            raise OutputError(
                f"{work.parent}: sorting its rows needs room on the disk and in memory, found: "
                f"{_one_line(error)}; make room, then run the same command again"
            ) from error
        except duckdb.Error as error:
            raise ShardError(
                f"{work.parent}: the parts that are read must be whole and of their table, found: "
                f"{_one_line(error)}; put the damaged part back, or choose another output"
            ) from error


def quoted(path: Path) -> str:
    """Returns a path for a string of SQL."""
    return str(path).replace("'", "''")


def _one_line(error: duckdb.Error) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
