"""DuckDB as the steps use it: spilling into the work folder, failing in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from sllm_data.errors import OutputError, ShardError
from sllm_data.files import writing
from sllm_data.shards.database import MEMORY_LIMIT, interruptible, opened

_OF_THE_MACHINE = (duckdb.IOException, duckdb.OutOfMemoryException)
_BUGS = (duckdb.ParserException, duckdb.CatalogException, duckdb.InternalException)


@contextmanager
def open_database(
    work: Path, *, memory_limit: str = MEMORY_LIMIT
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens a database that spills into the folder `work` what does not fit in its memory.

    Raises:
        OutputError: The disk is full, a file can't be read, or memory does not suffice.
        ShardError: A part that it read is damaged, or none of the table it should be of.
    """
    with writing(work):
        work.mkdir(parents=True, exist_ok=True)  # DuckDB makes one folder, not the one above it
    try:
        with opened(work / "spill", memory_limit=memory_limit) as database, _told(work):
            yield database
    finally:
        with suppress(OSError):  # another step's files are in it
            work.rmdir()


@contextmanager
def _told(work: Path) -> Iterator[None]:
    try:
        with interruptible():
            yield
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


def _one_line(error: duckdb.Error) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
