"""DuckDB over parts: one way to open it, to name files in its SQL, and to leave it by Ctrl-C.

It does not verify the checksums of Parquet pages: what is decided about is read again with
`read_part`, which does.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from sllm_data.errors import OutputError

MEMORY_LIMIT = "256MB"
"""What DuckDB may hold of any number of rows; the rest goes to disk."""

_SIGNS = re.compile(r"[\[*?]")


def connect(
    spill: Path | None, *, threads: int | None = None, memory_limit: str = MEMORY_LIMIT
) -> duckdb.DuckDBPyConnection:
    """Opens a database in memory.

    Args:
        spill: The folder for what does not fit, made when it is needed; None where all that is
            looked at is in memory already.
        threads: How many; where absent, one per core.
        memory_limit: What it may hold: `256MB`.
    """
    database = duckdb.connect()
    database.execute(f"SET memory_limit = '{memory_limit}'")
    # its default is a folder where the process was started
    database.execute(f"SET temp_directory = {quoted(spill or '')}")
    database.execute("SET preserve_insertion_order = false")
    database.execute("SET enable_progress_bar = false")  # it would go to standard output
    if threads is not None:
        database.execute(f"SET threads = {threads}")
    return database


@contextmanager
def opened(
    spill: Path | None, *, threads: int | None = None, memory_limit: str = MEMORY_LIMIT
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Does the same for the length of a block; what its threads still do then is ended."""
    with connect(spill, threads=threads, memory_limit=memory_limit) as database:
        try:
            yield database
        except BaseException:
            database.interrupt()  # closing waits for a query that a signal left behind
            raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Lets through what a signal raised while DuckDB worked: Ctrl-C, SystemExit.

    It comes wrapped in a RuntimeError, which is no error of anybody's.
    """
    try:
        yield
    except RuntimeError as error:
        cause = error.__cause__
        if cause is None or isinstance(cause, Exception):
            raise
        raise cause from None


def parquet(paths: Iterable[Path], *options: str) -> str:
    """Returns SQL that reads Parquet files which exist, whatever the names of their folders.

    Args:
        paths: The files.
        options: Of `read_parquet`, as `filename = true`.

    Raises:
        OutputError: A path is one that `check_path` refuses.
    """
    # what stands in a column counts, not what a folder `task=asr` above the dataset says
    arguments = ", ".join(("hive_partitioning = false", *options))
    return f"read_parquet([{', '.join(map(_file, paths))}], {arguments})"


def check_path(path: Path) -> None:
    """Refuses a path that no pattern of DuckDB fits alone.

    Where a name has signs of a pattern, a backslash in it parts folders for DuckDB and can't be
    escaped: it might read the files of others.

    Raises:
        OutputError: The path is such a one.
    """
    if "\\" in str(path) and _SIGNS.search(str(path)):
        raise OutputError(
            f"{path}: a path with a backslash in it must have no [, * or ?, since DuckDB takes "
            "both together for a pattern of other folders; rename the folder, or choose another"
        )


def quoted(text: str | Path) -> str:
    """Returns a text or a path as a string of SQL.

    >>> print(quoted("it's"))
    'it''s'
    """
    return "'" + str(text).replace("'", "''") + "'"


def _file(path: Path) -> str:
    """A file's name as a pattern that fits it alone."""
    check_path(path)
    name = str(path)
    return quoted(name if "\\" in name else _SIGNS.sub(r"[\g<0>]", name))
