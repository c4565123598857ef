"""Reading the rows of a part in small batches, and what is said where its pages are damaged."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from sllm_data.shards.database import interruptible
from sllm_data.validation.findings import Finding, Tally
from sllm_data.validation.rules import Rule
from sllm_data.validation.subject import Part

RULES = (
    Rule(
        name="part_pages",
        level=1,
        meaning="every page can be read: its checksum fits, where it has one, and it decompresses "
        "(those of the audio at level 2)",
    ),
)

_BUFFER_BYTES = 1 << 20  # without it a column of a row group is read at once, however large
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
# what damaged pages make DuckDB raise: often its bare base class; others are faults of ours
_DAMAGE_IN_SQL = (duckdb.Error, duckdb.InvalidInputException, duckdb.IOException)


def batches(path: Path, columns: Sequence[str], num_rows: int) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a part in their order, some columns, `num_rows` or fewer at a time."""
    with pq.ParquetFile(
        path, page_checksum_verification=True, buffer_size=_BUFFER_BYTES, pre_buffer=False
    ) as file:
        yield from file.iter_batches(num_rows, columns=list(columns), use_threads=False)


@contextmanager
def noting_damage(part: Part, tally: Tally, column: str = "") -> Iterator[None]:
    """Turns what damaged pages raise into a finding; the rest of the part is not looked at."""
    try:
        with interruptible():
            yield
    except duckdb.Error as error:
        if type(error) not in _DAMAGE_IN_SQL or "No space left" in str(error):
            raise
        tally.add(_unreadable(part, error, column))
    except _DAMAGE as error:
        tally.add(_unreadable(part, error, column))


def _unreadable(part: Part, error: Exception, column: str) -> Finding:
    problem = next(iter(str(error).splitlines()), type(error).__name__)
    return Finding(
        rule="part_pages",
        part=part.file,
        column=column,
        message=f"every page must be whole, reading the part says: {problem}",
    )
