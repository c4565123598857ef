"""The splits of a Hugging Face dataset as Arrow tables, and the addresses of their rows.

Two ways in, and an address for each row:

    prepared    `train/17`      row 17 of the split. The library copies the dataset into its
                                cache once; then any row is found at once.
    streamed    `train/3/17`    row 17 of shard 3, which is a file. Nothing is copied. A Parquet
                                file is entered at any row group, all others at their beginning.

An address says by itself how it is read: what was listed one way is opened that way, whatever
the configuration says by then. Audio is never decoded: tables hold it as it is stored.
"""

import functools
from bisect import bisect_right
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.packaged_modules.parquet.parquet import Parquet
from datasets.utils.file_utils import xopen

from sllm_data.corpora.huggingface_config import HuggingFaceConfig
from sllm_data.corpora.huggingface_errors import reading
from sllm_data.corpora.huggingface_library import (
    Features,
    builder_of,
    features_of,
    is_saved,
    prepared,
    selected,
    streams,
)

Row = Mapping[str, Any]  # Any: values as Arrow has them

_NOT_UTF8 = "Invalid UTF8"  # what Arrow says of it


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Address:
    """Where a row stands; sorted they are in the order of reading."""

    split: str
    shard: int | None = None
    """None where the split is prepared."""
    row: int
    """From 0, in the shard where streamed, else in the split."""

    def __str__(self) -> str:
        levels = (
            (self.split, self.row) if self.shard is None else (self.split, self.shard, self.row)
        )
        return "/".join(map(str, levels))

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Reads what `str` wrote."""
        split, *shard, row = text.split("/")
        return cls(split=split, shard=int(shard[0]) if shard else None, row=int(row))


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Rows that follow one another in a split, or in a shard of it."""

    first: Address
    table: pa.Table

    @property
    def stop(self) -> int:
        """The row after the last one."""
        return self.first.row + int(self.table.num_rows)


def features_by_split(config: HuggingFaceConfig, *, streamed: bool) -> dict[str, Features]:
    """Returns the columns of each split of a dataset with their types.

    A dataset that is not streamed is prepared by this, if it was not before.

    Raises:
        CorpusError: `datasets` can't read it.
    """
    with reading(config.where):
        if not streamed:
            return {name: split.features for name, split in prepared(config).items()}
        return {name: features_of(stream) for name, stream in streams(config).items()}


def forget_opened() -> None:
    """Lets go of what this process has open: in a long-lived one, files change between runs."""
    for opened in (_parquet, selected, prepared, streams, builder_of):
        opened.cache_clear()


def is_streamed(config: HuggingFaceConfig) -> bool:
    """Tells whether the dataset is to be streamed; one of save_to_disk is prepared as it is."""
    return config.streaming and not is_saved(config)


def num_shards(config: HuggingFaceConfig, split: str) -> int:
    """Returns how many shards a streamed split has.

    Raises:
        CorpusError: `datasets` can't read it.
    """
    with reading(config.where):
        return int(streams(config)[split].num_shards)


def read_rows(
    config: HuggingFaceConfig, first: Address, columns: Sequence[str], *, batch_rows: int
) -> Generator[Batch]:
    """Yields rows in their order, but of these columns only, until split or shard ends.

    Args:
        config: The corpus entry.
        first: The row to begin with. A streamed shard is entered before it where it has no
            row groups or where its group begins earlier.
        columns: Names of the columns to read.
        batch_rows: Rows in a batch at most; so many are in memory.

    Raises:
        CorpusError: `datasets` can't read it.
    """
    with reading(config.where):
        start, tables = _tables(config, first, list(columns), batch_rows)
        for table in tables:
            yield Batch(first=replace(first, row=start), table=table)
            start += table.num_rows


def rows_of(config: HuggingFaceConfig, table: pa.Table) -> Iterator[Row | None]:
    """Yields the rows of a table as Python has them; None for one whose text is not UTF-8.

    Arrow files are mapped into memory as they are: in a damaged one, values may lie anywhere.

    Raises:
        CorpusError: The table is damaged.
    """
    with reading(config.where):
        try:
            _flat(table).validate(full=True)
        except pa.ArrowInvalid as error:
            if _NOT_UTF8 not in str(error):
                raise
        else:
            yield from table.to_pylist()
            return
    if table.num_rows == 1:
        yield None
        return
    for row in range(table.num_rows):
        yield from rows_of(config, table.slice(row, 1))


def _flat(table: pa.Table) -> pa.Table:
    """The table with the fields of structs as columns: else more than a slice is checked."""
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table


def group_of(config: HuggingFaceConfig, address: Address) -> int:
    """Returns which row group of its shard a row is in; 0 where there are none.

    Raises:
        CorpusError: `datasets` can't read it.
    """
    with reading(config.where):
        parquet = _parquet(config, address.split, address.shard)
    return 0 if parquet is None else bisect_right(parquet.starts, address.row) - 1


def _tables(
    config: HuggingFaceConfig, first: Address, columns: list[str], batch_rows: int
) -> tuple[int, Iterator[pa.Table]]:
    """The number of the first row that comes, and the tables."""
    if first.shard is None:
        split = selected(config, first.split, tuple(columns))
        starts = range(first.row, split.num_rows, batch_rows)
        return first.row, (split[row : row + batch_rows] for row in starts)
    parquet = _parquet(config, first.split, first.shard)
    if parquet is not None:
        group = group_of(config, first)
        return parquet.starts[group], parquet.tables(group, columns, batch_rows)
    stream = streams(config)[first.split]
    if stream.num_shards > 1:
        stream = stream.shard(stream.num_shards, first.shard)
    # rows made one by one may differ in the order of their columns and in the types of empty
    # ones: the library can't put several of them into one table
    is_tabular = isinstance(builder_of(config), datasets.ArrowBasedBuilder)
    arrow = stream.select_columns(columns).with_format("arrow")
    return 0, arrow.iter(batch_size=batch_rows if is_tabular else 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parquet:
    """A shard that is a Parquet file, by its footer; it is open only while tables are read."""

    path: str
    metadata: pq.FileMetaData
    starts: list[int]
    """The first row of each row group; [0] where there is none."""

    def tables(self, group: int, columns: list[str], batch_rows: int) -> Iterator[pa.Table]:
        """Yields the rows from a row group on."""
        with (
            xopen(self.path, "rb") as source,
            pq.ParquetFile(
                source, metadata=self.metadata, page_checksum_verification=True
            ) as file,
        ):
            missing = set(columns) - set(file.schema_arrow.names)
            if missing:
                raise ValueError(f"{self.path} lacks the columns {sorted(missing)}")
            for k in range(group, file.num_row_groups):
                # one by one: of several the library would read ahead what is not asked for
                for batch in file.iter_batches(batch_rows, row_groups=[k], columns=columns):
                    yield pa.Table.from_batches([batch])


@functools.lru_cache(maxsize=2)
def _parquet(config: HuggingFaceConfig, split: str, shard: int | None) -> _Parquet | None:
    """A shard as a Parquet file, None for all else."""
    if shard is None or not isinstance(builder_of(config), Parquet):
        return None
    path = builder_of(config).config.data_files[split][shard]
    with xopen(path, "rb") as file:
        metadata = pq.read_metadata(file)
    sizes = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
    return _Parquet(path=path, metadata=metadata, starts=list(accumulate(sizes[:-1], initial=0)))
